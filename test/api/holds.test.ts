import t from 'tap'
import { eventually, openAccounts, refused, startApi } from './server.js'

t.setTimeout(60_000)

const path = '/v1/transactions'
const moment = (offsetMs: number) => new Date(Date.now() + offsetMs).toISOString()

t.test('holds', async (t) => {
  const api = await startApi(t)
  await openAccounts(api)
  await api.post('/v1/accounts', { id: 'fees', currency: 'EUR', class: 'income' })
  await api.post(path, { debit: 'cash', credit: 'ada', amount: '1000' })

  const hold = (id: string, more: object = {}) =>
    api.post(path, { id, debit: 'ada', credit: 'ben', amount: '10.00', pending: true, ...more })
  const follow = (id: string, verb: string, body: object = {}) =>
    api.post(`${path}/${id}/${verb}`, body)
  const balances = async (id: string) => (await api.get(`/v1/accounts/${id}`)).json.data.balances
  const read = async (id: string) => (await api.get(`${path}/${id}`)).json.data
  /** Ends what a test has left pending, so that each starts from the same. */
  const reserved = async () => (await balances('ada')).debitsPending

  t.test('a hold reserves and moves nothing', async (t) => {
    const before = await balances('ada')
    const expiresAt = moment(3_600_000)
    const placed = await hold('h1', { expiresAt })
    t.equal(placed.status, 201)
    t.match(placed.json.data, { type: 'hold', status: 'pending', expiresAt })
    const after = await balances('ada')
    t.same(after, {
      ...before,
      debitsPending: '10.00',
      available: (Number(before.available) - 10).toFixed(2),
    })
    t.match(await balances('ben'), { creditsPending: '10.00', balance: '0.00', available: '0.00' })
    t.match(await read('h1'), { status: 'pending', remaining: ['10.00'] })
    const again = await hold('h1', { expiresAt })
    t.equal(again.status, 200)
    t.equal(again.headers.get('idempotent-replayed'), 'true')
    const spend = { debit: 'ada', credit: 'cash', amount: after.available }
    t.equal((await api.post(path, { ...spend, id: 'spend-rest' })).status, 201)
    refused(t, await api.post(path, { ...spend, amount: '0.01' }), 422, 'insufficient_funds')
    refused(t, await hold('h1b', { amount: '0.01' }), 422, 'insufficient_funds')
    t.equal((await follow('spend-rest', 'reverse')).status, 201)
    t.equal((await follow('h1', 'void')).status, 201)
    t.equal(await reserved(), '0.00')
  })

  t.test('posted whole', async (t) => {
    await hold('whole')
    const posted = await follow('whole', 'post', { id: 'p', reference: 'r', code: 3 })
    t.equal(posted.status, 201)
    t.match(posted.json.data, {
      name: 'p',
      type: 'post',
      status: 'posted',
      reference: 'r',
      code: 3,
    })
    t.equal(posted.json.data.postings[0].amount, '10.00')
    t.equal(posted.json.data.target, (await read('whole')).id)
    t.match(await read('whole'), { type: 'hold', status: 'posted' })
    t.equal(await reserved(), '0.00')
    const again = await follow('whole', 'post', { id: 'p', reference: 'r', code: 3 })
    t.equal(again.status, 200)
    t.equal(again.headers.get('idempotent-replayed'), 'true')
    t.equal(again.json.data.id, posted.json.data.id)
    refused(t, await follow('whole', 'post', { id: 'p' }), 409, 'id_reused_with_different_body')
    refused(t, await follow('whole', 'post', { id: 'q' }), 409, 'hold_already_posted')
    refused(t, await follow('whole', 'void', {}), 409, 'hold_already_posted')
    refused(t, await follow('whole', 'reverse', {}), 409, 'not_reversible')
    t.equal((await hold('whole')).status, 200, 'the hold itself is still known')
  })

  t.test('posted in part, the rest released', async (t) => {
    const before = Number((await balances('ada')).balance)
    await hold('part')
    const posted = await follow('part', 'post', { amount: '4' })
    t.equal(posted.status, 201)
    t.equal(posted.json.data.postings[0].amount, '4.00')
    t.match(await balances('ada'), {
      debitsPending: '0.00',
      balance: (before - 4).toFixed(2),
      available: (before - 4).toFixed(2),
    })
    refused(t, await follow('part', 'post', { amount: '1' }), 409, 'hold_already_posted')
  })

  t.test('posted in parts, the rest kept until the last', async (t) => {
    await hold('parts')
    t.equal((await follow('parts', 'post', { id: '1', amount: '4', keepRest: true })).status, 201)
    t.match(await read('parts'), { status: 'pending', remaining: ['6.00'] })
    t.equal(await reserved(), '6.00')
    const more = await follow('parts', 'post', { id: '2', amount: '6.01', keepRest: true })
    refused(t, more, 422, 'exceeds_hold')
    t.equal((await follow('parts', 'post', { id: '2', amount: '6', keepRest: true })).status, 201)
    t.equal((await read('parts')).status, 'posted')
    t.equal(await reserved(), '0.00')
    refused(t, await follow('parts', 'post', { id: '3', amount: '1' }), 409, 'hold_already_posted')
    t.equal((await follow('parts', 'post', { id: '1', amount: '4', keepRest: true })).status, 200)
  })

  t.test('posted by amounts, one for each posting', async (t) => {
    const postings = [
      { debit: 'ada', credit: 'ben', amount: '8' },
      { debit: 'ada', credit: 'fees', amount: '2' },
    ]
    await api.post(path, { id: 'two', postings, pending: true })
    for (const amounts of [['1'], ['1', '1', '1']]) {
      refused(t, await follow('two', 'post', { amounts }), 422, 'amounts_mismatch')
    }
    const over = await follow('two', 'post', { amounts: ['8', '2.01'] })
    refused(t, over, 422, 'exceeds_hold')
    t.equal(over.json.error.details.posting, 1)
    const fine = await follow('two', 'post', { amounts: ['1', '0.001'] })
    refused(t, fine, 400, 'too_many_decimals')
    t.equal(fine.json.error.details.field, 'amounts/1')
    t.equal((await follow('two', 'post', { amounts: ['0', '1.50'], keepRest: true })).status, 201)
    t.same((await read('two')).remaining, ['8.00', '0.50'])
    t.equal((await follow('two', 'post', { amounts: ['8', '0'] })).status, 201)
    t.equal((await read('two')).status, 'posted')
    t.equal(await reserved(), '0.00')
  })

  t.test('voided', async (t) => {
    const before = await balances('ada')
    await hold('void')
    const voided = await follow('void', 'void', { id: 'v', description: 'changed her mind' })
    t.equal(voided.status, 201)
    t.match(voided.json.data, { type: 'void', status: 'posted', description: 'changed her mind' })
    t.equal((await read('void')).status, 'voided')
    t.same(await balances('ada'), before)
    t.equal(
      (await follow('void', 'void', { id: 'v', description: 'changed her mind' })).status,
      200,
    )
    refused(t, await follow('void', 'void', { id: 'w' }), 409, 'hold_already_voided')
    refused(t, await follow('void', 'post', {}), 409, 'hold_already_voided')
    await hold('void:bare')
    t.equal((await api.call('POST', `${path}/void:bare/void`)).status, 201, 'without a body')
  })

  t.test('expires by itself', async (t) => {
    const before = await balances('ada')
    t.equal((await hold('short', { expiresAt: moment(400) })).status, 201)
    const expired = await eventually(async () => {
      const transaction = await read('short')
      return transaction.status === 'expired' && transaction
    })
    t.notOk('remaining' in expired)
    t.same(await balances('ada'), before)
    refused(t, await follow('short', 'post', {}), 409, 'hold_expired')
    refused(t, await follow('short', 'void', {}), 409, 'hold_expired')
    refused(t, await hold('late', { expiresAt: moment(-1000) }), 422, 'expiry_in_the_past')
  })

  t.test('only a hold can be posted or voided', async (t) => {
    await api.post(path, { id: 'plain', debit: 'cash', credit: 'ada', amount: '1' })
    for (const verb of ['post', 'void']) {
      refused(t, await follow('plain', verb), 404, 'hold_not_found')
      refused(t, await follow('nobody', verb), 404, 'hold_not_found')
    }
    refused(
      t,
      await follow('whole', 'void', { effectiveDate: '1993-01-01' }),
      409,
      'hold_already_posted',
    )
    await hold('dated')
    const past = { effectiveDate: '1993-01-01' }
    refused(t, await follow('dated', 'post', past), 422, 'effective_date_in_the_past')
    refused(t, await follow('dated', 'void', past), 422, 'effective_date_in_the_past')
    refused(t, await follow('dated', 'reverse'), 409, 'not_reversible')
    t.equal((await follow('dated', 'void')).status, 201)
  })

  t.test('a hold on a frozen account can be voided, not posted', async (t) => {
    await hold('frozen')
    await api.patch('/v1/accounts/ben', { status: 'frozen' })
    refused(t, await follow('frozen', 'post'), 422, 'account_frozen')
    t.equal((await follow('frozen', 'void')).status, 201)
    await api.patch('/v1/accounts/ben', { status: 'active' })
  })

  t.test('the post of a hold can be reversed; the hold stays posted', async (t) => {
    const before = await balances('ada')
    await hold('undo')
    const posted = await follow('undo', 'post', { amount: '7' })
    const { id } = posted.json.data
    const reversed = await follow(id, 'reverse', { id: 'r' })
    t.equal(reversed.status, 201)
    t.equal(reversed.json.data.target, id)
    t.equal(reversed.json.data.postings[0].amount, '7.00')
    t.equal((await read(id)).status, 'reversed')
    t.equal((await read('undo')).status, 'posted')
    const after = await balances('ada')
    t.equal(after.balance, before.balance)
    t.equal(after.available, before.available)
    refused(t, await follow(id, 'reverse', {}), 409, 'already_reversed')
  })

  t.test('one id means one thing within its target, and another under the next', async (t) => {
    await hold('first')
    await hold('second')
    const one = await follow('first', 'void', { id: 'same' })
    const two = await follow('second', 'void', { id: 'same' })
    t.equal(one.status, 201)
    t.equal(two.status, 201)
    t.not(one.json.data.id, two.json.data.id)
    const plain = await api.post(path, { id: 'same', debit: 'cash', credit: 'ada', amount: '1' })
    t.equal(plain.status, 201, 'and a transaction of that id is a third')
  })
})
