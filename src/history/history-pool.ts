import pg from 'pg'
import type { Clock } from '../clock.js'

/** Connections for reading, and how many reads may wait for one of them. */
const connectionsMax = 4
const waitingReadsMax = 1024
/** A read that waits for a position looks this often. */
const pollMs = 20

/** The read models cannot answer: why, in a word that the API has an answer for. */
export class HistoryFault extends Error {
  readonly code: 'history_unavailable' | 'history_behind' | 'too_many_reads'

  constructor(code: HistoryFault['code'], message: string, cause?: unknown) {
    super(message, { cause })
    this.code = code
  }
}

/** By stream, a seq. */
export type Positions = ReadonlyMap<number, number>

export interface HistoryPoolOptions {
  timeoutMs: number
  clock: Clock
  onError(error: Error): void
  /** A read waits for what is recorded and not in the read models yet. */
  onWaiting?(): void
}

/** Sessions that read the read models. */
export class HistoryPool {
  readonly #pool: pg.Pool
  readonly #options: HistoryPoolOptions

  constructor(connectionString: string, options: HistoryPoolOptions) {
    this.#options = options
    this.#pool = new pg.Pool({
      connectionString,
      max: connectionsMax,
      connectionTimeoutMillis: options.timeoutMs,
      query_timeout: options.timeoutMs,
      application_name: 'daybook history reader',
      allowExitOnIdle: true,
    })
    this.#pool.on('error', options.onError)
    // Parsed once, but planned for each account: busy ones are read in another way than others.
    this.#pool.on('connect', (client) => {
      client.query('set plan_cache_mode = force_custom_plan').catch(options.onError)
    })
  }

  /**
   * Runs `read` on one state of the read models, which holds everything up to `position` and what
   * other streams had to do because of it; given for each stream, just that. Rejects with {@link HistoryFault} if they are not there,
   * or do not come that far in time.
   */
  async read<T>(
    position: { stream: number; seq: number } | Positions | undefined,
    read: (queries: HistoryQueries) => Promise<T>,
  ): Promise<T> {
    const deadline = this.#options.clock.monotonic() + this.#options.timeoutMs
    let positions = position instanceof Map ? (position as Positions) : undefined
    for (;;) {
      // Between two looks it has no connection: others may read what is there.
      const outcome = await this.#withClient(async (client) => {
        positions ??= await positionsOf(client, position as Exclude<typeof position, Positions>)
        return await readOnce(client, positions, read)
      })
      if (outcome !== behind) return outcome.result
      if (this.#options.clock.monotonic() >= deadline) {
        throw new HistoryFault('history_behind', 'the read models have not come that far yet')
      }
      this.#options.onWaiting?.()
      await new Promise((resolve) => setTimeout(resolve, pollMs))
    }
  }

  async #withClient<T>(work: (client: pg.ClientBase) => Promise<T>): Promise<T> {
    if (this.#pool.waitingCount >= waitingReadsMax) {
      throw new HistoryFault('too_many_reads', 'too many reads wait for the read models')
    }
    const client = await this.#pool.connect().catch((error: Error) => {
      throw new HistoryFault('history_unavailable', 'the read models cannot be reached', error)
    })
    try {
      const result = await work(client)
      // What was read is known: nobody waits for the end of a transaction that has only read.
      client.query('commit').then(
        () => client.release(),
        () => client.release(true),
      )
      return result
    } catch (error) {
      // A session in which something has failed may be in a transaction still.
      client.release(true)
      throw asFault(error as Error)
    }
  }

  async close(): Promise<void> {
    await this.#pool.end()
  }
}

export interface HistoryQueries {
  client: pg.ClientBase
  /** How far each stream has been followed, in order. */
  followed: Positions
  /** When the last record that has been followed was recorded, in milliseconds since 1970. */
  newestMs: number
}

/** The read models are not as far as a read wants them. */
const behind = Symbol('behind')

async function readOnce<T>(
  client: pg.ClientBase,
  positions: Positions,
  read: (queries: HistoryQueries) => Promise<T>,
): Promise<{ result: T } | typeof behind> {
  const { followed, newestMs } = await beginReading(client)
  if (!reaches(followed, positions)) return behind
  return { result: await read({ client, followed, newestMs }) }
}

const anywhere: Positions = new Map()

/**
 * A position of one stream as a position of all that are open. Whoever knows of a position was
 * answered when every stream had done its part, so that their heads of now are far enough.
 */
async function positionsOf(
  client: pg.ClientBase,
  position: { stream: number; seq: number } | undefined,
): Promise<Positions> {
  if (position === undefined) return anywhere
  const { stream, seq } = position
  const { rows } = await client.query<{ id: number; head: string }>({
    name: 'history-heads',
    text: 'select id, head from daybook.stream where not closed',
  })
  if (rows.length <= 1) return new Map([[stream, seq]])
  const heads = new Map(rows.map(({ id, head }) => [id, Number(head)]))
  return heads.set(stream, Math.max(seq, heads.get(stream) ?? 0))
}

/** Begins a transaction, whose state is that of its first statement; in one round trip. */
const beginText = `
  begin isolation level repeatable read read only;
  select stream, seq, recorded_at, (select indexed from daybook_history.about) as indexed
  from daybook_history.progress order by stream`

interface ProgressRow {
  stream: number
  seq: string
  recorded_at: Date
  indexed: boolean
}

async function beginReading(
  client: pg.ClientBase,
): Promise<Pick<HistoryQueries, 'followed' | 'newestMs'>> {
  // Each of the two statements has a result.
  const results = await client.query<ProgressRow>(beginText)
  const [, { rows }] = results as unknown as pg.QueryResult<ProgressRow>[]
  if (rows.length === 0 || !rows[0].indexed) {
    throw new HistoryFault('history_unavailable', 'the read models are being built')
  }
  return {
    followed: new Map(rows.map(({ stream, seq }) => [stream, Number(seq)])),
    newestMs: Math.max(...rows.map((row) => row.recorded_at.getTime())),
  }
}

function reaches(followed: Positions, positions: Positions): boolean {
  return [...positions].every(([stream, seq]) => (followed.get(stream) ?? 0) >= seq)
}

/** Tables that are not there, or that go away: somebody rebuilds the read models. */
const missingStates = ['3F000', '42P01', '42703']

function asFault(error: Error & { code?: string }): Error {
  if (error.code === undefined || !missingStates.includes(error.code)) return error
  return new HistoryFault('history_unavailable', 'the read models are being built', error)
}
