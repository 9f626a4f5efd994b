import t from 'tap'
import { refused, startApi } from './server.js'

t.setTimeout(60_000)

t.test('striped accounts', async (t) => {
  const api = await startApi(t)
  const till = { id: 'till', currency: 'EUR', class: 'asset', striped: true }
  const made = await api.post('/v1/accounts', till)
  await api.post('/v1/accounts', { id: 'ada', currency: 'EUR', class: 'liability' })

  t.test('one is made without limits, and says what it is', async (t) => {
    t.equal(made.status, 201)
    t.match(made.json.data, {
      striped: true,
      overdraftLimit: 'unlimited',
      minimumBalance: '0.00',
      balances: { balance: '0.00' },
      position: made.json.meta.position,
    })
    t.same((await api.get('/v1/accounts/till')).json, made.json)
  })

  t.test('the same again is a replay, with its only limit spelled out or not', async (t) => {
    const again = await api.post('/v1/accounts', { ...till, overdraftLimit: 'unlimited' })
    t.equal(again.status, 200)
    t.equal(again.headers.get('idempotent-replayed'), 'true')
    t.same(again.json, made.json)
    const { striped, ...whole } = till
    t.ok(striped)
    for (const other of [whole, { ...till, striped: false }]) {
      refused(t, await api.post('/v1/accounts', other), 409, 'id_reused_with_different_body')
    }
    refused(
      t,
      await api.post('/v1/accounts', { ...whole, id: 'ada', striped: true, class: 'liability' }),
      409,
      'id_reused_with_different_body',
    )
  })

  t.test('striped: false is what every account is', async (t) => {
    const body = { id: 'plain', currency: 'EUR', class: 'asset' }
    const plain = await api.post('/v1/accounts', { ...body, striped: false })
    t.equal(plain.status, 201)
    t.notOk('striped' in plain.json.data)
    t.equal(plain.json.data.overdraftLimit, '0.00')
    t.equal((await api.post('/v1/accounts', body)).status, 200)
  })

  t.test('it goes below zero, and every answer shows that it is striped', async (t) => {
    const body = { id: 'out', debit: 'ada', credit: 'till', amount: '5' }
    refused(t, await api.post('/v1/transactions', body), 422, 'insufficient_funds')
    const fill = { debit: 'till', credit: 'ada', amount: '5' }
    t.equal((await api.post('/v1/transactions', fill)).status, 201)
    t.equal((await api.post('/v1/transactions', body)).status, 201)
    const deep = { debit: 'plain:income', credit: 'till', amount: '8' }
    await api.post('/v1/accounts', { id: 'plain:income', currency: 'EUR', class: 'income' })
    const posted = await api.post('/v1/transactions', deep)
    t.equal(posted.status, 201)
    const [income, cash] = posted.json.data.balances
    t.notOk('striped' in income)
    t.match(cash, { striped: true, balance: '-8.00', position: posted.json.meta.position })
    const read = (await api.get('/v1/accounts/till')).json.data
    t.match(read, { striped: true, position: posted.json.meta.position })
    t.match(read.balances, { debitsPosted: '5.00', creditsPosted: '13.00', balance: '-8.00' })
  })

  t.test('its metadata and status can be changed', async (t) => {
    const changed = await api.patch('/v1/accounts/till', { metadata: { a: 1 }, status: 'frozen' })
    t.equal(changed.status, 200)
    t.match(changed.json.data, { striped: true, metadata: { a: 1 }, status: 'frozen' })
    t.equal(changed.json.data.balances.balance, '-8.00')
  })
})
