import pg from 'pg'
import t, { type Test } from 'tap'
import { systemClock } from '../../src/clock.js'
import { cutAt, newestPosition, readHeads } from '../../src/history/book-cut.js'
import { HistoryPool, type HistoryQueries } from '../../src/history/history-pool.js'
import { readGroups } from '../../src/history/trial-balance-groups.js'
import { parseBookPosition } from '../../src/journal/book-position.js'
import { postgresReader } from '../../src/journal/reader.js'
import { below, randomOf } from '../actors/random.js'
import { type ApiServer, eventually, type Json, startApi } from '../api/server.js'
import { type JournalModel, modelSums, readJournalModel } from './journal-model.js'
import { runWorkload } from './workload.js'

type Position = Map<number, number>
const turns = randomOf(9)

t.test('with one shard it says at every position what the journal says', async (t) => {
  const api = await startApi(t, { environment: environmentOf('1') })
  await workOn(api, 1)
  const model = await readJournalModel(t, api.databaseUrl)
  const random = randomOf(1)
  for (let round = 0; round < 6; round++) {
    await assertSays(t, api, model, randomPosition(model, random))
  }
  await assertNewest(t, api, model)
  await assertInParts(t, api)
})

t.test(
  'with three shards, and two after them, the books balance wherever they are cut',
  async (t) => {
    let databaseUrl = ''
    const said = new Map<string, Json>()
    await t.test('three shards', async (t) => {
      const api = await startApi(t, { environment: environmentOf('3') })
      databaseUrl = api.databaseUrl
      await workOn(api, 3)
      const model = await readJournalModel(t, databaseUrl)
      const random = randomOf(3)
      let cutThrough = 0
      for (let round = 0; round < 14; round++) {
        const position = randomPosition(model, random)
        if (isCutThrough(model, position)) cutThrough += 1
        said.set(format(position), await assertSays(t, api, model, position))
      }
      t.ok(cutThrough > 4, `${cutThrough} positions lie within transactions over several shards`)
      await assertNewest(t, api, model)
      await assertMoments(t, api, model, random)
      await assertRefusals(t, api, model)
      await assertWhileWorking(t, api)
      await assertWaits(t, api)
    })
    await t.test('two shards', async (t) => {
      const api = await startApi(t, {
        environment: { ...environmentOf('2'), DATABASE_URL: databaseUrl },
      })
      await workOn(api, 2)
      const model = await readJournalModel(t, databaseUrl)
      const random = randomOf(2)
      for (let round = 0; round < 6; round++) {
        await assertSays(t, api, model, randomPosition(model, random))
      }
      await assertNewest(t, api, model)
      await assertMoments(t, api, model, random)
      await assertDays(t, api, model)
      for (const [position, rows] of said) {
        const again = await accountRows(api, position)
        t.same(again, rows, `${position} says what it said before, in an earlier generation`)
      }
    })
  },
)

function environmentOf(shards: string): Record<string, string> {
  return { DAYBOOK_HISTORY: 'on', DAYBOOK_SHARDS: shards }
}

async function workOn(api: ApiServer, seed: number): Promise<void> {
  await runWorkload(api, randomOf(seed), 90)
  for (const [index, limits] of [{ striped: true }, { overdraftLimit: '0' }].entries()) {
    const account = { id: `dollars:${index}`, currency: 'USD', class: 'asset', ...limits }
    await api.post('/v1/accounts', account)
  }
  await api.post('/v1/transactions', {
    ...{ id: `dollars:${seed}`, debit: 'dollars:1', credit: 'dollars:0', amount: `${seed}.50` },
  })
  // At first the read models are built.
  await eventually(async () => (await api.get('/v1/accounts?limit=1')).status === 200)
}

/** All that the report says at a position is what the journal says, and in balance. */
async function assertSays(t: Test, api: ApiServer, model: JournalModel, position: Position) {
  const name = format(position)
  const sums = modelSums(model, ({ stream, seq }) => seq <= seqAt(model, position, stream))
  const rows = await accountRows(api, name)
  const listed = new Set(rows.map(({ account }) => account))
  t.equal(listed.size, rows.length, 'each account once')
  t.ok(
    [...sums.keys()].every((account) => listed.has(account)),
    `${name}: all that has moved`,
  )
  const wrong = rows.filter(({ account, debits, credits, debitBalance, creditBalance }) => {
    const own = sums.get(account) ?? { debits: 0n, credits: 0n }
    const balance = own.debits - own.credits
    return !(
      cents(debits) === own.debits &&
      cents(credits) === own.credits &&
      cents(debitBalance) - cents(creditBalance) === balance &&
      (cents(debitBalance) === 0n || cents(creditBalance) === 0n)
    )
  })
  t.same(wrong, [], `${name}: by account`)
  // Each of them in turn.
  for (const by of [['type', 'class', 'currency'][below(turns, 3)]]) {
    const { json } = await api.get(`/v1/reports/trial-balance?by=${by}&at=${name}`)
    t.equal(json.meta.position, name)
    t.same(groupsOf(json.data.rows, by), groupsOf(rows, by), `${name}: by ${by}`)
    for (const { currency, debits, credits, debitBalance, creditBalance } of json.data.totals) {
      const ofCurrency = rows.filter((row) => row.currency === currency)
      t.equal(debits, credits, `${name}: ${currency} balances`)
      t.equal(debitBalance, creditBalance)
      t.equal(cents(debits), sumOf(ofCurrency, 'debits'))
    }
  }
  return rows
}

/** However many accounts are added up at a time, it is the same. */
async function assertInParts(t: Test, api: ApiServer): Promise<void> {
  const onError = (error: Error) => {
    throw error
  }
  const options = { timeoutMs: 5000, onError }
  const pool = new HistoryPool(api.databaseUrl, { ...options, clock: systemClock })
  const journal = postgresReader(api.databaseUrl, options)
  t.teardown(() => Promise.all([pool.close(), journal.close()]))
  const heads = await pool.read(undefined, readHeads)
  const cut = await cutAt(journal, heads, newestPosition(heads))
  const read = <T>(work: (queries: HistoryQueries) => Promise<T>) => pool.read(undefined, work)
  const report = { tenant: 1, cut, inFlight: new Map() }
  const asWhole = [...(await readGroups(report, 'type', { read, goesOn: () => true }))]
  for (const accountsAtATime of [1, 3, 7]) {
    const options = { read, goesOn: () => true, accountsAtATime }
    const inParts = [...(await readGroups(report, 'type', options))]
    t.same(new Set(inParts), new Set(asWhole))
  }
  const begun = await readGroups(report, 'type', { read, goesOn: () => false, accountsAtATime: 1 })
  t.ok(asWhole.length > 3)
  t.equal(begun.length, 1, 'it ends when nobody waits for it')
}

/** Without a position it is where the book is, as the actors say. */
async function assertNewest(t: Test, api: ApiServer, model: JournalModel): Promise<void> {
  const rows = await accountRows(api)
  for (const { account, debits, credits } of rows) {
    const { balances } = (await api.get(`/v1/accounts/${account}`)).json.data
    t.same({ debits, credits }, { debits: balances.debitsPosted, credits: balances.creditsPosted })
  }
  const { json } = await api.get('/v1/reports/trial-balance?by=class')
  const heads = model.generations[model.generations.length - 1].map((stream): [number, number] => [
    stream,
    model.records.get(stream)?.length ?? 0,
  ])
  t.equal(json.meta.position, format(new Map(heads)))
}

/** Balances by day go on from one generation to the next. */
async function assertDays(t: Test, api: ApiServer, model: JournalModel): Promise<void> {
  const [from, to] = [-9, 9].map((days) =>
    new Date(Date.now() + days * 86_400_000).toISOString().slice(0, 10),
  )
  const sums = modelSums(model, () => true)
  for (const [account, { debits, credits }] of sums) {
    const { json } = await api.get(`/v1/accounts/${account}/balances?from=${from}&to=${to}`)
    t.equal(sumOf(json.data.days, 'debits'), debits)
    t.equal(sumOf(json.data.days, 'credits'), credits)
  }
}

/** What is said while transactions are under way over several shards is said again afterwards. */
async function assertWhileWorking(t: Test, api: ApiServer): Promise<void> {
  let isWorking = true
  const work = async (from: number): Promise<void> => {
    for (let step = 0; isWorking; step++) {
      const debit = `account:${4 * ((from + step) % 3)}`
      const credit = `account:${4 * ((from + step + 1) % 3)}`
      await api.post('/v1/transactions', { debit, credit, amount: '0.01' })
    }
  }
  const workers = [0, 1, 2, 3, 4, 5].map(work)
  const said = new Map<string, Json>()
  for (let round = 0; round < 6; round++) {
    const { json } = await api.get('/v1/reports/trial-balance?limit=100')
    for (const { debits, credits } of json.data.totals) t.equal(debits, credits)
    said.set(json.meta.position, json.data.rows)
  }
  isWorking = false
  await Promise.all(workers)
  t.ok(said.size > 3, 'the book went on meanwhile')
  for (const [position, rows] of said) t.same(await accountRows(api, position), rows, position)
}

/** A transaction that another shard has not applied counts all the same: the report waits for it. */
async function assertWaits(t: Test, api: ApiServer): Promise<void> {
  const streamOf = async (account: string) => {
    const { position } = (await api.get(`/v1/accounts/${account}`)).json.data
    return Number(position.split('-')[0])
  }
  const debit = 'account:0'
  const home = await streamOf(debit)
  const others = ['account:4', 'account:8']
  const streams = await Promise.all(others.map(streamOf))
  const index = streams.findIndex((stream) => stream !== home)
  const client = new pg.Client({ connectionString: api.databaseUrl })
  await client.connect()
  t.teardown(() => client.end())
  const numberOf = async (text: string) => Number((await client.query(text, [home])).rows[0].seq)
  const before = await numberOf('select head as seq from daybook.stream where id = $1')
  await client.query('begin')
  await client.query('select from daybook.stream where id = $1 for update', [streams[index]])
  const posted = api.post('/v1/transactions', { debit, credit: others[index], amount: '7.77' })
  const followed = 'select seq from daybook_history.progress where stream = $1'
  while ((await numberOf(followed)) <= before);
  const asked = api.get('/v1/reports/trial-balance?by=currency')
  for (let look = 0; look < 50; look++) await api.get('/v1/transactions?limit=1')
  await client.query('commit')
  const { json } = await asked
  for (const { debits, credits } of json.data.totals) t.equal(debits, credits)
  t.ok((parseBookPosition(json.meta.position)?.get(home) ?? 0) > before)
  t.equal((await posted).status, 201)
}

/** A moment is the position up to which everything was recorded by then. */
async function assertMoments(t: Test, api: ApiServer, model: JournalModel, random: () => number) {
  const all = [...model.records.values()].flat()
  for (let round = 0; round < 5; round++) {
    const { timeMs } = all[below(random, all.length)]
    const { json } = await api.get(
      `/v1/reports/trial-balance?by=currency&at=${new Date(timeMs).toISOString()}`,
    )
    const begun = model.generations.findLast((streams) =>
      streams.some((stream) => (model.records.get(stream)?.[0]?.timeMs ?? Infinity) <= timeMs),
    )
    const seqs = (begun ?? []).map((stream): [number, number] => [
      stream,
      model.records.get(stream)?.findLast((record) => record.timeMs <= timeMs)?.seq ?? 0,
    ])
    t.equal(json.meta.position, format(new Map(seqs)))
    for (const { debits, credits } of json.data.totals) t.equal(debits, credits)
  }
  const before = await api.get('/v1/reports/trial-balance?at=2001-01-01T00:00:00Z')
  t.same(before.json.data, { rows: [], totals: [] })
}

async function assertRefusals(t: Test, api: ApiServer, model: JournalModel): Promise<void> {
  const streams = model.generations[model.generations.length - 1]
  const heads: Position = new Map(streams.map((id) => [id, model.records.get(id)?.length ?? 0]))
  const [first, second, third] = streams
  const refused: [at: string, message: string][] = [
    [format(new Map(heads).set(first, (heads.get(first) ?? 0) + 1)), 'ends at'],
    [format(new Map([[first, 1]])), 'each stream'],
    [format(new Map(heads).set(third + 1, 1)), 'each stream'],
    [`${first}-1,${first}-2,${second}-1,${third}-1`, 'is no date'],
    ['2026-02-30T00:00:00Z', 'is no date'],
    ['2026-02-28', 'at'],
    ['x', 'at'],
  ]
  for (const { stream, seq, cause } of [...model.records.values()].flat()) {
    if (cause === undefined || refused.length > 10) continue
    const open = new Map(heads).set(cause.stream, cause.seq - 1).set(stream, seq)
    refused.push([format(open), 'applied'])
  }
  for (const [at, message] of refused) {
    const { status, json } = await api.get(`/v1/reports/trial-balance?at=${at}`)
    t.equal(status, 400, at)
    t.match(json.error, { code: 'invalid_request', details: { field: 'at' } })
    t.match(json.error.message, message)
  }
}

/** All accounts, page by page. */
async function accountRows(api: ApiServer, at?: string): Promise<Json[]> {
  const rows: Json[] = []
  let query = at === undefined ? 'limit=9' : `limit=9&at=${at}`
  for (;;) {
    const { status, json } = await api.get(`/v1/reports/trial-balance?${query}`)
    if (status !== 200) throw new Error(JSON.stringify(json))
    rows.push(...json.data.rows)
    if (json.meta.cursor === undefined) return rows
    query = `cursor=${json.meta.cursor}`
  }
}

/** A position that is closed under messages: what has applied more than that is taken back. */
function randomPosition(model: JournalModel, random: () => number): Position {
  const streams = model.generations[below(random, model.generations.length)]
  const recordsOf = (stream: number) => model.records.get(stream) ?? []
  const position: Position = new Map(
    streams.map((stream) => [stream, below(random, recordsOf(stream).length + 1)]),
  )
  for (;;) {
    const beyond = streams
      .flatMap((stream) => recordsOf(stream).slice(0, position.get(stream)))
      .find(({ cause }) => cause !== undefined && cause.seq > (position.get(cause.stream) ?? 0))
    if (beyond === undefined) return position
    position.set(beyond.stream, beyond.seq - 1)
  }
}

/** Whether something that the position holds was applied by a stream only after it. */
function isCutThrough({ records }: JournalModel, position: Position): boolean {
  return [...records.values()]
    .flat()
    .some(
      ({ stream, seq, cause }) =>
        seq > (position.get(stream) ?? 0) &&
        cause !== undefined &&
        cause.seq <= (position.get(cause.stream) ?? 0),
    )
}

/** How much of a stream counts: all of it in an earlier generation, nothing in a later one. */
function seqAt({ generations }: JournalModel, position: Position, stream: number): number {
  const seq = position.get(stream)
  if (seq !== undefined) return seq
  const [named] = position.keys()
  const generationOf = (id: number) => generations.findIndex((streams) => streams.includes(id))
  return generationOf(stream) < generationOf(named) ? Number.POSITIVE_INFINITY : 0
}

/** What rows have in common, added up. */
function groupsOf(rows: readonly Json[], by: string): Record<string, string[]> {
  const groups: Record<string, bigint[]> = {}
  for (const row of rows) {
    const kind = by === 'currency' ? '' : by === 'class' ? row.class : `${row.class} ${row.type}`
    const name = `${row.currency} ${kind}`
    const debits = cents(row.debits)
    const credits = cents(row.credits)
    const balance = cents(row.debitBalance) - cents(row.creditBalance)
    const own = groups[name] ?? [0n, 0n, 0n]
    groups[name] = [own[0] + debits, own[1] + credits, own[2] + balance]
  }
  return Object.fromEntries(
    Object.entries(groups)
      .sort()
      .map(([name, sums]) => [name, sums.map(String)]),
  )
}

function format(position: Position): string {
  return [...position].map(([stream, seq]) => `${stream}-${seq}`).join(',')
}

function sumOf(rows: readonly Json[], column: string): bigint {
  return rows.reduce((sum, row) => sum + cents(row[column]), 0n)
}

function cents(amount: string): bigint {
  return BigInt(amount.replace('.', ''))
}
