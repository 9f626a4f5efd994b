import { get } from 'node:http'
import pg from 'pg'
import t, { type Test } from 'tap'
import type { FeedEvent } from '../../src/history/feed/feed-event.js'
import { FeedClient } from '../history/feed/feed-client.js'
import { noRedis, TemporaryRedis } from '../redis.js'
import { type ApiServer, eventually, type Json, openAccounts, startApi } from './server.js'

t.setTimeout(120_000)

const posting = { debit: 'cash', credit: 'ada', amount: '1.00' }

function listen(t: Test, api: ApiServer, query = '', lastEventId?: string): Promise<FeedClient> {
  return FeedClient.open(t, `${api.url}/v1/feed${query}`, lastEventId)
}

t.test('what happens is sent as it happens; what cannot be asked for is refused', async (t) => {
  const api = await startApi(t)
  const client = await listen(t, api)
  t.equal(client.status, 200)
  t.equal(client.contentType, 'text/event-stream')
  t.equal(client.retryMs, 1000)
  t.match(client.messages, [{ event: 'position', id: /^[0-9a-f]{8}\.1-0$/ }], 'where it begins')
  await openAccounts(api)
  const correlation = '0198c5a4-7a10-7c3e-9d5b-6f1f0a2b3c4d'
  const { json } = await api.post('/v1/transactions', posting, { 'x-correlation-id': correlation })
  const events = await client.received(4)
  t.same(
    events.map(({ type }) => type),
    ['account.created', 'account.created', 'account.created', 'transaction.posted'],
  )
  t.match(events[3], {
    ...{ id: json.meta.position, position: json.meta.position, version: 1, tenant: 1 },
    correlationId: correlation,
    data: { id: json.data.id, postings: [{ amount: '1.00', currency: 'EUR' }] },
  })
  t.same(
    client.messages.slice(1).map(({ event }) => event),
    events.map(({ type }) => type),
    'the type is the name of the event',
  )
  // While somebody listens, pages that have been read are still there.
  client.close()
  await eventually(async () => (await metric(api, 'daybook_feed_listeners')) === 0)
  await refusesWhatIsNot(t, api)
})

/** A field that is wrong, a place that is not there, and one that is there no more. */
async function refusesWhatIsNot(t: Test, api: ApiServer): Promise<void> {
  const wrong: [query: string, status: number, field: string, lastEventId?: string][] = [
    ['?after=first', 400, 'after'],
    ['?after=1-1.1-2', 400, 'after'],
    ['?after=1-99', 409, 'after'],
    ['?after=9-0', 409, 'after'],
    ['?after=00000000.1-1', 409, 'after'],
    ['?type=transaction.lost', 400, 'type'],
    ['?type=account.created&type=x', 400, 'type'],
    ['?account=a%20b', 400, 'account'],
    [`?account=${Array.from({ length: 257 }, (_, i) => i).join()}`, 400, 'account'],
    ['?nothing=1', 400, 'nothing'],
    ['', 400, 'Last-Event-ID', 'first'],
    ['?after=0', 409, 'Last-Event-ID', '1-99'],
  ]
  for (const [query, status, field, lastEventId] of wrong) {
    const answer = await api.call('GET', `/v1/feed${query}`, {
      ...(lastEventId !== undefined && { headers: { 'last-event-id': lastEventId } }),
    })
    t.equal(answer.status, status, `${query} ${lastEventId ?? ''}`)
    t.match(answer.json.error.details.field.split('/')[0], field, query)
  }
  const later = await api.call('GET', '/v1/feed', { headers: { 'last-event-id': '1-99' } })
  t.equal(later.json.error.code, 'position_unknown')

  await inDatabase(api, 'delete from daybook.journal where first_seq <= 2')
  const answer = await api.get('/v1/feed?after=0')
  t.equal(answer.status, 410)
  t.match(answer.json.error, { code: 'position_gone', details: { field: 'after' } })
  const rest = await listen(t, api, `?after=${answer.json.error.details.after}`)
  t.same(
    (await rest.received(2)).map(({ position }) => position),
    ['1-3', '1-4'],
  )
}

t.test('over several shards every fact comes once, and from every id on the rest', async (t) => {
  const api = await startApi(t, { environment: { DAYBOOK_SHARDS: '3' } })
  await openAccounts(api)
  const ids = Array.from({ length: 12 }, (_, index) => `customer:${index}`)
  for (const id of ids) {
    await api.post('/v1/accounts', { id, currency: 'EUR', class: 'liability' })
  }
  const live = await listen(t, api, '?after=0')
  for (const [index, credit] of [...ids, ...ids].entries()) {
    const debit = index % 2 === 0 ? 'cash' : ids[(index + 5) % ids.length]
    await api.post('/v1/transactions', { ...posting, debit, credit, amount: '0.01' })
  }
  const facts = await homeRecords(api)
  const isFact = ({ type }: FeedEvent) => type !== 'account.moved'
  await eventually(() => live.events.filter(isFact).length === facts.length)
  t.same(
    live.events
      .filter(isFact)
      .map(({ position }) => position)
      .sort(),
    facts,
  )
  const moved = live.events.filter((event) => !isFact(event))
  t.ok(moved.length > 0 && moved.every(({ cause = '' }) => facts.includes(cause)), 'with causes')
  assertInOrder(t, live.events)
  const messages = live.messages.filter(({ event }) => event !== 'position')
  const all = messages.length
  for (const at of [0, 7, all >> 1, all - 2]) {
    const rest = await listen(t, api, '', messages[at].id)
    await rest.received(all - at - 1)
    const positions = (events: FeedEvent[]) => events.map(({ position }) => position).sort()
    t.same(positions(rest.events), positions(live.events.slice(at + 1)), `after ${at}`)
    assertInOrder(t, rest.events)
    rest.close()
  }
  await filtersByAccount(t, api)
})

/** An account hears each fact once, in the stream of the fact or where it takes effect. */
async function filtersByAccount(t: Test, api: ApiServer): Promise<void> {
  const types = 'transaction.posted,account.moved'
  const client = await listen(t, api, `?account=ben&account=nobody&type=${types}`)
  const wanted: string[] = []
  for (const [debit, credit] of [
    ['cash', 'ada'],
    ['cash', 'ben'],
    ['ada', 'cash'],
    ['cash', 'ben'],
    ['ben', 'ada'],
  ]) {
    const { json } = await api.post('/v1/transactions', { debit, credit, amount: '0.50' })
    if (debit === 'ben' || credit === 'ben') wanted.push(json.data.id)
  }
  const events = await client.received(wanted.length)
  t.same(
    events.map(({ data }) => data.id),
    wanted,
  )
  t.same((await listen(t, api, '?type=account.created,account.created', client.lastId)).events, [])
}

t.test('a receiver that hangs is cut off and goes on where it was', async (t) => {
  const environment = { DAYBOOK_FEED_STALL_MS: '400', DAYBOOK_FEED_HEARTBEAT_MS: '400' }
  const api = await startApi(t, { environment })
  await openAccounts(api)
  const hanging = await listen(t, api)
  const other = await listen(t, api)
  hanging.hang()
  const count = await postLargely(api)
  await other.received(count)
  await eventually(async () => (await metric(api, 'daybook_feed_cut_off')) === 1)
  t.equal(await metric(api, 'daybook_feed_listeners'), 1)
  const sent = await metric(api, 'daybook_feed_events')
  t.ok(sent < 2 * count, `${sent - count} of ${count} events were read for it`)
  hanging.goOn()
  await eventually(() => hanging.hasEnded)
  const rest = await listen(t, api, '', hanging.lastId)
  await rest.received(count - hanging.events.length)
  t.same([...hanging.events, ...rest.events], other.events)
})

t.test('a stop waits for nobody who listens, least of all for one that hangs', async (t) => {
  const api = await startApi(t)
  await openAccounts(api)
  const other = await listen(t, api)
  await other.received(await postLargely(api))
  const hanging = await listen(t, api, '?after=0')
  hanging.hang()
  await eventually(async () => (await metric(api, 'daybook_feed_lag_records')) > 0)
  await api.app.close()
  await eventually(() => other.hasEnded)
})

t.test('while Postgres is away the connection stays, and nothing is lost', async (t) => {
  const environment = { DAYBOOK_FEED_LISTENERS_MAX: '2', DAYBOOK_FEED_HEARTBEAT_MS: '40' }
  const api = await startApi(t, { environment })
  await takesNoMoreThanTwo(t, api)
  await openAccounts(api)
  const client = await listen(t, api, '?after=0')
  await client.received(3)
  await letIn(api, false)
  const before = client.comments
  const late = api.post('/v1/transactions', { id: 'late', ...posting })
  await eventually(() => client.comments >= before + 5)
  t.equal((await listen(t, api)).status, 503, 'nobody else can begin')
  await letIn(api, true)
  t.equal((await late).status, 201)
  const events = await client.received(4)
  t.same(
    events.map(({ position }) => position),
    ['1-1', '1-2', '1-3', '1-4'],
  )
  await leavesBeforeItBegins(t, api)
})

/** While nothing happens there are comments; beyond the limit nobody may listen. */
async function takesNoMoreThanTwo(t: Test, api: ApiServer): Promise<void> {
  const [first, second] = [await listen(t, api), await listen(t, api)]
  await eventually(() => first.comments >= 3)
  t.equal(first.messages.length, 1)
  const refused = await api.get('/v1/feed')
  t.equal(refused.status, 429)
  t.equal(refused.json.error.code, 'too_many_listeners')
  t.ok(refused.headers.get('retry-after'))
  first.close()
  const next = await eventually(async () => {
    const client = await listen(t, api)
    return client.status === 200 && client
  })
  t.equal(next.status, 200)
  second.close()
  next.close()
  await eventually(async () => (await metric(api, 'daybook_feed_listeners')) === 0)
}

/** Nobody waits for a client that has gone while its place was looked for, least of all a stop. */
async function leavesBeforeItBegins(t: Test, api: ApiServer): Promise<void> {
  const locking = new pg.Client(api.databaseUrl)
  await locking.connect()
  await locking.query('begin; lock table daybook.stream')
  const before = await metric(api, 'daybook_feed_listeners')
  const request = get(`${api.url}/v1/feed`, { agent: false }).on('error', () => undefined)
  await eventually(async () => (await metric(api, 'daybook_feed_listeners')) === before + 1)
  request.destroy()
  await locking.end()
  await eventually(async () => (await metric(api, 'daybook_feed_listeners')) === before)
  await api.app.close()
  t.pass('the server has stopped')
}

t.test('how far Redis is stands in the metrics', { skip: await noRedis() }, async (t) => {
  const redis = await TemporaryRedis.start(t)
  const environment = { REDIS_URL: redis.url, DAYBOOK_HISTORY: 'on' }
  const api = await startApi(t, { environment })
  await openAccounts(api)
  const of = (name: string) => metric(api, `daybook_redis_feed_${name}\\{stream="1"\\}`)
  await eventually(async () => (await of('position')) === 3)
  t.equal(await of('connected'), 1)
  t.equal(await of('delivered'), 3)
  t.equal(await of('begun'), 1)
  t.equal(await of('lag_records'), 0)
})

/** Positions of all records that are no copies of what another stream tells, in order of text. */
async function homeRecords(api: ApiServer): Promise<string[]> {
  const rows = await inDatabase(
    api,
    "select stream || '-' || seq as position from daybook.records where kind not like '%applied'",
  )
  return rows.map(({ position }) => position).sort()
}

/** More events than sockets hold, by few requests; resolves with how many. */
async function postLargely(api: ApiServer): Promise<number> {
  const postings = Array.from({ length: 64 }, () => ({ ...posting, amount: '0.01' }))
  const transactions = Array.from({ length: 160 }, () => ({
    postings,
    metadata: { text: 'x'.repeat(2500) },
  }))
  const batches = 4
  for (let batch = 0; batch < batches; batch++) {
    const { status, json } = await api.post('/v1/transactions/batch', { transactions })
    if (status !== 200 || json.data.counts.accepted !== transactions.length) {
      throw new Error(`a batch answered ${status}: ${JSON.stringify(json.error)}`)
    }
  }
  return batches * transactions.length
}

async function letIn(api: ApiServer, isLetIn: boolean): Promise<void> {
  const { pathname } = new URL(api.databaseUrl)
  const name = pathname.slice(1)
  const client = new pg.Client(api.postgres.connectionString)
  await client.connect()
  await client.query(`alter database "${name}" allow_connections ${isLetIn}`)
  if (!isLetIn) {
    await client.query(
      'select pg_terminate_backend(pid) from pg_stat_activity where datname = $1',
      [name],
    )
  }
  await client.end()
}

async function inDatabase(api: ApiServer, text: string): Promise<Json[]> {
  const client = new pg.Client(api.databaseUrl)
  await client.connect()
  const { rows } = await client.query(text).finally(() => client.end())
  return rows
}

async function metric(api: ApiServer, name: string): Promise<number> {
  const text = (await api.get('/metrics')).bytes.toString()
  return Number(new RegExp(`^${name} (\\S+)$`, 'm').exec(text)?.[1])
}

/** Within a stream, in the order of seq, and none twice. */
function assertInOrder(t: Test, events: FeedEvent[]): void {
  const seqs = new Map<string, number>()
  const wrong = events.filter(({ position }) => {
    const [stream, seq] = position.split('-')
    const last = seqs.get(stream) ?? 0
    seqs.set(stream, Number(seq))
    return Number(seq) <= last
  })
  t.same(wrong, [], 'in the order of their streams')
}
