import t from 'tap'
import { type ApiServer, openAccounts, refused, startApi } from './server.js'

t.setTimeout(60_000)

const uuidPattern = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/

t.test('accounts', async (t) => {
  const api = await startApi(t, { environment: { DAYBOOK_CURRENCIES: 'POINTS:0,BTC:8' } })
  await openAccounts(api)

  t.test('an account is made with every field, and read back the same', async (t) => {
    const body = {
      id: 'loan:7.a_b-c',
      currency: 'EUR',
      class: 'asset',
      type: 'loan',
      owner: 'customer 7',
      number: 'DE-7',
      overdraftLimit: '100',
      minimumBalance: '5.5',
      metadata: { b: 'é😀', a: true, n: -3, z: Number.MAX_SAFE_INTEGER },
    }
    const made = await api.post('/v1/accounts', body)
    t.equal(made.status, 201)
    t.equal(made.headers.get('idempotent-replayed'), null)
    const { id, createdAt, ...rest } = made.json.data
    t.match(id, uuidPattern)
    t.equal(id[14], '8', 'a name becomes a v8 UUID')
    t.ok(Math.abs(Date.parse(createdAt) - Date.now()) < 60_000)
    const { id: name, ...given } = body
    t.same(rest, {
      ...given,
      name,
      normalSide: 'debit',
      status: 'active',
      overdraftLimit: '100.00',
      minimumBalance: '5.50',
      balances: {
        debitsPosted: '0.00',
        creditsPosted: '0.00',
        debitsPending: '0.00',
        creditsPending: '0.00',
        balance: '0.00',
        available: '0.00',
      },
      version: 1,
      position: made.json.meta.position,
    })
    t.match(made.json.meta.position, /^1-\d+$/)
    for (const path of [body.id, id, id.toUpperCase()]) {
      const read = await api.get(`/v1/accounts/${path}`)
      t.equal(read.status, 200)
      t.same(read.json, made.json, `read as ${path}`)
    }
  })

  t.test('the same id and body again is a replay; another body is refused', async (t) => {
    const body = { id: 'again', currency: 'EUR', class: 'asset' }
    const first = await api.post('/v1/accounts', body)
    t.equal(first.status, 201)
    const again = await api.post('/v1/accounts', { class: 'asset', id: 'again', currency: 'EUR' })
    t.equal(again.status, 200)
    t.equal(again.headers.get('idempotent-replayed'), 'true')
    t.same(again.json, first.json)
    const other = await api.post('/v1/accounts', { ...body, owner: 'x' })
    refused(t, other, 409, 'id_reused_with_different_body')
    t.same((await api.get('/v1/accounts/again')).json, first.json, 'nothing has changed')
  })

  t.test('Idempotency-Key names an account; without any name the server makes a v7', async (t) => {
    const body = { currency: 'EUR', class: 'asset' }
    const key = { 'idempotency-key': 'by:header' }
    const first = await api.post('/v1/accounts', body, key)
    t.equal(first.status, 201)
    t.equal(first.json.data.name, 'by:header')
    t.equal((await api.post('/v1/accounts', body, key)).status, 200)
    t.equal((await api.post('/v1/accounts', { ...body, id: 'by:header' }, key)).status, 200)
    const made = [await api.post('/v1/accounts', body), await api.post('/v1/accounts', body)]
    t.same(
      made.map(({ status }) => status),
      [201, 201],
    )
    t.not(made[0].json.data.id, made[1].json.data.id)
    t.equal(made[0].json.data.id[14], '7')
    t.notOk('name' in made[0].json.data)
  })

  t.test('a UUID of any version is used as it is', async (t) => {
    for (const id of [
      '6ba7b810-9dad-11d1-80b4-00c04fd430c8',
      'F47AC10B-58CC-4372-A567-0E02B2C3D479',
      '0198c5a4-7a10-7c3e-9d5b-6f1f0a2b3c4d',
    ]) {
      const made = await api.post('/v1/accounts', { id, currency: 'EUR', class: 'asset' })
      t.equal(made.status, 201)
      t.equal(made.json.data.id, id.toLowerCase())
      t.notOk('name' in made.json.data)
    }
  })

  for (const [accountClass, normalSide, overdraftLimit] of [
    ['asset', 'debit', '0.00'],
    ['expense', 'debit', 'unlimited'],
    ['liability', 'credit', '0.00'],
    ['equity', 'credit', 'unlimited'],
    ['income', 'credit', 'unlimited'],
  ]) {
    t.test(
      `${accountClass} is ${normalSide}-normal, with a limit of ${overdraftLimit}`,
      async (t) => {
        const made = await api.post('/v1/accounts', { currency: 'EUR', class: accountClass })
        t.match(made.json.data, { normalSide, overdraftLimit, minimumBalance: '0.00' })
      },
    )
  }

  t.test('a currency has its own scale, and keeps it', async (t) => {
    for (const [currency, limit, shown] of [
      ['JPY', '5', '5'],
      ['KWD', '0.001', '0.001'],
      ['POINTS', '7', '7'],
      ['BTC', '0.00000001', '0.00000001'],
    ]) {
      const made = await api.post('/v1/accounts', {
        currency,
        class: 'asset',
        overdraftLimit: limit,
      })
      t.equal(made.json.data.overdraftLimit, shown)
    }
  })

  t.test('metadata of 4 KB is kept to the letter, and a change replaces it whole', async (t) => {
    const metadata = { key: 'x'.repeat(4086) }
    t.equal(Buffer.byteLength(JSON.stringify(metadata)), 4096)
    const body = { id: 'meta', currency: 'EUR', class: 'asset', metadata }
    t.same((await api.post('/v1/accounts', body)).json.data.metadata, metadata)
    const changed = await api.patch('/v1/accounts/meta', { metadata: { constructor: 'c', 7: 1 } })
    t.same(changed.json.data.metadata, { 7: 1, constructor: 'c' })
    t.same((await api.get('/v1/accounts/meta')).json.data.metadata, { 7: 1, constructor: 'c' })
  })

  t.test('a change sets what is given, one version further', async (t) => {
    await api.post('/v1/accounts', { id: 'change', currency: 'EUR', class: 'asset', owner: 'o' })
    const changed = await api.patch('/v1/accounts/change', { overdraftLimit: '10', version: 1 })
    t.equal(changed.status, 200)
    t.match(changed.json.data, {
      overdraftLimit: '10.00',
      version: 2,
      owner: 'o',
      status: 'active',
    })
    refused(
      t,
      await api.patch('/v1/accounts/change', { overdraftLimit: '20', version: 1 }),
      409,
      'version_conflict',
    )
    const unlimited = await api.patch('/v1/accounts/change', { overdraftLimit: 'unlimited' })
    t.match(unlimited.json.data, { overdraftLimit: 'unlimited', version: 3 })
    refused(
      t,
      await api.patch('/v1/accounts/nobody', { status: 'frozen' }),
      404,
      'account_not_found',
    )
    refused(t, await api.get('/v1/accounts/nobody'), 404, 'account_not_found')
  })

  t.test('a limit can be tightened to the balance, and no further', async (t) => {
    await api.post('/v1/accounts', { id: 'tight', currency: 'EUR', class: 'asset' })
    await api.patch('/v1/accounts/tight', { overdraftLimit: '10' })
    t.equal((await post(api, 'tight', 'ada', '4')).status, 201, 'an asset grows by a debit')
    refused(
      t,
      await api.patch('/v1/accounts/tight', { minimumBalance: '15' }),
      422,
      'limit_exceeded',
    )
    t.equal((await api.patch('/v1/accounts/tight', { overdraftLimit: '0' })).status, 200)
    t.equal((await api.patch('/v1/accounts/tight', { minimumBalance: '4' })).status, 200)
    refused(
      t,
      await api.patch('/v1/accounts/tight', { minimumBalance: '4.01' }),
      422,
      'limit_exceeded',
    )
  })

  t.test(
    'dormant, frozen and closed accounts take no postings, and only closing is final',
    async (t) => {
      await api.post('/v1/accounts', { id: 'life', currency: 'EUR', class: 'asset' })
      const move = () => post(api, 'cash', 'life', '1')
      for (const status of ['dormant', 'frozen']) {
        t.equal((await api.patch('/v1/accounts/life', { status })).json.data.status, status)
        refused(t, await move(), 422, `account_${status}`)
      }
      t.equal((await api.patch('/v1/accounts/life', { status: 'active' })).status, 200)
      t.equal((await api.patch('/v1/accounts/life', { status: 'closed' })).status, 200)
      refused(t, await move(), 422, 'account_closed')
      refused(t, await api.patch('/v1/accounts/life', { status: 'active' }), 422, 'account_closed')
      t.equal((await api.get('/v1/accounts/life')).json.data.status, 'closed')
    },
  )

  t.test('an account is closed with a zero balance and no holds only', async (t) => {
    await api.post('/v1/accounts', { id: 'closing', currency: 'EUR', class: 'liability' })
    const close = () => api.patch('/v1/accounts/closing', { status: 'closed' })
    await post(api, 'cash', 'closing', '2')
    refused(t, await close(), 409, 'balance_not_zero')
    const hold = {
      id: 'closing:hold',
      debit: 'cash',
      credit: 'closing',
      amount: '1',
      pending: true,
    }
    await api.post('/v1/transactions', hold)
    await post(api, 'closing', 'cash', '2')
    refused(t, await close(), 409, 'holds_pending')
    await api.post('/v1/transactions/closing:hold/void', {})
    t.equal((await close()).status, 200)
  })

  t.test('a read can ask for a position', async (t) => {
    const posted = await post(api, 'cash', 'ada', '1')
    const { position } = posted.json.meta
    t.equal((await api.get(`/v1/accounts/ada?minPosition=${position}`)).status, 200)
    const later = `1-${Number(position.split('-')[1]) + 1000}`
    const refusal = await api.get(`/v1/accounts/ada?minPosition=${later}`)
    refused(t, refusal, 503, 'position_not_reached', true)
    t.equal(refusal.headers.get('retry-after'), '1')
  })
})

t.test('when memory is full, accounts and transactions are refused, not forgotten', async (t) => {
  const api = await startApi(t, {
    environment: { DAYBOOK_ACCOUNTS_MAX: '3', DAYBOOK_TRANSACTIONS_MAX: '2' },
  })
  await openAccounts(api)
  const fourth = await api.post('/v1/accounts', { currency: 'EUR', class: 'asset' })
  refused(t, fourth, 503, 'memory_limit_reached', true)
  t.equal(fourth.headers.get('retry-after'), '1')
  for (const id of ['one', 'two']) {
    t.equal(
      (await api.post('/v1/transactions', { id, debit: 'cash', credit: 'ada', amount: '1' }))
        .status,
      201,
    )
  }
  const third = { debit: 'cash', credit: 'ada', amount: '1' }
  refused(t, await api.post('/v1/transactions', third), 503, 'memory_limit_reached', true)
  const again = await api.post('/v1/transactions', { ...third, id: 'one' })
  t.equal(again.status, 200, 'what has happened is still known')
})

async function post(api: ApiServer, debit: string, credit: string, amount: string) {
  return await api.post('/v1/transactions', { debit, credit, amount })
}
