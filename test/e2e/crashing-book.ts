import type { Test } from 'tap'
import { checkBook } from './journal-check.js'
import { Load } from './load.js'
import { type Fate, PostgresProxy } from './proxy.js'
import { withShards } from './rounds.js'
import { ServerProcess, until } from './server.js'

const shardNumbers = [4, 3, 1, 2]

/** A book under load, whose servers come and go, each with other shards than the one before. */
export class CrashingBook {
  /** Starts that found messages to settle. */
  settled = 0
  readonly #t: Test
  readonly #database: string
  readonly #proxy: PostgresProxy
  /** Mostly writes: what is to be cut off are messages between shards. */
  readonly #load = new Load({ readShare: 0.1 })
  #starts = 0
  #server!: ServerProcess

  static async open(t: Test, database: string): Promise<CrashingBook> {
    const book = new CrashingBook(t, database, await PostgresProxy.start(t, database))
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
    this.#t.comment(`${commits} commits of the start came to ${isStruck ? fate : 'serve'}`)
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
