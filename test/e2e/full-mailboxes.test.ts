import t from 'tap'
import { temporaryPostgres } from '../postgres.js'
import { type HttpAnswer, HttpClient, statusOf } from './client-log.js'
import { type Fate, PostgresProxy } from './proxy.js'
import { idInSlot, single } from './requests.js'
import { withShards } from './rounds.js'
import { ServerProcess, until } from './server.js'

/** What one shard decides on at a time together with others (src/actors/coordinator.ts). */
const coordinationsMax = 16_384
const shards = 2
const inFlightMax = 48_000
const batchItems = 6000
const batches = 8
const tooMany = 4
/** A shard looks whether it is full after each batch, of which it has its share of items. */
const share = batchItems / shards
const coordinationsWhenFull = shards * share * Math.ceil(coordinationsMax / share)

t.setTimeout(180_000)

/**
 * No commit gets through while far more transactions come than the shards can have under way, each
 * between two shards and with its home in either. Then the journal goes on.
 */
t.test('shards that are full of what waits for each other get empty again', async (t) => {
  const postgres = await temporaryPostgres(t)
  const proxy = await PostgresProxy.start(t, await postgres.createDatabase())
  const server = await ServerProcess.start(t, {
    DATABASE_URL: proxy.connectionString,
    ...withShards(shards),
    DAYBOOK_IN_FLIGHT_MAX: String(inFlightMax),
    // Nothing is given up: what is answered is answered because the shards have come to it.
    DAYBOOK_LEASE_MS: '120000',
    DAYBOOK_COMMIT_TIMEOUT_MS: '120000',
    DAYBOOK_ADMISSION_TIMEOUT_MS: '120000',
    DAYBOOK_REQUEST_TIMEOUT_MS: '120000',
  })
  const client = new HttpClient(server.url, batches + tooMany)
  t.teardown(() => client.close())
  const accounts = Array.from({ length: shards }, (_, slot) => idInSlot(slot))
  for (const id of accounts) {
    const answer = await client.post('/v1/accounts', { id, currency: 'EUR', class: 'equity' })
    t.equal(statusOf(answer), 201)
  }
  let open: (fate: Fate) => void = () => undefined
  const gate = new Promise<Fate>((resolve) => {
    open = resolve
  })
  proxy.onCommit = ({ of }) => (of === 'batch' ? gate : 'pass')

  const answers = Array.from({ length: batches }, (_, index) => send(client, accounts, index))
  const refused: HttpAnswer[] = []
  await until('as many are under way as may be', async () => {
    return (await server.metric('daybook_in_flight_commands')) === inFlightMax
  })
  for (let index = 0; index < tooMany; index++) refused.push(await send(client, accounts, index))
  t.same(refused.map(statusOf), Array(tooMany).fill(429), 'the others are refused at the edge')
  for (const answer of refused) {
    t.ok(answer.kind === 'answer' && answer.headers['retry-after'] !== undefined)
  }
  await until('every shard has as much to decide as it may', async () => {
    return (await server.metric('daybook_coordinations')) === coordinationsWhenFull
  })
  const waiting = await server.metric('daybook_mailbox_commands')
  t.ok(waiting > 0, `${waiting} commands wait in full mailboxes`)

  open('pass')
  const results = (await Promise.all(answers)).map(outcomesOf)
  t.same(results, Array(batches).fill({ accepted: batchItems }), 'every one was carried out')
  t.equal(await server.metric('daybook_in_flight_commands'), 0)
  t.equal(await server.metric('daybook_coordinations'), 0)
  t.equal(await server.metric('daybook_reserved_accounts'), 0, 'nothing stays reserved')
  const total = `${(batches * batchItems) / 100}.00`
  const [one, other] = await Promise.all(accounts.map((id) => client.get(`/v1/accounts/${id}`)))
  t.equal(turnover(one, 'debitsPosted'), total)
  t.equal(turnover(other, 'creditsPosted'), total)
  t.same(await server.end('SIGTERM'), { code: 0, signal: null })
})

/** A batch of transfers of 0.01 from the first account to the second. */
function send(client: HttpClient, accounts: string[], index: number): Promise<HttpAnswer> {
  const [debit, credit] = accounts
  const transactions = Array.from({ length: batchItems }, (_, item) => {
    return single([{ debit, credit, amount: 1n }], { id: idInSlot((index + item) % shards) }).body
  })
  return client.post('/v1/transactions/batch', { transactions })
}

/** How many results of a batch there are of each outcome, and of each code. */
function outcomesOf(answer: HttpAnswer): Record<string, number> {
  if (answer.kind === 'lost') return { [answer.reason]: 1 }
  const counts: Record<string, number> = {}
  for (const { outcome, error } of answer.body.data?.results ?? []) {
    const what = error?.code ?? outcome
    counts[what] = (counts[what] ?? 0) + 1
  }
  return counts
}

function turnover(answer: HttpAnswer, side: string): string | undefined {
  return answer.kind === 'answer' ? answer.body.data?.balances?.[side] : undefined
}
