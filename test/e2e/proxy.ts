import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net'
import type { Teardown } from '../postgres.js'
import { DelayedLane } from './delayed-lane.js'
import { until } from './server.js'

/**
 * What becomes of a commit, and of the connection that it is made on.
 *
 *     pass          nothing happens to it
 *     cut before    Postgres never gets it, and both sides are cut: not committed
 *     cut after     Postgres commits, both sides are cut instead of the answer
 *     cut at once   Postgres gets it, the server is cut off without waiting for the answer
 *     hold answer   Postgres commits, the server waits in vain until it gives up by itself
 *     half-open     Postgres never gets it; nothing passes any more, and nothing is closed either,
 *                   not even when the server gives up: the backend stays in its transaction
 *     late          like half-open, but Postgres gets it after all, just before the next batch
 */
export type Fate =
  | 'pass'
  | 'cut before'
  | 'cut after'
  | 'cut at once'
  | 'hold answer'
  | 'half-open'
  | 'late'

/** A commit that is about to reach Postgres: of a batch of the journal, or of anything else. */
export interface Commit {
  of: 'batch' | 'other'
}

/**
 * Stands between the server and Postgres and understands just enough of the protocol to see the
 * commits. A batch is one query that begins a transaction, copies, fences and commits; what makes
 * Postgres commit is the message CopyDone at the end of the copied data.
 */
export class PostgresProxy {
  /** Decides on each commit. While it is undecided, the commit waits. */
  onCommit: (commit: Commit) => Fate | Promise<Fate> = () => 'pass'
  /** Address for the server, of the same database. */
  readonly connectionString: string
  /** Each message takes up to so long to pass, either way; 0: it passes at once. */
  delayMsMax = 0
  readonly #listener: Server
  readonly #sessions = new Set<Session>()
  #isSilent = false

  static async start(t: Teardown, connectionString: string): Promise<PostgresProxy> {
    const listener = createServer().listen(0, '127.0.0.1')
    await once(listener, 'listening')
    const proxy = new PostgresProxy(listener, new URL(connectionString))
    t.teardown(() => proxy.close())
    return proxy
  }

  private constructor(listener: Server, target: URL) {
    const address = new URL(target)
    address.port = String((listener.address() as AddressInfo).port)
    this.connectionString = address.href
    this.#listener = listener
    listener.on('connection', (server) => {
      const postgres = connect(Number(target.port), target.hostname)
      const session = new Session({ server, postgres }, this)
      this.#sessions.add(session)
      if (this.#isSilent) session.silence()
      session.onClosed = () => this.#sessions.delete(session)
    })
  }

  /**
   * Gives one coming batch, after `passing` others, this fate, and waits until it has had it.
   * `afterwards` then decides on all commits.
   */
  async strike(fate: Fate, passing: number, afterwards?: (commit: Commit) => Fate): Promise<void> {
    let left = passing
    let struck = false
    this.onCommit = (commit) => {
      if (struck) return afterwards?.(commit) ?? 'pass'
      if (commit.of === 'batch') left -= 1
      struck = left < 0
      return struck ? fate : 'pass'
    }
    await until(`a batch was struck with ${fate}`, () => struck)
  }

  /** From here on nothing passes either way, and neither side hears that the other has gone. */
  silence(): void {
    this.#isSilent = true
    for (const session of this.#sessions) session.silence()
  }

  /** New connections pass again; those of before are cut. */
  heal(): void {
    this.#isSilent = false
    for (const session of this.#sessions) session.cut()
  }

  /** Called before a batch reaches Postgres: what was kept for that moment goes first. */
  async deliverLate(): Promise<void> {
    await Promise.all([...this.#sessions].map((session) => session.deliverLate()))
  }

  close(): void {
    for (const session of this.#sessions) session.cut()
    this.#listener.close()
  }
}

type Mode = 'passing' | 'undecided' | 'answer awaited' | 'silent' | 'closed'

/** One connection of the server and the one to Postgres that belongs to it. */
class Session {
  onClosed: () => void = () => undefined
  readonly #server: Socket
  readonly #postgres: Socket
  readonly #toServer: DelayedLane
  readonly #toPostgres: DelayedLane
  readonly #proxy: PostgresProxy
  readonly #fromServer = new MessageReader({ hasStartup: true })
  readonly #fromPostgres = new MessageReader({ hasStartup: false })
  #mode: Mode = 'passing'
  /** What the server has sent since a commit that is not decided yet. */
  readonly #waiting: Message[] = []
  #isCopying = false
  /** Not even that Postgres has closed the connection reaches the server. */
  #isSilenced = false
  /** Of the commit under way. */
  #fate: Fate = 'pass'
  #late: Message | undefined

  constructor(sockets: { server: Socket; postgres: Socket }, proxy: PostgresProxy) {
    this.#server = sockets.server.setNoDelay(true)
    this.#postgres = sockets.postgres.setNoDelay(true)
    this.#proxy = proxy
    const delayMs = () => Math.random() * proxy.delayMsMax
    this.#toServer = new DelayedLane(this.#server, delayMs)
    this.#toPostgres = new DelayedLane(this.#postgres, delayMs)
    for (const socket of [this.#server, this.#postgres]) socket.on('error', () => undefined)
    this.#server.on('data', (bytes) => {
      for (const message of this.#fromServer.read(bytes)) this.#onServerMessage(message)
    })
    this.#postgres.on('data', (bytes) => {
      for (const message of this.#fromPostgres.read(bytes)) this.#onPostgresMessage(message)
    })
    this.#server.on('close', () => {
      // A half-open connection stays open for Postgres, as when a cable is pulled.
      if (this.#mode !== 'silent') this.#toPostgres.end(() => this.cut())
    })
    this.#postgres.on('close', () => {
      if (!this.#isSilenced) this.#toServer.end(() => this.cut())
    })
  }

  silence(): void {
    if (this.#mode === 'closed') return
    this.#mode = 'silent'
    this.#isSilenced = true
  }

  cut(): void {
    if (this.#mode === 'closed') return
    this.#mode = 'closed'
    this.#server.destroy()
    this.#postgres.destroy()
    this.onClosed()
  }

  /** The commit that was kept back reaches Postgres, if the backend is there to answer it. */
  async deliverLate(): Promise<void> {
    if (this.#late === undefined) return
    const { bytes } = this.#late
    this.#late = undefined
    await new Promise<void>((resolve) => {
      this.#postgres.once('data', () => resolve())
      this.#postgres.once('close', () => resolve())
      if (this.#mode === 'closed') resolve()
      else this.#postgres.write(bytes)
    })
  }

  #onServerMessage(message: Message): void {
    if (this.#mode === 'silent' || this.#mode === 'closed') return
    if (this.#mode === 'undecided') {
      this.#waiting.push(message)
      return
    }
    const of = this.#commitOf(message)
    if (of === undefined) {
      this.#toPostgres.write(message.bytes)
      return
    }
    this.#mode = 'undecided'
    void this.#decide(message, of)
  }

  async #decide(message: Message, of: Commit['of']): Promise<void> {
    const fate = await this.#proxy.onCommit({ of })
    if (of === 'batch') await this.#proxy.deliverLate()
    if (this.#mode !== 'undecided') return
    this.#fate = fate
    this.#mode = 'answer awaited'
    if (fate === 'cut before') {
      this.cut()
    } else if (fate === 'half-open' || fate === 'late') {
      this.#mode = 'silent'
      if (fate === 'late') this.#late = message
    } else {
      this.#toPostgres.write(message.bytes)
      if (fate === 'cut at once') this.#toPostgres.end(() => this.#postgres.end(() => this.cut()))
      for (const waiting of this.#waiting.splice(0)) this.#onServerMessage(waiting)
    }
  }

  #onPostgresMessage(message: Message): void {
    if (this.#mode === 'silent' || this.#mode === 'closed') return
    const isEnd = this.#mode === 'answer awaited' && message.type === readyForQuery
    const isKept = this.#mode === 'answer awaited' && this.#fate !== 'pass'
    if (!isKept) this.#toServer.write(message.bytes)
    if (!isEnd) return
    if (this.#fate === 'cut after') {
      this.cut()
    } else if (this.#fate === 'pass') {
      this.#mode = 'passing'
    }
  }

  /** Whether a message makes Postgres commit, and what. */
  #commitOf({ type, bytes }: Message): Commit['of'] | undefined {
    if (type === query) {
      const text = bytes.toString('utf8', 5, bytes.length - 1)
      this.#isCopying = text.startsWith('begin; copy daybook.journal ')
      return text === 'commit' ? 'other' : undefined
    }
    return type === copyDone && this.#isCopying ? 'batch' : undefined
  }
}

const query = 'Q'
const copyDone = 'c'
const readyForQuery = 'Z'

interface Message {
  /** Empty for the first message of a connection, which has none. */
  type: string
  bytes: Buffer
}

/** Cuts a stream of bytes into messages: a type, a length that counts itself, and the rest. */
class MessageReader {
  #rest: Buffer = Buffer.alloc(0)
  #isStartup: boolean

  constructor(options: { hasStartup: boolean }) {
    this.#isStartup = options.hasStartup
  }

  read(bytes: Buffer): Message[] {
    this.#rest = this.#rest.length === 0 ? bytes : Buffer.concat([this.#rest, bytes])
    const messages: Message[] = []
    for (;;) {
      const typeBytes = this.#isStartup ? 0 : 1
      if (this.#rest.length < typeBytes + 4) return messages
      const length = typeBytes + this.#rest.readUInt32BE(typeBytes)
      if (this.#rest.length < length) return messages
      const message = this.#rest.subarray(0, length)
      messages.push({ type: message.toString('latin1', 0, typeBytes), bytes: message })
      this.#rest = this.#rest.subarray(length)
      this.#isStartup = false
    }
  }
}
