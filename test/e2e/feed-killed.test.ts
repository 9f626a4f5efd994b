import pg from 'pg'
import t, { type Test } from 'tap'
import type { FeedEvent } from '../../src/history/feed/feed-event.js'
import { FeedClient } from '../history/feed/feed-client.js'
import { temporaryPostgres } from '../postgres.js'
import { roundsOr, withShards } from './rounds.js'
import { ServerProcess, until } from './server.js'

const rounds = roundsOr(2)
/** Of one start after the other: where the number changes, events go on in other streams. */
const shardNumbers = [1, 3, 2, 2]

t.setTimeout(60_000 + rounds * 30_000)

const postgres = await temporaryPostgres(t)

t.test('a feed whose server is killed again and again has no gap and no repeat', async (t) => {
  const DATABASE_URL = await postgres.createDatabase()
  const start = (round: number) => {
    const shards = withShards(shardNumbers[round % shardNumbers.length])
    return ServerProcess.start(t, { DATABASE_URL, ...shards })
  }
  let server = await start(0)
  const follower = new Follower(t, () => server.url)
  const poster = new Poster(() => server.url)
  await poster.openAccounts()
  let killedBehind = 0
  for (let round = 1; round <= rounds; round++) {
    const wanted = follower.count + 100 + Math.floor(Math.random() * 400)
    await until('events come', () => follower.count >= wanted)
    await server.end('SIGKILL')
    if ((await committed(DATABASE_URL)).total > follower.count) killedBehind += 1
    server = await start(round)
    await until('it listens again', () => follower.connections > round)
  }
  await poster.stop()
  const { facts, generations, total } = await committed(DATABASE_URL)
  t.comment(
    `${total} records, ${follower.connections} connections, behind at ${killedBehind} kills`,
  )
  await until('everything has come', () => follower.facts === facts.length)
  follower.stop()

  const { events } = follower
  t.equal(new Set(events.map(({ id }) => id)).size, events.length, 'none came twice')
  const factEvents = events.filter(({ type }) => type !== 'account.moved')
  t.same(factEvents.map(({ position }) => position).sort(), facts, 'none is missing')
  t.same(outOfOrder(events, generations), [], 'streams in order, one generation after the other')
  const told = new Set(events.map(({ data }) => data.id))
  const missing = poster.acknowledged.filter((id) => !told.has(id))
  t.same(missing, [], 'all that was acknowledged')
  t.ok(poster.acknowledged.length > rounds * 20, `${poster.acknowledged.length} acknowledged`)
})

/** Listens with Last-Event-ID, connecting again for as long as it is not told to stop. */
class Follower {
  connections = 0
  readonly #before: FeedEvent[] = []
  #client: FeedClient | undefined
  #isStopping = false

  constructor(t: Test, url: () => string) {
    void this.#follow(t, url)
  }

  get count(): number {
    return this.#before.length + (this.#client?.receivedAtMs.length ?? 0)
  }

  get events(): FeedEvent[] {
    return [...this.#before, ...(this.#client?.events ?? [])]
  }

  /** Of all, those that are no account.moved. */
  get facts(): number {
    const isFact = ({ type }: { type: string }) => type !== 'account.moved'
    const now = (this.#client?.messages ?? []).map(({ event = 'position' }) => ({ type: event }))
    const types = [...this.#before, ...now.filter(({ type }) => type !== 'position')]
    return types.filter(isFact).length
  }

  stop(): void {
    this.#isStopping = true
    this.#client?.close()
  }

  async #follow(t: Test, url: () => string): Promise<void> {
    let lastId = '0'
    while (!this.#isStopping) {
      const client = await FeedClient.open(t, `${url()}/v1/feed`, lastId).catch(() => undefined)
      if (client?.status !== 200) {
        await new Promise((resolve) => setTimeout(resolve, 20))
        continue
      }
      this.connections += 1
      this.#client = client
      await client.ended
      this.#before.push(...client.events)
      this.#client = undefined
      lastId = client.lastId
    }
  }
}

/** Posts batches between a few accounts, and remembers what was acknowledged. */
class Poster {
  readonly acknowledged: string[] = []
  readonly #url: () => string
  readonly #accounts = Array.from({ length: 8 }, (_, index) => `account:${index}`)
  #posting: Promise<void> | undefined
  #isStopping = false

  constructor(url: () => string) {
    this.#url = url
  }

  async openAccounts(): Promise<void> {
    for (const id of this.#accounts) {
      const account = { id, currency: 'EUR', class: 'asset', overdraftLimit: 'unlimited' }
      await this.#send('/v1/accounts', account)
    }
    this.#posting = this.#post()
  }

  async stop(): Promise<void> {
    this.#isStopping = true
    await this.#posting
  }

  async #post(): Promise<void> {
    for (let batch = 0; !this.#isStopping; batch++) {
      const transactions = Array.from({ length: 10 }, (_, index) => ({
        debit: this.#accounts[(batch + index) % this.#accounts.length],
        credit: this.#accounts[(batch + 3 * index + 1) % this.#accounts.length],
        amount: '1.00',
      })).filter(({ debit, credit }) => debit !== credit)
      const answer = await this.#send('/v1/transactions/batch', { transactions }).catch(() => [])
      this.acknowledged.push(...answer)
      await new Promise((resolve) => setTimeout(resolve, 5))
    }
  }

  async #send(path: string, body: object): Promise<string[]> {
    const response = await fetch(this.#url() + path, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(body),
    })
    const { data } = (await response.json()) as {
      data?: { results?: { id: string; outcome: string }[] }
    }
    const accepted = (data?.results ?? []).filter(({ outcome }) => outcome === 'accepted')
    return accepted.map(({ id }) => id)
  }
}

interface Committed {
  /** Records of all kinds. */
  total: number
  /** Positions of those that are no copies of what another stream tells, in order of text. */
  facts: string[]
  /** By stream. */
  generations: Map<number, number>
}

/** What the journal has, as its SQL views say it. */
async function committed(connectionString: string): Promise<Committed> {
  const client = new pg.Client(connectionString)
  await client.connect()
  try {
    const streams = await client.query('select id, generation, head from daybook.stream')
    const facts = await client.query(
      "select stream || '-' || seq as position from daybook.records where kind not like '%applied'",
    )
    return {
      total: streams.rows.reduce((sum, { head }) => sum + Number(head), 0),
      facts: facts.rows.map(({ position }) => position).sort(),
      generations: new Map(streams.rows.map(({ id, generation }) => [id, generation])),
    }
  } finally {
    await client.end()
  }
}

/** Events that come after a later one of their stream, or after one of a later generation. */
function outOfOrder(events: FeedEvent[], generations: Map<number, number>): FeedEvent[] {
  const seqs = new Map<number, number>()
  let newest = 0
  return events.filter(({ position }) => {
    const [stream, seq] = position.split('-').map(Number)
    const generation = generations.get(stream) ?? 0
    const isWrong = generation < newest || seq <= (seqs.get(stream) ?? 0)
    seqs.set(stream, seq)
    newest = Math.max(newest, generation)
    return isWrong
  })
}
