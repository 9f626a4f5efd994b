import type { Database, DatabaseConnection } from '../../../src/journal/database.js'
import { openGeneration } from '../../../src/journal/generation.js'
import { fenceText, postgresStore } from '../../../src/journal/postgres-session.js'
import {
  JournalFault,
  type JournalSession,
  type SealedBatch,
  type StreamState,
} from '../../../src/journal/session.js'
import { type BookLayout, readLayout, takeOver } from '../../../src/journal/take-over.js'

/** A server with a new book, on which a script is played: a simulated one or a real one. */
export interface Server {
  database: Database
  /** Resolves as soon as so many backends wait for a lock. */
  untilBlocked(count: number): Promise<void>
  /** Resolves as soon as there are so many backends of this name. */
  untilBackends(name: string, count: number): Promise<void>
}

/** Something that several connections do, one after the other or at the same time. */
export interface Script {
  name: string
  play(stage: Stage): Promise<void>
}

/** A script's hands and its mouth: what it has said must be the same on every server. */
export class Stage {
  readonly server: Server
  readonly said: string[] = []
  readonly #connections: { close(): void }[] = []
  #looker: { session: JournalSession; connection: DatabaseConnection } | undefined

  constructor(server: Server) {
    this.server = server
  }

  say(text: string): void {
    this.said.push(text)
  }

  /** Lets something go on whose end, good or bad, is told later. */
  later<T>(work: Promise<T>): Promise<T> {
    work.catch(() => undefined)
    return work
  }

  /** Waits for the end of something, and says what has come of it. */
  async tell(what: string, work: Promise<unknown>): Promise<string> {
    const outcome = await outcomeOf(work)
    this.say(`${what}: ${outcome}`)
    return outcome
  }

  async connect(name = 'script'): Promise<DatabaseConnection> {
    const connection = await this.server.database.connect({ name })
    this.#connections.push(connection)
    return connection
  }

  /** A connection in a transaction that waits for nobody for ever, and that nobody ends. */
  async begin(lockTimeoutMs = 60_000): Promise<DatabaseConnection> {
    const connection = await this.connect('transaction')
    await connection.query(
      `begin; set local lock_timeout = ${lockTimeoutMs};
       set local idle_in_transaction_session_timeout = 60000`,
    )
    return connection
  }

  /** A session of the journal, and the connection behind it. */
  async session(
    name = 'daybook journal',
  ): Promise<{ session: JournalSession; connection: DatabaseConnection }> {
    let connection: DatabaseConnection | undefined
    const store = postgresStore({
      connect: async (options) => {
        connection = await this.server.database.connect({ ...options, name })
        return connection
      },
    })
    const session = await store.open()
    this.#connections.push(session)
    return { session, connection: connection as DatabaseConnection }
  }

  /** A session that may write the stream. */
  async writer(
    stream: number,
    owner: string,
  ): Promise<{ session: JournalSession; connection: DatabaseConnection; state: StreamState }> {
    const opened = await this.session()
    return { ...opened, state: await opened.session.settle(stream, owner) }
  }

  async takeOver(owner: string, log: () => void = () => undefined): Promise<BookLayout> {
    const connection = await this.connect('daybook start')
    const book = await takeOver(connection, owner, await readLayout(connection), log)
    await connection.end()
    return book
  }

  async openGeneration(owner: string, current: BookLayout, shards: number): Promise<BookLayout> {
    const connection = await this.connect('daybook start')
    try {
      return await openGeneration(connection, owner, current, shards, () => undefined)
    } finally {
      await connection.end()
    }
  }

  /** Says what everybody sees of these streams and of their journal. */
  async look(...streams: number[]): Promise<void> {
    this.#looker ??= await this.session('looker')
    const { session, connection } = this.#looker
    for (const stream of streams) {
      const { rows } = await connection.query(headText, [stream])
      const parts: string[] = []
      for await (const { firstSeq, part, n, epoch, payload } of session.readChunks(stream, 0, 1e9))
        parts.push(`${firstSeq}/${part}*${n}@${epoch}:${payload.length}`)
      this.say(`stream ${stream}: ${show(rows)} ${parts.join(' ')}`)
    }
  }

  close(): void {
    for (const connection of this.#connections) connection.close()
  }
}

export const headText =
  'select owner, closed, epoch, head, digest from daybook.stream where id = $1'
export const lockText = `${headText} for update`

/** The transaction of a batch, without its end. */
export function openBatch(connection: DatabaseConnection, batch: SealedBatch): Promise<string[]> {
  return connection.copyIn(fenceText(batch).replace('; commit', ''), batch.copy)
}

/** Only the rows of a batch, in a transaction that stays open. */
export function openRows(connection: DatabaseConnection, batch: SealedBatch): Promise<string[]> {
  return connection.copyIn(fenceText(batch).replace(/; call.*/, ''), batch.copy)
}

async function outcomeOf(work: Promise<unknown>): Promise<string> {
  try {
    return show(await work)
  } catch (error) {
    return nameOf(error as Error & { code?: string })
  }
}

function nameOf(error: Error & { code?: string }): string {
  if (error instanceof JournalFault) {
    const cause = error.cause as { code?: string } | undefined
    return `${error.code} (${cause?.code ?? 'by itself'})`
  }
  // How a lost connection shows depends on who reads what first.
  const isLost = ['57P01', '25P03', 'ECONNRESET', 'EPIPE'].includes(error.code ?? '')
  if (isLost || /terminated|not queryable|closed|has ended/.test(error.message)) {
    return 'connection lost'
  }
  return error.code ?? error.message
}

function show(value: unknown): string {
  if (value === undefined) return 'done'
  return JSON.stringify(value, (_key, item) => {
    if (item?.type === 'Buffer') return Buffer.from(item.data).toString('hex').slice(0, 16)
    // An answer of the server, which the real client gives together with much of its own.
    if (item?.rowCount !== undefined) return [item.command, item.rowCount, item.rows]
    if (item?.streamOfSlot === undefined) return item
    const { generation, streams } = item.layout
    return { generation, streams, slots: [...item.streamOfSlot.slice(0, 7)], closed: item.closed }
  })
}
