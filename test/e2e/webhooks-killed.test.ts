import pg from 'pg'
import t from 'tap'
import { systemClock } from '../../src/clock.js'
import { streamTail } from '../../src/history/feed/stream-tail.js'
import { digestChain } from '../../src/journal/digest.js'
import { postgresDatabase } from '../../src/journal/postgres.js'
import { postgresStore } from '../../src/journal/postgres-session.js'
import type { Json } from '../api/server.js'
import { TestReceiver } from '../history/webhooks/test-receiver.js'
import { temporaryPostgres } from '../postgres.js'
import { roundsOr, withShards } from './rounds.js'
import { ServerProcess, until } from './server.js'

const rounds = roundsOr(3)
t.setTimeout(60_000 + rounds * 30_000)

const postgres = await temporaryPostgres(t)
const itemsOfBatch = 20
/** So much more than what was delivered is posted at most. */
const aheadMax = 600

t.test('a server that is killed again and again leaves no gap in what it delivers', async (t) => {
  const DATABASE_URL = await postgres.createDatabase()
  const [hook, hanging] = [await TestReceiver.start(t), await TestReceiver.start(t)]
  hanging.answer = () => 'hang'
  hook.answer = () => {
    const dice = Math.random()
    return dice < 0.03 ? 500 : dice < 0.05 ? 'cut' : 200
  }
  const settings = {
    ...{ DATABASE_URL, DAYBOOK_HISTORY: 'on', DAYBOOK_SNAPSHOTS: 'off' },
    DAYBOOK_WEBHOOK_KEY: 'a key of more than 32 characters for webhooks',
    ...{ DAYBOOK_WEBHOOK_PRIVATE: 'allow', DAYBOOK_WEBHOOK_TIMEOUT_MS: '300' },
  }
  let behind = 0
  const acknowledged: string[] = []
  for (let round = 0; round < rounds; round++) {
    const shards = 1 + (Math.floor(round / 2) % 2)
    const server = await ServerProcess.start(t, { ...settings, ...withShards(shards) })
    if (round === 0) await openBook(server.url, [hook.url, hanging.url])
    const posting = postUntilLost(server.url, acknowledged, () => hook.ids.length)
    const wanted = hook.ids.length + 1 + Math.floor(Math.random() * 200)
    await until('some are delivered', () => hook.ids.length >= wanted)
    await server.end('SIGKILL')
    await posting
    if (new Set(hook.ids).size < acknowledged.length) behind += 1
  }
  const server = await ServerProcess.start(t, { ...settings, ...withShards(2) })
  const expected = await eventsOf(DATABASE_URL)
  await until('all are delivered', () => new Set(hook.ids).size >= expected.ids.length)

  const first = [...new Set(hook.ids)]
  t.same([...first].sort(), [...expected.ids].sort(), 'no gap, and nothing else')
  const taken = new Set(first)
  t.same(
    acknowledged.filter((position) => !taken.has(position)),
    [],
    'all that was acknowledged',
  )
  t.equal(isInOrder(first, expected.generations), true, 'in order, but for repeats')
  const [{ data }] = await Promise.all([
    fetch(`${server.url}/v1/webhooks/hook/dead-letters`).then(
      async (answer) => (await answer.json()) as Json,
    ),
    until('the other one is known to hang', async () => {
      return (await server.metric('daybook_webhook_breakers_open')) === 1
    }),
  ])
  t.same(data, [])
  t.equal(hanging.accepted.length, 0)
  t.comment(
    `${rounds} kills, ${behind} of them behind; ${first.length} events, ` +
      `${hook.ids.length - first.length} of them repeated`,
  )
})

async function openBook(url: string, hooks: readonly string[]): Promise<void> {
  for (const [index, hook] of hooks.entries()) {
    const id = ['hook', 'hanging'][index]
    await post(`${url}/v1/webhooks`, { id, url: hook, batchMax: 20, after: 'beginning' })
  }
  for (const id of ['cash', 'ada', 'ben', 'eve']) {
    const account = { id, currency: 'EUR', class: 'liability', overdraftLimit: 'unlimited' }
    await post(`${url}/v1/accounts`, account)
  }
}

/** Posts until the server is gone; adds the positions of what was acknowledged. */
async function postUntilLost(
  url: string,
  acknowledged: string[],
  delivered: () => number,
): Promise<void> {
  const names = ['cash', 'ada', 'ben', 'eve']
  for (;;) {
    const transactions = Array.from({ length: itemsOfBatch }, (_, index) => ({
      ...{ debit: names[index % 4], credit: names[(index + 1) % 4], amount: '1.00' },
    }))
    try {
      const { data } = await post(`${url}/v1/transactions/batch`, { transactions })
      for (const { position } of data.results) acknowledged.push(position)
    } catch {
      return
    }
    const isLost = () =>
      fetch(`${url}/health`).then(
        () => false,
        () => true,
      )
    await until('it is not too far ahead, or gone', async () => {
      return acknowledged.length < delivered() + aheadMax || (await isLost())
    })
  }
}

async function post(url: string, body: object): Promise<Json> {
  const response = await fetch(url, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(body),
  })
  if (!response.ok) throw new Error(`${url} answered ${response.status}`)
  return (await response.json()) as Json
}

/** Ids of all events that the journal has, and the generation of each stream. */
async function eventsOf(
  connectionString: string,
): Promise<{ ids: string[]; generations: Map<number, number> }> {
  const client = new pg.Client({ connectionString })
  await client.connect()
  const { rows } = await client.query('select id, generation from daybook.stream')
  await client.end()
  const session = await postgresStore(postgresDatabase(connectionString, 10_000)).open()
  const ids: string[] = []
  for (const { id: stream } of rows) {
    const tail = streamTail(session, {
      ...{ stream, afterSeq: 0, isClosed: true, chain: digestChain(), clock: systemClock },
      signal: new AbortController().signal,
    })
    for await (const { events } of tail) ids.push(...events.map(({ id }) => id))
  }
  session.close()
  return { ids, generations: new Map(rows.map(({ id, generation }) => [id, generation])) }
}

/** Each stream by seq, and no stream before those of an earlier generation are whole. */
function isInOrder(ids: readonly string[], generations: ReadonlyMap<number, number>): boolean {
  const seqs = new Map<number, number>()
  let newest = 0
  return ids.every((id) => {
    const [stream, seq] = id.split('-').map(Number)
    const generation = generations.get(stream) ?? 0
    const isNext = seq > (seqs.get(stream) ?? 0) && generation >= newest
    seqs.set(stream, seq)
    newest = generation
    return isNext
  })
}
