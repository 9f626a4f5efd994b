import type {
  ConnectOptions,
  Database,
  DatabaseConnection,
  Result,
} from '../../../src/journal/database.js'
import type { Thread } from '../scheduler.js'
import { journalRows } from './copied-rows.js'
import { Purpose } from './purpose.js'
import { ReceivedRows } from './received-rows.js'
import type { Server } from './server.js'
import type { Answer, Message } from './session.js'
import { type Outcome, stepsOf } from './statements.js'
import type { JournalRow } from './tables.js'
import { type ClientEnd, Wire } from './wire.js'

/** Connects as src/journal/postgres.ts does, but in the time of a thread. */
export class SimulatedDatabase implements Database {
  readonly #thread: Thread
  readonly #connectTimeoutMs: number
  readonly #open: (thread: Thread, name: string) => SimulatedConnection

  constructor(
    thread: Thread,
    connectTimeoutMs: number,
    open: (thread: Thread, name: string) => SimulatedConnection,
  ) {
    this.#thread = thread
    this.#connectTimeoutMs = connectTimeoutMs
    this.#open = open
  }

  async connect({ name, prepare }: ConnectOptions): Promise<DatabaseConnection> {
    const connection = this.#open(this.#thread, name)
    const silence = this.#thread.after(this.#connectTimeoutMs, () =>
      connection.onLost(new Error('timeout expired')),
    )
    try {
      await connection.ready
      await prepare?.(connection)
    } catch (error) {
      connection.close()
      throw error
    } finally {
      silence.cancel()
    }
    return connection
  }
}

interface Request {
  message: Message
  /** Where the rows of a COPY TO go. */
  received: ReceivedRows | undefined
  done: (outcomes: readonly Outcome[]) => void
  failed: (error: Error) => void
}

/** A connection as its client has it: one request is under way, the others wait for it. */
export class SimulatedConnection implements DatabaseConnection, ClientEnd {
  readonly name: string
  readonly ready: Promise<void>
  readonly wire: Wire
  readonly thread: Thread
  readonly #server: Server
  readonly #purpose: Purpose
  readonly #requests: Request[] = []
  #underWay: Request | undefined
  #isReady = false
  #isClosed = false
  #lost: Error | undefined
  #onReady!: (error: Error | undefined) => void
  #onEnd: () => void = () => undefined
  #noticeListener: (code: string | undefined) => void = () => undefined

  constructor(server: Server, thread: Thread, name: string, random: () => number) {
    this.name = name
    this.thread = thread
    this.#server = server
    this.#purpose = new Purpose(name)
    this.wire = new Wire(server, this, thread, random)
    this.ready = new Promise((resolve, reject) => {
      this.#onReady = (error) => (error === undefined ? resolve() : reject(error))
    })
    this.wire.dial()
  }

  async query<Row>(text: string, values: unknown[] = []): Promise<Result<Row>> {
    const outcomes = await this.#ask(text, values, [])
    const { tag, rows, count } = outcomes[outcomes.length - 1]
    const counts = tag === 'SELECT' || tag === 'INSERT'
    const rowCount = count ?? (counts ? rows.length : null)
    return { rows: rows as Row[], rowCount, command: tag }
  }

  async copyIn(text: string, rows: Buffer): Promise<string[]> {
    // The client may use the bytes again while the server is still at work on them.
    const outcomes = await this.#ask(text, [], journalRows(Buffer.from(rows)))
    return outcomes.map((outcome) => outcome.tag)
  }

  async *copyOut(text: string): AsyncIterable<Buffer[]> {
    const received = new ReceivedRows()
    this.#ask(text, [], [], received).then(
      () => received.end(undefined),
      (error) => received.end(error),
    )
    for await (const row of received) yield row.fields
  }

  onNotice(listener: (code: string | undefined) => void): void {
    this.#noticeListener = listener
  }

  close(): void {
    this.#isClosed = true
    this.wire.close()
    this.thread.after(0, () => this.onLost(new Error('Connection terminated unexpectedly')))
  }

  end(): Promise<void> {
    if (this.#lost !== undefined) return Promise.resolve()
    // One that waits for an answer is not asked to take leave.
    if (this.#underWay !== undefined) {
      this.close()
      return Promise.resolve()
    }
    return new Promise((resolve) => {
      this.#onEnd = resolve
      this.wire.close()
    })
  }

  onReady(): void {
    if (this.#isClosed || this.#lost !== undefined) return
    this.#isReady = true
    this.#onReady(undefined)
    this.#sendNext()
  }

  onWarning(code: string): void {
    if (!this.#isClosed) this.#noticeListener(code)
  }

  onRows(rows: readonly JournalRow[]): void {
    if (!this.#isClosed) this.#underWay?.received?.add(rows)
  }

  onAnswer({ outcomes, error }: Answer): void {
    const request = this.#underWay
    if (this.#isClosed || this.#lost !== undefined || request === undefined) return
    this.#underWay = undefined
    if (error === undefined) request.done(outcomes)
    else request.failed(error)
    this.#sendNext()
  }

  onLost(error: Error): void {
    if (this.#lost !== undefined) return
    this.#lost = error
    this.wire.close()
    this.#onReady(error)
    this.#underWay?.failed(error)
    for (const request of this.#requests.splice(0)) request.failed(error)
    this.#underWay = undefined
    this.#onEnd()
  }

  #ask(
    text: string,
    values: readonly unknown[],
    rows: readonly JournalRow[],
    received?: ReceivedRows,
  ): Promise<readonly Outcome[]> {
    return new Promise((done, failed) => {
      if (this.#lost !== undefined) {
        this.thread.after(0, () => failed(new Error('the connection is not queryable')))
        return
      }
      const steps = this.#stepsOf(text)
      const kinds = this.#purpose.kindsOf(steps)
      const message: Message = {
        steps,
        values,
        kinds,
        rows,
        arrived: rows.length,
        failsAfterItsRows: false,
        failure: undefined,
        hasCommitted: false,
      }
      this.#requests.push({ message, received, done, failed })
      this.#sendNext()
    })
  }

  #stepsOf(text: string): ReturnType<typeof stepsOf> {
    try {
      return stepsOf(text)
    } catch (error) {
      // A caller may take any error for a fault of the server; this one ends the world.
      this.#server.scheduler.after(0, () => {
        throw error
      })
      throw error
    }
  }

  #sendNext(): void {
    if (!this.#isReady || this.#underWay !== undefined) return
    this.#underWay = this.#requests.shift()
    if (this.#underWay !== undefined) this.wire.request(this.#underWay.message)
  }
}
