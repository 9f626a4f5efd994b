import t, { type Test } from 'tap'
import type { NodePhase } from '../../src/node.js'
import { temporaryPostgres } from '../postgres.js'
import { checkBook } from './journal-check.js'
import { Load } from './load.js'
import { type Fate, PostgresProxy } from './proxy.js'
import { roundsOr, withShards } from './rounds.js'
import { ServerProcess, until } from './server.js'

const rounds = roundsOr(6)
/** More than a start has when the number of shards changes, so that some starts come through. */
const commitsMax = 20
/** Each start has another number than the one before it. */
const shardNumbers = [4, 3, 1, 2, 7]

const phases: readonly NodePhase[] = [
  'warming_up',
  'taking_over',
  'reading_rest',
  'settling',
  'opening_generation',
]

/** Postgres gets the commit, or does not, or does not even hear that the server is gone. */
const fates: readonly Fate[] = ['hold answer', 'cut before', 'half-open']

t.setTimeout(120_000 + (rounds + phases.length) * 30_000)

const postgres = await temporaryPostgres(t)

t.test('a start with other shards that is killed in any phase has lost nothing', async (t) => {
  const book = await Book.open(t)
  for (const phase of phases) {
    await book.crash()
    const killed = book.spawn()
    await until(`it is ${phase}`, () => killed.hasEntered(phase))
    await killed.end('SIGKILL')
    await book.check()
  }
  t.ok(book.settled > 0, 'messages between shards were cut off')
})

t.test('so has one that is killed at one of its commits, before or after it', async (t) => {
  const book = await Book.open(t)
  let strikes = 0
  for (let round = 0; round < rounds; round++) {
    await book.crash()
    const fate = fates[Math.floor(Math.random() * fates.length)]
    strikes += await book.killAtCommit(Math.floor(Math.random() * commitsMax), fate)
    await book.check()
  }
  t.comment(`${strikes} of ${rounds} were struck`)
  t.ok(book.settled > 0, 'messages between shards were cut off')
})

/** A book under load, whose servers come and go. */
class Book {
  /** Starts that found messages to settle. */
  settled = 0
  readonly #t: Test
  readonly #database: string
  readonly #proxy: PostgresProxy
  readonly #load = new Load()
  #starts = 0
  #server!: ServerProcess

  static async open(t: Test): Promise<Book> {
    const database = await postgres.createDatabase()
    const book = new Book(t, database, await PostgresProxy.start(t, database))
    await book.#start()
    await book.#load.open(book.#server.url)
    return book
  }

  private constructor(t: Test, database: string, proxy: PostgresProxy) {
    this.#t = t
    this.#database = database
    this.#proxy = proxy
  }

  /** Kills the server while some streams are written and others are not. */
  async crash(): Promise<void> {
    this.#load.start(this.#server.url)
    await this.#load.acknowledged(60)
    this.#proxy.onCommit = ({ of }) =>
      of === 'batch' && Math.random() < 0.4 ? new Promise<Fate>(() => undefined) : 'pass'
    await this.#load.stuck()
    await this.#server.end('SIGKILL')
    await this.#load.lost()
    this.#proxy.onCommit = () => 'pass'
  }

  /** Begins a start with the next number of shards. */
  spawn(): ServerProcess {
    return ServerProcess.spawn(this.#t, this.#nextSettings())
  }

  /** Begins a start and kills it at its commit of that number; 0 if it served before. */
  async killAtCommit(number: number, fate: Fate): Promise<0 | 1> {
    let commits = 0
    let isStruck = false
    this.#proxy.onCommit = () => {
      commits += 1
      if (commits <= number) return 'pass'
      isStruck = true
      return fate
    }
    const killed = this.spawn()
    await until('it is struck, or serves', () => isStruck || killed.serves)
    await killed.end('SIGKILL')
    this.#noteSettled(killed)
    this.#proxy.onCommit = () => 'pass'
    return isStruck ? 1 : 0
  }

  /** Starts with yet another number of shards, and checks everything. */
  async check(): Promise<void> {
    await this.#start()
    const url = this.#server.url
    await checkBook(this.#t, { url, connectionString: this.#database, load: this.#load })
  }

  async #start(): Promise<void> {
    this.#server = await ServerProcess.start(this.#t, this.#nextSettings())
    this.#noteSettled(this.#server)
  }

  #noteSettled(server: ServerProcess): void {
    if (server.log.includes('had been cut off and are settled')) this.settled += 1
  }

  #nextSettings(): Record<string, string> {
    const shards = shardNumbers[this.#starts % shardNumbers.length]
    this.#starts += 1
    return { DATABASE_URL: this.#proxy.connectionString, ...withShards(shards) }
  }
}
