import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'
import t, { type Test } from 'tap'
import { temporaryPostgres } from '../postgres.js'
import { HttpClient, statusOf } from './client-log.js'
import { checkBook } from './journal-check.js'
import { Load } from './load.js'
import { single } from './requests.js'
import { roundsOr, withShards } from './rounds.js'
import { freePort, ServerProcess, until } from './server.js'

const rounds = roundsOr(1)
const exitTakenOver = 3
const pollMs = 5

/** Of the two that start; never as many as the book has at that moment. */
const pairs = [
  [4, 2],
  [1, 5],
]

t.setTimeout(120_000 + rounds * 40_000)

const postgres = await temporaryPostgres(t)

t.test('of two that change the number of shards at once one serves, the other says nothing', (t) =>
  race(t, { areTogether: true }),
)

t.test('two that start with different numbers of shards, as it happens, lose nothing', (t) =>
  race(t, { areTogether: false }),
)

async function race(t: Test, options: { areTogether: boolean }): Promise<void> {
  const DATABASE_URL = await postgres.createDatabase()
  const load = new Load({ connections: 2 })
  const first = await ServerProcess.start(t, { DATABASE_URL, ...withShards(3) })
  await load.open(first.url)
  load.start(first.url)
  for (let round = 0; round < rounds; round++) {
    await load.acknowledged(30)
    load.log.reads.mayBeOld = true
    const gate = options.areTogether ? await BookGate.close(t, DATABASE_URL) : undefined
    const two = pairs[(round + (options.areTogether ? 0 : 1)) % pairs.length].map((shards) =>
      Racer.start(t, DATABASE_URL, shards, load),
    )
    const racers = await Promise.all(two)
    if (gate !== undefined) {
      await until('both have warmed up', () =>
        racers.every(({ server }) => server.hasEntered('taking_over')),
      )
      await gate.open()
    }
    await until('one of them is left', () => racers.filter(({ hasEnded }) => hasEnded).length === 1)
    const [winner] = racers.filter(({ hasEnded }) => !hasEnded)
    const [loser] = racers.filter(({ hasEnded }) => hasEnded)
    await until('it serves', () => winner.server.serves)
    await until('and answers', () => winner.successes > 0)
    await Promise.all(racers.map((racer) => racer.stop()))
    await load.lost()
    const code = loser.server.ending?.code
    t.ok(code === exitTakenOver || code === 1, `the other has ended: ${code}`)
    if (options.areTogether) {
      t.notOk(loser.server.serves, 'without having served')
      t.equal(loser.successes, 0, 'without an answer')
    }
    load.start(winner.server.url)
    await load.acknowledged(30)
    await load.stop()
    await checkBook(t, { url: winner.server.url, connectionString: DATABASE_URL, load })
    load.start(winner.server.url)
  }
  await load.stop()
}

/** A server that is asked all the time, from before it serves until it has ended. */
class Racer {
  readonly server: ServerProcess
  /** Answers that were neither an error of the server nor a lost connection. */
  successes = 0
  readonly #load: Load
  readonly #url: string
  #stopping = false
  readonly #work: Promise<void>

  static async start(t: Test, url: string, shards: number, load: Load): Promise<Racer> {
    const port = await freePort()
    const environment = { DATABASE_URL: url, DAYBOOK_PORT: String(port), ...withShards(shards) }
    return new Racer(ServerProcess.spawn(t, environment), port, load)
  }

  private constructor(server: ServerProcess, port: number, load: Load) {
    this.server = server
    this.#load = load
    this.#url = `http://127.0.0.1:${port}`
    this.#work = this.#ask()
  }

  get hasEnded(): boolean {
    return this.server.ending !== undefined
  }

  async stop(): Promise<void> {
    this.#stopping = true
    await this.#work
  }

  /** Reads and writes; what it acknowledges must be there in the end. */
  async #ask(): Promise<void> {
    const client = new HttpClient(this.#url, 2)
    const [cash] = this.#load.accounts
    const [customer] = this.#load.customers
    while (!this.#stopping && !this.hasEnded) {
      const read = await client.get(`/v1/accounts/${customer.id}`)
      if (statusOf(read) !== 0) {
        const movement = { debit: cash.id, credit: customer.id, amount: 1n }
        const request = this.#load.log.add(single([movement]))
        const answer = await client.post(request.path, request.body)
        this.#load.log.record(request, answer)
        this.#count(statusOf(answer))
      }
      this.#count(statusOf(read))
      await sleep(pollMs)
    }
    client.close()
  }

  #count(status: number): void {
    if (status > 0 && status < 500) this.successes += 1
  }
}

/** Keeps whoever starts from taking over, so that several come to that point together. */
class BookGate {
  readonly #client: pg.Client

  static async close(t: Test, connectionString: string): Promise<BookGate> {
    const client = new pg.Client({ connectionString })
    await client.connect()
    t.teardown(() => client.end())
    await client.query('begin; select from daybook.book for update')
    return new BookGate(client)
  }

  private constructor(client: pg.Client) {
    this.#client = client
  }

  async open(): Promise<void> {
    await this.#client.query('rollback')
  }
}
