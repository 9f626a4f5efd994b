import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { temporaryPostgres } from '../postgres.js'
import { HttpClient, statusOf } from './client-log.js'
import { checkBook } from './journal-check.js'
import { Load } from './load.js'
import { shardCounts, withShards } from './rounds.js'
import { ServerProcess, until } from './server.js'

const leaseMs = 1000
const inFlightMax = 8192
/** Far above what the waiting commands take, far below what an unbounded queue would. */
const growthBytesMax = (shards: number) => (300 + 100 * shards) * 1024 * 1024

/** How long Postgres stays away; the test of all has only time to see that it matters. */
const awaySeconds = Number(process.env.DAYBOOK_TEST_AWAY_SECONDS ?? 0)
const reportEverySeconds = 10
const lookEveryMs = 200

t.setTimeout((120_000 + awaySeconds * 1000) * shardCounts.length)

for (const shards of shardCounts) {
  t.test(`while Postgres is away ${shards} refuse honestly, in bounded memory`, (t) =>
    refusesWhileAway(t, shards),
  )
}

async function refusesWhileAway(t: Test, shards: number): Promise<void> {
  const { postgres, server, DATABASE_URL } = await fixture(t, shards)
  const load = new Load({
    connections: 48,
    batchItemsMax: 600,
    batchShare: 0.9,
    // What fills the server is writes.
    readShare: 0.05,
    goOnWhenLost: true,
  })
  await load.open(server.url)
  load.start(server.url)
  await load.acknowledged(2000)
  const watch = await Watch.start(t, server, load)
  await postgres.kill()
  // Several shards take long to fill: there is time for that only when Postgres stays away long.
  const http503Min = shards === 1 || awaySeconds > 0 ? 100 : 0
  await watch.until('many were refused', ({ http503, http504 }) => {
    return http503 >= http503Min && http504 > 50
  })
  load.isSparing = true
  await watch.untilLongEnough()
  t.ok(
    watch.growthBytesMax < growthBytesMax(shards),
    `memory grew by ${watch.growthBytesMax >> 20} MB`,
  )
  const { inFlightSeen } = watch
  t.ok(inFlightSeen > 0 && inFlightSeen <= inFlightMax, `${inFlightSeen} commands in flight`)
  t.equal((await fetch(`${server.url}/health`)).status, 200)

  await postgres.start()
  const backAt = performance.now()
  await load.acknowledged(1)
  t.comment(`acknowledged again after ${Math.round(performance.now() - backAt)} ms`)
  await load.acknowledged(1000)
  await load.stop()
  t.equal(server.ending, undefined)
  await checkBook(t, { url: server.url, connectionString: DATABASE_URL, load })
}

/** Looks at a server while Postgres is away, and tells of it now and then. */
class Watch {
  growthBytesMax = 0
  inFlightSeen = 0
  readonly #t: Test
  readonly #server: ServerProcess
  readonly #load: Load
  readonly #before: { bytes: number; http503: number; http504: number }
  readonly #startedAt = performance.now()
  #reportAt = 0

  static async start(t: Test, server: ServerProcess, load: Load): Promise<Watch> {
    return new Watch(t, server, load, await server.residentBytes())
  }

  private constructor(t: Test, server: ServerProcess, load: Load, bytes: number) {
    this.#t = t
    this.#server = server
    this.#load = load
    const { http503, http504 } = load.log.counts
    this.#before = { bytes, http503, http504 }
  }

  /** Waits for a condition on the answers since the start. */
  async until(
    what: string,
    condition: (since: { http503: number; http504: number }) => boolean,
  ): Promise<void> {
    const isTrue = async () => {
      await this.#look()
      const { http503, http504 } = this.#load.log.counts
      const before = this.#before
      return condition({ http503: http503 - before.http503, http504: http504 - before.http504 })
    }
    await until(what, isTrue)
  }

  async untilLongEnough(): Promise<void> {
    while (this.#seconds < awaySeconds) {
      await this.#look()
      await sleep(lookEveryMs)
    }
    this.#report(await this.#server.residentBytes())
  }

  get #seconds(): number {
    return (performance.now() - this.#startedAt) / 1000
  }

  async #look(): Promise<void> {
    const bytes = await this.#server.residentBytes()
    this.growthBytesMax = Math.max(this.growthBytesMax, bytes - this.#before.bytes)
    const inFlight = await this.#server.metric('daybook_in_flight_commands')
    this.inFlightSeen = Math.max(this.inFlightSeen, inFlight)
    if (this.#seconds < this.#reportAt) return
    this.#reportAt += reportEverySeconds
    this.#report(bytes)
  }

  #report(bytes: number): void {
    const { http503, http504, unavailable, unknown } = this.#load.log.counts
    this.#t.comment(
      `${Math.round(this.#seconds)} s: ${bytes >> 20} MB, ${http503} of 503, ${http504} of 504, ` +
        `${unavailable} items not accepted, ${unknown} unknown`,
    )
  }
}

t.test('reads are refused once Postgres is away for longer than the lease', async (t) => {
  const { postgres, server, DATABASE_URL } = await fixture(t, Math.max(...shardCounts))
  const load = new Load({ goOnWhenLost: true })
  await load.open(server.url)
  load.start(server.url)
  await load.acknowledged(50)
  const client = new HttpClient(server.url, 4)
  t.teardown(() => client.close())
  // Nothing touches this account: a read of it waits for no record, only for the lease.
  const quiet = { id: 'quiet', currency: 'EUR', class: 'liability' }
  t.equal(statusOf(await client.post('/v1/accounts', quiet)), 201)
  const statuses = async () => {
    const paths = [
      '/v1/accounts/quiet',
      `/v1/accounts/${load.customers[0].id}`,
      `/v1/transactions/${load.log.requests[0].body.id}`,
    ]
    const answers = await Promise.all(paths.map((path) => client.get(path)))
    return answers.map(statusOf).join(' ')
  }
  t.equal(await statuses(), '200 200 200')

  await postgres.kill()
  const awayAt = performance.now()
  await until('the lease has run out', () => performance.now() > awayAt + leaseMs)
  for (let read = 0; read < 3; read++) t.equal(await statuses(), '503 503 503')

  await postgres.start()
  await until('reads are answered again', async () => (await statuses()) === '200 200 200')
  await load.acknowledged(50)
  await load.stop()
  await checkBook(t, { url: server.url, connectionString: DATABASE_URL, load })
})

async function fixture(t: Test, shards: number) {
  const postgres = await temporaryPostgres(t, { own: true })
  const DATABASE_URL = await postgres.createDatabase()
  const server = await ServerProcess.start(t, {
    DATABASE_URL,
    ...withShards(shards),
    DAYBOOK_LEASE_MS: String(leaseMs),
    DAYBOOK_COMMIT_TIMEOUT_MS: '1000',
    DAYBOOK_ADMISSION_TIMEOUT_MS: '400',
    DAYBOOK_REQUEST_TIMEOUT_MS: '800',
    DAYBOOK_IN_FLIGHT_MAX: String(inFlightMax),
  })
  return { postgres, server, DATABASE_URL }
}
