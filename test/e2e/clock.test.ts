import t, { type Test } from 'tap'
import { v7 } from 'uuid'
import { temporaryPostgres } from '../postgres.js'
import { type Entry, HttpClient, type Request, statusOf } from './client-log.js'
import { FaultRounds } from './fault-rounds.js'
import { Load } from './load.js'
import { hold, single } from './requests.js'
import { roundsOr } from './rounds.js'
import { ServerProcess, until } from './server.js'
import { ServerClock } from './server-clock.js'

const secondMs = 1000
const minuteMs = 60 * secondMs
const hourMs = 60 * minuteMs
const dayMs = 24 * hourMs
const jumpsPerRound = 7

t.setTimeout(120_000 + roundsOr(5) * 60_000)

const postgres = await temporaryPostgres(t)

/** Nothing is given up, unless somebody measures time with the wall clock. */
const patient = {
  DAYBOOK_LEASE_MS: '30000',
  DAYBOOK_COMMIT_TIMEOUT_MS: '30000',
  DAYBOOK_ADMISSION_TIMEOUT_MS: '30000',
  DAYBOOK_REQUEST_TIMEOUT_MS: '60000',
}

for (const rounds of FaultRounds.of('clock jumped')) {
  t.test(`a server of ${rounds.shards} whose clock jumps, either way, keeps its order`, (t) =>
    jumpsClock(t, rounds),
  )
}

async function jumpsClock(t: Test, rounds: FaultRounds): Promise<void> {
  const DATABASE_URL = await postgres.createDatabase()
  const clock = await ServerClock.start(t)
  const settings = { DATABASE_URL, ...rounds.settings, ...patient, ...clock.settings }
  const load = new Load()
  let server = await ServerProcess.start(t, settings)
  await load.open(server.url)
  while (rounds.hasMore) {
    load.start(server.url)
    await load.acknowledged(20)
    // Each round begins later than all before: the time of records never runs back.
    const start = (rounds.done + 1) * 10 * dayMs
    const jumpTo = async (offsetMs: number) => {
      await clock.jumpTo(offsetMs)
      await load.acknowledged(10)
    }
    await jumpTo(start)
    const client = new Client(server.url, load)
    const holds = await client.placeHolds(clock)
    await jumpTo(start + 30 * minuteMs)
    t.equal(await client.statusesOf(holds), 'pending pending', 'nothing has expired yet')
    await jumpTo(start + 2 * hourMs)
    await until('the one that was due has expired', async () => {
      return (await client.statusesOf(holds)) === 'expired pending'
    })

    const early = client.transfer({ id: v7({ msecs: clock.now + 15 * minuteMs }) })
    t.equal(await client.send(early), 422, 'an id from the future is refused')
    await jumpTo(start + 2 * hourMs + 10 * minuteMs)
    // The load sends earlier requests again: it may have been faster.
    const taken = await client.send(early)
    t.ok(taken === 201 || taken === 200, `and taken when its time has come: ${taken}`)
    await jumpTo(start - 2 * dayMs)
    t.equal(await client.send(early), 200, 'and known when the clock runs back')
    await jumpTo(start + 2 * hourMs - 5 * secondMs)
    t.equal(await client.statusesOf(holds), 'expired pending', 'what has expired stays so')
    client.close()

    await server.end('SIGKILL')
    await load.lost()
    await clock.jumpTo(start - 5 * hourMs)
    server = await ServerProcess.start(t, settings)
    const parts = { url: server.url, connectionString: DATABASE_URL, load }
    await rounds.check(t, parts, jumpsPerRound)
    const later = new Client(server.url, load)
    t.equal(await later.statusesOf(holds), 'expired pending', 'nor does a restart change it')
    later.close()
  }
  const { http503, http504 } = load.log.counts
  t.same({ http503, http504 }, { http503: 0, http504: 0 }, 'no jump was taken for a delay')
}

/** Sends single requests, which the load's log has too. */
class Client {
  readonly #http: HttpClient
  readonly #load: Load

  constructor(url: string, load: Load) {
    this.#http = new HttpClient(url, 2)
    this.#load = load
  }

  transfer(attributes: { id: string }): Request {
    const [cash] = this.#load.accounts
    const [customer] = this.#load.customers
    const movement = { debit: cash.id, credit: customer.id, amount: 1n }
    return this.#load.log.add(single([movement], attributes))
  }

  /** One that expires in an hour, and one that does so long after the test. */
  async placeHolds(clock: ServerClock): Promise<Entry[]> {
    const [cash, capital] = this.#load.accounts
    const movement = { debit: cash.id, credit: capital.id, amount: 1n }
    const requests = [hourMs, 3000 * dayMs].map((afterMs) => {
      const expiresAt = new Date(clock.now + afterMs).toISOString()
      return this.#load.log.add(hold(movement, { expiresAt }))
    })
    for (const request of requests) {
      if ((await this.send(request)) !== 201) throw new Error('no hold was placed')
    }
    return requests.flatMap(({ entries }) => entries)
  }

  async send(request: Request): Promise<number> {
    const answer = await this.#http.post(request.path, request.body)
    this.#load.log.record(request, answer)
    return statusOf(answer)
  }

  async statusesOf(entries: readonly Entry[]): Promise<string> {
    const answers = entries.map(({ key }) => this.#http.get(`/v1/transactions/${key}`))
    const shown = await Promise.all(answers)
    return shown.map((answer) => (answer.kind === 'lost' ? '' : answer.body.data?.status)).join(' ')
  }

  close(): void {
    this.#http.close()
  }
}
