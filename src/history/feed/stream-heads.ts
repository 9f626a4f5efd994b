import type { Clock } from '../../clock.js'
import type { Database, DatabaseConnection } from '../../journal/database.js'
import type { BookHeads } from './feed-position.js'
import { pause } from './stream-tail.js'

/** Between two looks; half of it is what an event waits on average. */
const lookDelayMs = 25
/** After a look that failed. */
const retryDelayMs = 500

/**
 * How far all streams of the book are, looked up for everybody who listens by one statement. A look
 * sees a generation that opens meanwhile as a whole or not at all, and a stream that it sees closed
 * has its last record.
 */
export class StreamHeads {
  readonly #database: Database
  readonly #clock: Clock
  readonly #onTrouble: (error: Error) => void
  #connection: Promise<DatabaseConnection> | undefined
  #last: Promise<unknown> = Promise.resolve()
  #current: BookHeads | undefined
  /** Called after the next look, whatever came of it. */
  #waiting: (() => void)[] = []

  constructor(database: Database, clock: Clock, onTrouble: (error: Error) => void) {
    this.#database = database
    this.#clock = clock
    this.#onTrouble = onTrouble
  }

  /** As of the last look that succeeded. */
  get current(): BookHeads {
    if (this.#current === undefined) throw new Error('nobody has looked at the streams yet')
    return this.#current
  }

  /** Looks now; rejects if Postgres cannot be asked. */
  look(): Promise<BookHeads> {
    const look = this.#last.then(() => this.#look())
    this.#last = look.catch(() => undefined)
    return look
  }

  /** Resolves after the next look, also one that has failed. */
  next(): Promise<void> {
    return new Promise((resolve) => {
      this.#waiting.push(resolve)
    })
  }

  /** Looks again and again until the signal aborts. */
  async run(signal: AbortSignal): Promise<void> {
    let delayMs = lookDelayMs
    while (!signal.aborted) {
      try {
        await this.look()
        delayMs = lookDelayMs
      } catch (error) {
        // Said once for as long as it lasts.
        if (!signal.aborted && delayMs === lookDelayMs) this.#onTrouble(error as Error)
        delayMs = retryDelayMs
      }
      this.#wake()
      await pause(this.#clock, delayMs, signal)
    }
    this.#wake()
  }

  close(): void {
    void this.#connection?.then((connection) => connection.close()).catch(() => undefined)
    this.#connection = undefined
  }

  async #look(): Promise<BookHeads> {
    const opening = this.#connection ?? this.#database.connect({ name: 'daybook feed' })
    this.#connection = opening
    try {
      const { rows } = await (await opening).query<HeadRow>(
        `select (select id from daybook.book) as book, id, generation, closed, head, digest
         from daybook.stream order by generation, id`,
      )
      this.#current = headsOf(rows)
      return this.#current
    } catch (error) {
      if (this.#connection === opening) this.close()
      throw error
    }
  }

  #wake(): void {
    for (const resolve of this.#waiting.splice(0)) resolve()
  }
}

interface HeadRow {
  book: string
  id: number
  generation: number
  closed: boolean
  head: string
  digest: Buffer
}

function headsOf(rows: readonly HeadRow[]): BookHeads {
  if (rows.length === 0) throw new Error('the table daybook.stream has no row')
  return {
    bookId: rows[0].book,
    streams: rows.map(({ id, generation, closed, head, digest }) => ({
      ...{ stream: id, generation, digest },
      isClosed: closed,
      head: Number(head),
    })),
  }
}
