import pg from 'pg'
import t, { type Test } from 'tap'
import { type Answer, type ApiServer, type Json, startApi } from './server.js'

const historyOn = { DAYBOOK_HISTORY: 'on' }

t.test('what is asked for and cannot be is refused, with the field', async (t) => {
  const { api } = await smallBook(t)
  const entries = '/v1/accounts/ada/entries'
  const other = (await api.get('/v1/transactions?limit=1')).json.meta.cursor
  const cursor = (await api.get(`${entries}?limit=1`)).json.meta.cursor
  const changed = Buffer.from('["transactions",{"account":{"or":1}},[1,2,3]]').toString('base64url')
  const beyond = Buffer.from('["transactions",{},[9007199254740991,1,1]]').toString('base64url')
  const wrong: [path: string, field: string][] = [
    [`/v1/transactions?cursor=${beyond}`, 'cursor'],
    [`${entries}?limit=0`, 'limit'],
    [`${entries}?limit=x`, 'limit'],
    [`${entries}?from=yesterday`, 'from'],
    [`${entries}?from=2026-02-30`, 'from'],
    [`${entries}?to=2026-02-30T00:00:00Z`, 'to'],
    [`${entries}?from=2026-03-02&to=2026-03-01`, 'to'],
    [`${entries}?order=up`, 'order'],
    [`${entries}?nothing=1`, 'nothing'],
    [`${entries}?minPosition=first`, 'minPosition'],
    [`${entries}?cursor=${other}`, 'cursor'],
    [`${entries}?cursor=AAAA`, 'cursor'],
    [`${entries}?cursor=${cursor}&order=asc`, 'order'],
    [`/v1/accounts/ben/entries?cursor=${cursor}`, 'cursor'],
    ['/v1/accounts/a%20b/entries', 'id'],
    ['/v1/accounts/ada/balance', 'at'],
    ['/v1/accounts/ada/statement?from=2026-01-01', 'to'],
    ['/v1/accounts/ada/statement?from=2026-01-02&to=2026-01-01', 'to'],
    ['/v1/accounts/ada/statement?from=2026-01-01&to=2026-02-30', 'to'],
    ['/v1/accounts/ada/statement?from=2026-01-01&to=2026-01-02&format=doc', 'format'],
    ['/v1/accounts/ada/balance?at=2026-13-01', 'at'],
    ['/v1/accounts/ada/balances?from=2026-01-01', 'to'],
    ['/v1/accounts/ada/balances?from=2026-01-02&to=2026-01-01', 'to'],
    ['/v1/accounts/ada/balances?from=2026-02-30&to=2026-03-01', 'from'],
    ['/v1/accounts/ada/balances?from=2016-01-01&to=2026-01-08', 'to'],
    ['/v1/accounts/ada/balances?from=2026-01-01&to=2026-01-02&every=week', 'every'],
    [`/v1/transactions?cursor=${changed}`, 'cursor'],
    ['/v1/transactions?status=lost', 'status'],
    ['/v1/transactions?effectiveFrom=2026-02-30', 'effectiveFrom'],
    ['/v1/transactions?code=x', 'code'],
    ['/v1/transactions?fields=id,balances', 'fields'],
    ['/v1/accounts?fields=id,,name', 'fields'],
    ['/v1/accounts?namePrefix=a%25', 'namePrefix'],
    ['/v1/accounts?from=2026-03-02&to=2026-03-01', 'to'],
    [`${entries}?fields=id`, 'fields'],
  ]
  for (const [path, field] of wrong) {
    const { status, json } = await api.get(path)
    t.equal(status, 400, path)
    t.equal(json.error.details.field, field, path)
  }
  const search: [body: Json, field: string, code?: string][] = [
    [{ amountFrom: '1' }, 'currency'],
    [{ currency: 'XYZ' }, 'currency'],
    [{ currency: 'EUR', amountFrom: '1.001' }, 'amountFrom', 'too_many_decimals'],
    [{ currency: 'EUR', amountFrom: 1 }, 'amountFrom'],
    [{ metadata: { a: { b: 1 } } }, 'metadata/a'],
    [{ account: 'a b' }, 'account'],
    [{ limit: 1001 }, 'limit'],
  ]
  for (const [body, field, code = 'invalid_request'] of search) {
    const { status, json } = await api.post('/v1/transactions/search', body)
    t.equal(status, 400, JSON.stringify(body))
    t.match(json.error, { code, details: { field } }, JSON.stringify(body))
  }
  t.match((await api.get('/v1/accounts/nobody/entries')).json.error.code, 'account_not_found')
  t.match((await api.get('/v1/accounts/nobody/balances?from=2026-01-01&to=2026-01-01')).status, 404)
  t.match((await api.get('/v1/accounts/nobody/balance?at=2026-01-01')).status, 404)
})

t.test('a search finds what it asks for, and nothing else', async (t) => {
  const { api, position } = await smallBook(t)
  const cases: [asked: Json, found: string[]][] = [
    [{}, ['t6', 't5', 't4', 't3', 't2', 't1']],
    [{ reference: 'r2' }, ['t2']],
    [{ category: 'rent' }, ['t3', 't2']],
    [{ code: 7 }, ['t3']],
    [{ number: 'N-4' }, ['t4']],
    [{ metadata: { shop: 'a' } }, ['t5', 't4']],
    [{ metadata: { shop: 'a', till: 2 } }, ['t5']],
    [{ currency: 'EUR', amountFrom: '2', amountTo: '4.00' }, ['t4', 't3', 't2']],
    [{ currency: 'USD' }, []],
    [{ account: 'ben' }, ['t5', 't4']],
    [{ status: 'pending' }, ['t5']],
    [{ type: 'hold' }, ['t5']],
    [{ type: 'transaction' }, ['t6', 't4', 't3', 't2', 't1']],
    [{ effectiveTo: '2025-12-31' }, ['t1']],
    [{ effectiveFrom: '2025-12-30', effectiveTo: '2026-01-02' }, ['t2', 't1']],
    [{ from: '2999-01-01' }, []],
    [{ to: '2020-01-01' }, []],
    [{ category: 'rent', code: 7 }, ['t3']],
  ]
  for (const [asked, found] of cases) {
    const body = { ...asked, minPosition: position }
    const { json } = await api.post('/v1/transactions/search', body)
    t.same(
      json.data?.map(({ name }: Json) => name),
      found,
      JSON.stringify(asked),
    )
  }
  const listed = await api.get('/v1/transactions?category=rent&code=7')
  t.same(
    listed.json.data.map(({ name }: Json) => name),
    ['t3'],
    'the same by a query string',
  )
  const first = await api.post('/v1/transactions/search', { category: 'rent', limit: 1 })
  const { cursor } = first.json.meta
  const second = await api.post('/v1/transactions/search', { cursor })
  t.same(
    second.json.data.map(({ name }: Json) => name),
    ['t2'],
  )
  t.equal(second.json.meta.cursor, undefined)
})

t.test('accounts are found by what they carry', async (t) => {
  const { api } = await smallBook(t)
  const more: Json[] = [
    {
      id: 'loan:1',
      class: 'asset',
      type: 'loan',
      owner: 'eve',
      metadata: { branch: 'Brno', age: 3 },
    },
    { id: 'loan:2', class: 'asset', type: 'loan', number: 'L-2', metadata: { branch: 'Brno' } },
    { id: 'loan_3', class: 'asset', metadata: { branch: 'Praha', age: 3 } },
  ]
  for (const account of more) await api.post('/v1/accounts', { currency: 'EUR', ...account })
  const last = await api.patch('/v1/accounts/loan:2', { metadata: { branch: 'Praha' } })
  const minPosition = last.json.data.position
  const cases: [asked: Json, found: string[]][] = [
    [{}, ['loan_3', 'loan:2', 'loan:1', 'ben', 'ada', 'cash']],
    [{ metadata: { branch: 'Brno' } }, ['loan:1']],
    [{ metadata: { branch: 'Praha' } }, ['loan_3', 'loan:2']],
    [{ metadata: { branch: 'Praha', age: 3 } }, ['loan_3']],
    [{ metadata: { age: '3' } }, []],
    [{ namePrefix: 'loan:' }, ['loan:2', 'loan:1']],
    [{ namePrefix: 'loan_' }, ['loan_3']],
    [{ namePrefix: 'loan' }, ['loan_3', 'loan:2', 'loan:1']],
    [{ namePrefix: 'z' }, []],
    [{ type: 'loan', owner: 'eve' }, ['loan:1']],
    [{ number: 'L-2', currency: 'EUR' }, ['loan:2']],
    [{ class: 'liability', status: 'active' }, ['ben', 'ada', 'cash']],
    [{ from: '2020-01-01' }, ['loan_3', 'loan:2', 'loan:1', 'ben', 'ada', 'cash']],
    [{ from: '2999-01-01' }, []],
    [{ to: '2020-01-01' }, []],
  ]
  for (const [asked, found] of cases) {
    const body = { ...asked, minPosition }
    const { json } = await api.post('/v1/accounts/search', body)
    t.same(namesIn(json), found, JSON.stringify(asked))
    if (asked.metadata !== undefined) continue
    const listed = await api.get(`/v1/accounts?${new URLSearchParams(body)}`)
    t.same(listed.json.data, json.data, 'the same by a query string')
  }
  const first = await api.post('/v1/accounts/search', { type: 'loan', limit: 1, minPosition })
  const next = await api.post('/v1/accounts/search', { cursor: first.json.meta.cursor })
  t.same([...namesIn(first.json), ...namesIn(next.json)], ['loan:2', 'loan:1'])
})

t.test('only the fields are there that are asked for, and what a row is found by', async (t) => {
  const { api, position } = await smallBook(t)
  const search = (path: string, fields: string) => api.post(path, { fields, minPosition: position })
  const lists: [all: string, ask: (fields: string) => Promise<Answer>, always: string][] = [
    [
      '/v1/accounts/ada/entries',
      (fields) => api.get(`/v1/accounts/ada/entries?${fields}`),
      'position',
    ],
    ['/v1/accounts', (fields) => api.get(`/v1/accounts?${fields}`), 'id'],
    ['/v1/transactions', (fields) => api.get(`/v1/transactions?${fields}`), 'id'],
    ['/v1/accounts', (fields) => search('/v1/accounts/search', fields.slice(7)), 'id'],
    ['/v1/transactions', (fields) => search('/v1/transactions/search', fields.slice(7)), 'id'],
  ]
  for (const [path, ask, always] of lists) {
    const all = (await api.get(`${path}?minPosition=${position}`)).json.data
    const names = new Set(all.flatMap((row: Json) => Object.keys(row)))
    for (const name of names) {
      const { json } = await ask(`fields=${name}`)
      const expected = all.map((row: Json) => picked(row, [always, name as string]))
      t.same(json.data, expected, `${path}: ${name}`)
    }
    const two = ([...names] as string[]).slice(-2)
    const both = await ask(`fields=${two.join(',')}`)
    t.same(
      both.json.data,
      all.map((row: Json) => picked(row, [always, ...two])),
      path,
    )
  }
  const first = (await api.get('/v1/transactions?fields=name&limit=1')).json
  const { json } = await api.get(`/v1/transactions?cursor=${first.meta.cursor}`)
  t.same(Object.keys(json.data[0]), ['id', 'name'], 'on every page')
  const { error } = (await api.get('/v1/accounts?fields=colour')).json
  t.match(error.message, /"colour"; there are: id, name, currency,/)
})

t.test('a balance is as it was recorded, or as it was effective', async (t) => {
  const { api } = await smallBook(t)
  const at = async (at: string) =>
    (await api.get(`/v1/accounts/ada/balance?at=${encodeURIComponent(at)}`)).json.data
  t.match(await at('2025-12-29'), { balance: '0.00', by: 'effective' })
  t.match(await at('2025-12-30'), { balance: '1.00' })
  t.match(await at('2026-01-01'), { balance: '3.00' })
  t.match(await at('2026-01-02'), { balance: '3.00' })
  t.match(await at('2026-01-03'), { balance: '6.00' })
  t.match(await at('2998-12-31'), { balance: '2.00' }, 't4 today, and not yet the one in 2999')
  t.match(await at('2999-01-01'), { balance: '7.00' })
  t.match(await at('0001-01-01'), { balance: '0.00' })
  t.match(await at('9999-12-31'), { balance: '7.00' })
  t.match(await at('2020-01-01T00:00:00Z'), { balance: '0.00', by: 'recorded' })
  t.match(await at('2998-12-31T12:00:00+01:00'), { balance: '7.00' }, 'all of it is recorded')
})

t.test('days are those by effective date, up to ten years of them', async (t) => {
  const { api } = await smallBook(t)
  const days = async (from: string, to: string, every = 'movement') =>
    (await api.get(`/v1/accounts/ada/balances?from=${from}&to=${to}&every=${every}`)).json.data
  const { days: all } = await days('2015-12-31', '2026-01-06', 'day')
  t.equal(all.length, 3660)
  t.same(await days('2025-12-30', '2026-01-02'), {
    ...{ class: 'liability', currency: 'EUR', openingBalance: '0.00' },
    account: (await days('2026-01-01', '2026-01-01')).account,
    days: [
      { date: '2025-12-30', debits: '0.00', credits: '1.00', balance: '1.00' },
      { date: '2026-01-01', debits: '0.00', credits: '2.00', balance: '3.00' },
    ],
  })
  const late = await days('2998-12-31', '2999-01-02')
  t.match(late, { openingBalance: '2.00', days: [{ date: '2999-01-01', balance: '7.00' }] })
  t.match(await days('0001-01-01', '0001-01-02', 'day'), { openingBalance: '0.00' })
  const { days: last } = await days('9999-12-31', '9999-12-31', 'day')
  t.same(last, [{ date: '9999-12-31', debits: '0.00', credits: '0.00', balance: '7.00' }])
})

t.test('a client reads its own write, or is told that it cannot yet', async (t) => {
  const environment = { ...historyOn, DAYBOOK_COMMIT_TIMEOUT_MS: '500' }
  const { api, position } = await smallBook(t, environment)
  const [stream, seq] = position.split('-').map(Number)
  const later = await api.get(`/v1/transactions?minPosition=${stream}-${seq + 1}`)
  t.match(later, { status: 503, json: { error: { code: 'history_behind' } } })
  t.ok(later.headers.get('retry-after'))
  for (let index = 0; index < 20; index++) {
    const posted = await api.post('/v1/transactions', {
      ...{ debit: 'cash', credit: 'ada', amount: '1.00' },
    })
    const path = `/v1/accounts/ada/entries?limit=1&minPosition=${posted.json.meta.position}`
    t.equal((await api.get(path)).json.data[0].transaction, posted.json.data.id)
  }
})

t.test(
  'an entry says what its transaction says, however long before that was recorded',
  async (t) => {
    const { api } = await smallBook(t)
    const entries = '/v1/accounts/ada/entries'
    const before = (await api.get(entries)).json.data
    t.ok(before.some(({ category }: Json) => category === 'rent'))
    const client = new pg.Client({ connectionString: api.databaseUrl })
    await client.connect()
    t.teardown(() => client.end())
    await client.query(`select daybook_history.ensure_month((now() - interval '2 days')::date);
    update daybook_history.transaction set recorded_at = recorded_at - interval '2 days'`)
    t.same((await api.get(entries)).json.data, before)
  },
)

t.test('read models that are not there are said to be so, and posting goes on', async (t) => {
  const without = await startApi(t)
  const answer = await without.get('/v1/transactions')
  t.match(answer, { status: 503, json: { error: { code: 'history_unavailable' } } })

  const { api } = await smallBook(t)
  const client = new pg.Client({ connectionString: api.databaseUrl })
  await client.connect()
  t.teardown(() => client.end())
  await client.query('update daybook_history.about set indexed = false')
  const building = await api.get('/v1/transactions')
  t.match(building, { status: 503, json: { error: { code: 'history_unavailable' } } })
  await client.query('drop schema daybook_history cascade')
  const posted = await api.post('/v1/transactions', { debit: 'cash', credit: 'ada', amount: '1' })
  t.equal(posted.status, 201)
  const path = `/v1/transactions?minPosition=${posted.json.meta.position}`
  let again = await api.get(path)
  while (again.status === 503) again = await api.get(path)
  t.equal(again.json.data.length, 7, 'they are built again by themselves')
})

function namesIn({ data }: Json): string[] {
  return data.map(({ name }: Json) => name)
}

function picked(row: Json, names: string[]): Json {
  return Object.fromEntries(Object.entries(row).filter(([name]) => names.includes(name)))
}

/**
 * Three accounts and six transactions, t1 to t6: `ada` grows by 1, 2, 3 and -4, by 5 in the year
 * 2999, and t5 is a hold of others.
 */
async function smallBook(
  t: Test,
  environment: Record<string, string> = historyOn,
): Promise<{ api: ApiServer; position: string }> {
  const api = await startApi(t, { environment })
  for (const id of ['cash', 'ada', 'ben']) {
    const overdraftLimit = 'unlimited'
    await api.post('/v1/accounts', { id, currency: 'EUR', class: 'liability', overdraftLimit })
  }
  const into = { debit: 'cash', credit: 'ada', imported: true }
  const held = { debit: 'cash', credit: 'ben', amount: '9.00', pending: true }
  const bodies: Json[] = [
    { ...into, amount: '1.00', effectiveDate: '2025-12-30' },
    { ...into, amount: '2.00', effectiveDate: '2026-01-01', reference: 'r2', category: 'rent' },
    { ...into, amount: '3.00', effectiveDate: '2026-01-03', category: 'rent', code: 7 },
    { debit: 'ada', credit: 'ben', amount: '4.00', number: 'N-4', metadata: { shop: 'a' } },
    { ...held, metadata: { shop: 'a', till: 2 } },
    { ...into, amount: '5.00', effectiveDate: '2999-01-01' },
  ]
  let position = ''
  for (const [index, body] of bodies.entries()) {
    const { json } = await api.post('/v1/transactions', { id: `t${index + 1}`, ...body })
    position = json.meta.position
  }
  // It makes its tables while the node serves already.
  while ((await api.get(`/v1/transactions?minPosition=${position}`)).status === 503);
  return { api, position }
}
