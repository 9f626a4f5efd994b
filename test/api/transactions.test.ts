import t from 'tap'
import { type ApiServer, openAccounts, refused, startApi } from './server.js'

t.setTimeout(60_000)

const path = '/v1/transactions'
const movement = { debit: 'cash', credit: 'ada', amount: '1.00' }
const day = (offset: number) =>
  new Date(Date.now() + offset * 86_400_000).toISOString().slice(0, 10)

t.test('transactions', async (t) => {
  const api = await startApi(t)
  await openAccounts(api)
  for (const account of [
    { id: 'dollars', currency: 'USD', class: 'asset', overdraftLimit: 'unlimited' },
    { id: 'yen', currency: 'JPY', class: 'asset', overdraftLimit: 'unlimited' },
    { id: 'yen:2', currency: 'JPY', class: 'liability' },
    { id: 'fees', currency: 'EUR', class: 'income' },
    { id: 'limited', currency: 'EUR', class: 'liability', overdraftLimit: '10' },
    { id: 'dormant', currency: 'EUR', class: 'liability' },
    { id: 'frozen', currency: 'EUR', class: 'liability' },
    { id: 'closed', currency: 'EUR', class: 'liability' },
  ]) {
    await api.post('/v1/accounts', account)
  }
  for (const status of ['dormant', 'frozen', 'closed']) {
    await api.patch(`/v1/accounts/${status}`, { status })
  }

  t.test('201 carries the transaction and the balances after it', async (t) => {
    const before = await api.get('/v1/accounts/ada')
    const body = {
      id: 'deposit:1',
      ...movement,
      amount: '125.5',
      reference: 'REF 1',
      description: 'a deposit, “gold” 🪙',
      category: 'deposit',
      number: '2026/0001',
      code: 4_294_967_295,
      metadata: { till: 1, ok: true, who: 'é' },
      effectiveDate: day(3),
    }
    const posted = await api.post(path, body)
    t.equal(posted.status, 201)
    t.equal(posted.headers.get('idempotent-replayed'), null)
    const { id, recordedAt, balances, ...rest } = posted.json.data
    const cash = (await api.get('/v1/accounts/cash')).json.data
    const ada = (await api.get('/v1/accounts/ada')).json.data
    t.equal(ada.position, posted.json.meta.position)
    t.same(rest, {
      name: 'deposit:1',
      type: 'transaction',
      status: 'posted',
      postings: [{ debit: cash.id, credit: ada.id, amount: '125.50', currency: 'EUR' }],
      effectiveDate: body.effectiveDate,
      reference: body.reference,
      description: body.description,
      category: body.category,
      number: body.number,
      code: body.code,
      metadata: body.metadata,
    })
    t.ok(Math.abs(Date.parse(recordedAt) - Date.now()) < 60_000)
    t.same(
      balances,
      [cash, ada].map((account) => ({
        account: account.id,
        currency: 'EUR',
        version: account.version,
        position: posted.json.meta.position,
        ...account.balances,
      })),
      'as the accounts are read afterwards',
    )
    t.equal(ada.version, before.json.data.version + 1)
    t.match(ada.balances, { creditsPosted: '125.50', balance: '125.50', available: '125.50' })
    const read = await api.get(`${path}/deposit:1`)
    t.same(read.json, {
      data: { id, recordedAt, ...rest },
      meta: posted.json.meta,
    })
  })

  t.test(
    'the same id and body is a replay, in any spelling; another body is refused',
    async (t) => {
      const body = { ...movement, id: 'again', metadata: { a: 1, b: 2 } }
      const first = await api.post(path, body)
      t.equal(first.status, 201)
      const { data } = (await api.get(`${path}/again`)).json
      for (const same of [
        body,
        { metadata: { b: 2, a: 1 }, amount: '1', id: 'again', credit: 'ada', debit: 'cash' },
        { id: 'again', postings: [movement], metadata: { a: 1, b: 2 } },
        { ...body, debit: data.postings[0].debit, pending: false, imported: false, code: 0 },
        { ...body, conditions: [] },
      ]) {
        const again = await api.post(path, same)
        t.equal(again.status, 200)
        t.equal(again.headers.get('idempotent-replayed'), 'true')
        t.same(again.json, { data, meta: first.json.meta }, 'the same answer, without old balances')
      }
      for (const more of [
        { amount: '1.01' },
        { credit: 'ben' },
        { reference: 'x' },
        { imported: true },
        { effectiveDate: day(0) },
        { currency: 'EUR' },
        { metadata: { a: 1 } },
      ]) {
        const other = await api.post(path, { ...body, ...more })
        refused(t, other, 409, 'id_reused_with_different_body')
      }
      const key = { 'idempotency-key': 'again' }
      t.equal((await api.post(path, { ...body, id: undefined }, key)).status, 200, 'by the header')
      t.equal((await api.post(path, body, key)).status, 200, 'by both')
    },
  )

  t.test('a name and its UUID are one id, and the server makes v7 ids', async (t) => {
    const named = await api.post(path, { ...movement, id: 'by-name' })
    const read = await api.get(`${path}/${named.json.data.id}`)
    t.equal(read.json.data.name, 'by-name')
    const made = await api.post(path, movement)
    t.equal(made.json.data.id[14], '7')
    t.notOk('name' in made.json.data)
    t.equal((await api.get(`${path}/${made.json.data.id}`)).status, 200)
  })

  t.test('up to 64 postings happen together, each seeing the ones before', async (t) => {
    const postings = [
      { debit: 'cash', credit: 'ben', amount: '10.00' },
      { debit: 'ben', credit: 'ada', amount: '9.50', currency: 'EUR' },
      { debit: 'ben', credit: 'fees', amount: '0.50' },
    ]
    const posted = await api.post(path, { id: 'three', postings })
    t.equal(posted.status, 201)
    t.equal(posted.json.data.postings.length, 3)
    t.equal(posted.json.data.balances.length, 4)
    t.equal(posted.json.data.balances[1].balance, '0.00')
    const most = Array.from({ length: 64 }, () => ({ ...movement, amount: '0.01' }))
    t.equal((await api.post(path, { postings: most })).json.data.postings.length, 64)
    const before = (await api.get('/v1/accounts/ada')).json.data
    const half = [...postings, { debit: 'ben', credit: 'fees', amount: '0.01' }]
    const refusal = await api.post(path, { id: 'four', postings: half })
    refused(t, refusal, 422, 'insufficient_funds')
    t.equal(refusal.json.error.details.posting, 3)
    t.same((await api.get('/v1/accounts/ada')).json.data, before, 'all or none')
    refused(t, await api.get(`${path}/four`), 404, 'transaction_not_found')
    t.equal((await api.post(path, { id: 'four', postings })).status, 201, 'the id is not used up')
  })

  const in30Days = { effectiveDate: day(30) }
  for (const [code, status, body, field] of [
    ['account_not_found', 404, { ...movement, credit: 'nobody' }],
    ['account_dormant', 422, { ...movement, credit: 'dormant' }],
    ['account_frozen', 422, { ...movement, debit: 'frozen' }],
    ['account_closed', 422, { ...movement, credit: 'closed' }],
    ['currency_mismatch', 422, { ...movement, debit: 'dollars' }],
    ['currency_mismatch', 422, { ...movement, currency: 'USD' }],
    ['same_account', 422, { ...movement, credit: 'cash' }],
    ['insufficient_funds', 422, { debit: 'ben', credit: 'cash', amount: '1000000' }],
    ['limit_exceeded', 422, { debit: 'limited', credit: 'cash', amount: '10.01' }],
    ['amount_overflow', 422, { ...movement, amount: '92233720368547758.07' }],
    ['amount_overflow', 422, { ...movement, amount: '9223372036854775807' }],
    ['version_conflict', 409, { ...movement, conditions: [{ account: 'ben', version: 1000 }] }],
    ['effective_date_in_the_past', 422, { ...movement, effectiveDate: '1993-01-01' }],
    ['expiry_in_the_past', 422, { ...movement, pending: true, expiresAt: '2020-01-01T00:00:00Z' }],
    ['too_many_decimals', 400, { ...movement, amount: '0.001' }, 'amount'],
    ['too_many_decimals', 400, { debit: 'yen', credit: 'yen:2', amount: '0.5' }, 'amount'],
    [
      'too_many_decimals',
      400,
      { postings: [movement, { ...movement, amount: '0.001' }] },
      'postings/1/amount',
    ],
  ] as const) {
    t.test(`${code} is ${status}, changes nothing and does not use up the id`, async (t) => {
      const before = await everything(api)
      const id = `refused:${code}:${JSON.stringify(body).length}`
      const refusal = await api.post(path, { id, ...body })
      refused(t, refusal, status, code)
      t.equal(refusal.json.error.details.field, field)
      t.equal(refusal.headers.get('retry-after'), null)
      t.same(await everything(api), before, 'nothing has changed')
      t.equal((await api.post(path, { id, ...movement, ...in30Days })).status, 201)
    })
  }

  t.test('a v7 id from the future is refused, and one from the past is not', async (t) => {
    const at = (timeMs: number) => {
      const hex = timeMs.toString(16).padStart(12, '0')
      return `${hex.slice(0, 8)}-${hex.slice(8)}-7c3e-9d5b-6f1f0a2b3c4d`
    }
    const later = { ...movement, id: at(Date.now() + 365 * 86_400_000) }
    refused(t, await api.post(path, later), 422, 'id_in_the_future')
    t.equal((await api.post(path, { ...movement, id: at(1) })).status, 201)
  })

  t.test('the first refusal of the list is the answer', async (t) => {
    const worst = {
      debit: 'frozen',
      credit: 'closed',
      amount: '0.001',
      effectiveDate: '1993-01-01',
    }
    refused(t, await api.post(path, worst), 422, 'effective_date_in_the_past')
    const { effectiveDate: _, ...bad } = worst
    refused(t, await api.post(path, bad), 422, 'account_closed')
    refused(t, await api.post(path, { ...bad, credit: 'ada' }), 422, 'account_frozen')
    refused(
      t,
      await api.post(path, { ...bad, debit: 'yen', credit: 'ada' }),
      422,
      'currency_mismatch',
    )
  })

  t.test('a limit bears the last cent, and not one more', async (t) => {
    t.equal((await api.post(path, { debit: 'limited', credit: 'cash', amount: '10' })).status, 201)
    const more = { debit: 'limited', credit: 'cash', amount: '0.01' }
    refused(t, await api.post(path, more), 422, 'limit_exceeded')
  })

  t.test('the largest amount fits, and its repeat overflows', async (t) => {
    for (const id of ['vast:1', 'vast:2']) {
      await api.post('/v1/accounts', { id, currency: 'JPY', class: 'equity' })
    }
    const all = { debit: 'vast:1', credit: 'vast:2', amount: '9223372036854775807' }
    const posted = await api.post(path, all)
    t.equal(posted.status, 201)
    t.same(
      posted.json.data.balances.map((balance: { balance: string }) => balance.balance),
      ['-9223372036854775807', '9223372036854775807'],
    )
    refused(t, await api.post(path, { ...all, amount: '1' }), 422, 'amount_overflow')
  })

  t.test('a posting can be made conditional on versions', async (t) => {
    const { version } = (await api.get('/v1/accounts/ben')).json.data
    const body = { ...movement, credit: 'ben', conditions: [{ account: 'ben', version }] }
    t.equal((await api.post(path, body)).status, 201)
    refused(t, await api.post(path, body), 409, 'version_conflict')
    const nobody = { ...movement, conditions: [{ account: 'nobody', version: 1 }] }
    refused(t, await api.post(path, nobody), 404, 'account_not_found')
  })

  t.test('imported history is exempt from limits and may lie in the past', async (t) => {
    const history = { debit: 'ben', credit: 'cash', amount: '500000', effectiveDate: '1993-01-05' }
    refused(t, await api.post(path, history), 422, 'effective_date_in_the_past')
    const posted = await api.post(path, { ...history, id: 'history', imported: true })
    t.equal(posted.status, 201)
    t.match(posted.json.data, { effectiveDate: '1993-01-05', imported: true })
    t.match(posted.json.data.balances[0].balance, /^-/, 'below its limit')
    t.equal((await api.get(`${path}/history`)).json.data.imported, true)
    const closed = { ...history, credit: 'closed', imported: true }
    refused(t, await api.post(path, closed), 422, 'account_closed')
    t.equal((await api.post(path, { ...movement, credit: 'ben' })).status, 201, 'towards the limit')
  })

  t.test('a reversal swaps the sides, once', async (t) => {
    const original = {
      id: 'mistake',
      postings: [movement, { debit: 'cash', credit: 'fees', amount: '0.25' }],
      reference: 'r',
    }
    await api.post(path, original)
    const before = (await api.get(`${path}/mistake`)).json.data
    const reversed = await api.post(`${path}/mistake/reverse`, { id: 'undo', reference: 'oops' })
    t.equal(reversed.status, 201)
    t.match(reversed.json.data, {
      name: 'undo',
      type: 'reversal',
      status: 'posted',
      target: before.id,
      reference: 'oops',
    })
    t.same(
      reversed.json.data.postings,
      before.postings.map((posting: { debit: string; credit: string }) => ({
        ...posting,
        debit: posting.credit,
        credit: posting.debit,
      })),
    )
    t.same((await api.get(`${path}/mistake`)).json.data, { ...before, status: 'reversed' })
    const again = await api.post(`${path}/mistake/reverse`, { id: 'undo', reference: 'oops' })
    t.equal(again.status, 200)
    t.equal(again.headers.get('idempotent-replayed'), 'true')
    t.equal(again.json.data.id, reversed.json.data.id)
    const own = await api.get(`${path}/${reversed.json.data.id}`)
    t.equal(own.json.data.type, 'reversal')
    refused(t, await api.post(`${path}/mistake/reverse`, { id: 'other' }), 409, 'already_reversed')
    refused(t, await api.post(`${path}/mistake/reverse`, {}), 409, 'already_reversed')
    refused(t, await api.post(`${path}/nobody/reverse`, {}), 404, 'transaction_not_found')
    refused(t, await api.post(`${path}/${own.json.data.id}/reverse`, {}), 409, 'not_reversible')
    refused(
      t,
      await api.post(`${path}/mistake/reverse`, { id: 'undo', reference: 'x' }),
      409,
      'id_reused_with_different_body',
    )
  })

  t.test('a reversal needs no body, and must be covered', async (t) => {
    await api.post(path, { ...movement, id: 'bare' })
    const bare = await api.call('POST', `${path}/bare/reverse`)
    t.equal(bare.status, 201)
    for (const id of ['poor', 'rich']) {
      await api.post('/v1/accounts', { id, currency: 'EUR', class: 'liability' })
    }
    await api.post(path, { id: 'gift', debit: 'cash', credit: 'poor', amount: '5' })
    await api.post(path, { debit: 'poor', credit: 'rich', amount: '3' })
    refused(t, await api.post(`${path}/gift/reverse`, {}), 422, 'insufficient_funds')
    const past = { effectiveDate: '1993-01-01' }
    refused(t, await api.post(`${path}/gift/reverse`, past), 422, 'effective_date_in_the_past')
    await api.post(path, { debit: 'rich', credit: 'poor', amount: '3' })
    t.equal((await api.post(`${path}/gift/reverse`, {})).status, 201)
  })

  t.test('a read can ask for a position', async (t) => {
    const posted = await api.post(path, { ...movement, id: 'seen' })
    const { position } = posted.json.meta
    t.equal((await api.get(`${path}/seen?minPosition=${position}`)).status, 200)
    refused(
      t,
      await api.get(`${path}/seen?minPosition=1-99999999`),
      503,
      'position_not_reached',
      true,
    )
    refused(t, await api.get(`${path}/nobody`), 404, 'transaction_not_found')
  })
})

/** Counters and versions of every account that the refusals could touch. */
async function everything(api: ApiServer): Promise<unknown[]> {
  const names = ['cash', 'ada', 'ben', 'limited', 'dormant', 'frozen', 'closed', 'dollars', 'yen']
  return await Promise.all(
    names.map(async (name) => (await api.get(`/v1/accounts/${name}`)).json.data),
  )
}
