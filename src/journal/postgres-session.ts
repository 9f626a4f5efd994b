import type { Database, DatabaseConnection, Queries } from './database.js'
import type { StoredChunk } from './replay.js'
import {
  JournalFault,
  type JournalSession,
  type JournalStore,
  type SealedBatch,
  type StreamState,
} from './session.js'

/** SQLSTATE that the fence raises (migrations/001-journal.sql), and that of a duplicate key. */
const fencedState = 'DB001'
const duplicateKeyState = '23505'

/** Milliseconds that Postgres waits for an old backend to end, and for a row's lock. */
const terminateWaitMs = 5000
const lockTimeoutMs = 2000
/** A client that falls silent inside a transaction, frozen or cut off, holds its locks no longer. */
export const silenceTimeoutMs = 5000

/** The journal in `database`. */
export function postgresStore(database: Database): JournalStore {
  return {
    async open() {
      const name = 'daybook journal'
      return new PostgresSession(await database.connect({ name, prepare: prepareSession }))
    },
  }
}

class PostgresSession implements JournalSession {
  readonly #connection: DatabaseConnection
  /** A wait for a synchronous standby was cancelled: the commit is not known to be durable. */
  #standbyWaitCancelled = false

  constructor(connection: DatabaseConnection) {
    this.#connection = connection
    connection.onNotice((code) => {
      if (code === '01000') this.#standbyWaitCancelled = true
    })
  }

  async commit(batch: SealedBatch): Promise<void> {
    this.#standbyWaitCancelled = false
    const tags = await this.#copyAndFence(batch)
    // A COMMIT of a failed transaction answers ROLLBACK, without an error.
    if (tags.join(' ') !== 'BEGIN COPY CALL COMMIT') {
      throw new Error(`the journal's commit answered ${tags.join(' ')}`)
    }
    this.#assertStandbyHasIt()
  }

  #assertStandbyHasIt(): void {
    if (this.#standbyWaitCancelled) {
      throw new Error('the wait for a synchronous standby was cancelled')
    }
  }

  async #copyAndFence(batch: SealedBatch): Promise<string[]> {
    try {
      return await this.#connection.copyIn(fenceText(batch), batch.copy)
    } catch (error) {
      throw isFenced(error as Error) ? fenced(error as Error) : error
    }
  }

  async settle(stream: number, owner: string): Promise<StreamState> {
    await endOldBackends(this.#connection, { streams: [stream], owner })
    this.#standbyWaitCancelled = false
    const state = await inTransaction(this.#connection, async () => {
      const { rows } = await this.#connection.query<StreamRow>(
        'select owner, closed, epoch, head, digest from daybook.stream where id = $1 for update',
        [stream],
      )
      const row = rows[0]
      if (row === undefined || row.closed || row.owner !== owner) {
        throw new JournalFault('fenced', `stream ${stream} belongs to another process`)
      }
      await this.#connection.query(
        `update daybook.stream set epoch = epoch + 1, backend_pid = pg_backend_pid(),
           backend_start = (select backend_start from pg_stat_activity where pid = pg_backend_pid())
         where id = $1`,
        [stream],
      )
      return { epoch: row.epoch + 1, head: Number(row.head), digest: row.digest }
    })
    this.#assertStandbyHasIt()
    return state
  }

  async confirm(stream: number, epoch: number): Promise<void> {
    const { rows } = await this.#connection.query<{ epoch: number }>(
      'select epoch from daybook.stream where id = $1 and not closed',
      [stream],
    )
    if (rows[0]?.epoch !== epoch) {
      throw new JournalFault('fenced', `stream ${stream} has been taken over`)
    }
  }

  async ensurePartition(seq: number): Promise<number> {
    const { rows } = await this.#connection.query<{ last: string }>(
      'select daybook.ensure_partition($1) as last',
      [seq],
    )
    return Number(rows[0].last)
  }

  async *readChunks(stream: number, afterSeq: number, toSeq: number): AsyncIterable<StoredChunk> {
    const rows = this.#connection.copyOut(
      `copy (select first_seq, part, n, epoch, prev, payload from daybook.journal
         where stream = ${integer(stream)} and first_seq > ${integer(afterSeq)}
           and first_seq <= ${integer(toSeq)}
         order by first_seq, part) to stdout (format binary)`,
    )
    for await (const fields of rows) {
      yield {
        stream,
        firstSeq: Number(fields[0].readBigInt64BE()),
        part: fields[1].readInt16BE(),
        n: fields[2].readInt32BE(),
        epoch: fields[3].readInt32BE(),
        prev: fields[4],
        payload: fields[5],
      }
    }
  }

  async readHead(stream: number): Promise<StreamState> {
    const { rows } = await this.#connection.query<StreamRow>(
      'select owner, closed, epoch, head, digest from daybook.stream where id = $1',
      [stream],
    )
    if (rows[0] === undefined) throw new Error(`there is no stream ${stream}`)
    return { epoch: rows[0].epoch, head: Number(rows[0].head), digest: rows[0].digest }
  }

  close(): void {
    this.#connection.close()
  }
}

function isFenced(error: Error & { code?: string }): boolean {
  return error.code === fencedState || error.code === duplicateKeyState
}

function fenced(cause: Error): JournalFault {
  return new JournalFault('fenced', 'another process writes this stream', cause)
}

/** The transaction around the rows of a batch, as one simple query. */
export function fenceText(batch: SealedBatch): string {
  const fence = [
    batch.stream,
    batch.epoch,
    batch.head,
    bytea(batch.digest),
    batch.newHead,
    bytea(batch.newDigest),
  ].join(', ')
  return (
    'begin; copy daybook.journal (stream, first_seq, part, n, epoch, prev, payload) ' +
    `from stdin (format binary); call daybook.fence(${fence}); commit`
  )
}

interface StreamRow {
  owner: string | null
  closed: boolean
  epoch: number
  head: string
  digest: Buffer
}

/** Runs `work` in a transaction with the lock timeout; rejects unless it has really committed. */
export async function inTransaction<T>(connection: Queries, work: () => Promise<T>): Promise<T> {
  await connection.query(
    `begin; set local lock_timeout = ${lockTimeoutMs};
     set local idle_in_transaction_session_timeout = ${silenceTimeoutMs}`,
  )
  try {
    const result = await work()
    const { command } = await connection.query('commit')
    if (command !== 'COMMIT') throw new Error(`a commit answered ${command}`)
    return result
  } catch (error) {
    await connection.query('rollback').catch(() => undefined)
    throw error
  }
}

/**
 * Ends the backends that the streams name, those of `owner` only if it is given, and waits until
 * they are gone. Rejects with `still_held` if one does not go.
 */
export async function endOldBackends(
  connection: Queries,
  of: { streams: number[]; owner?: string },
): Promise<void> {
  const { rows } = await connection.query<{ gone: boolean }>(
    `select pg_terminate_backend(activity.pid, ${terminateWaitMs}) as gone
     from daybook.stream join pg_stat_activity activity
       on activity.pid = stream.backend_pid and activity.backend_start = stream.backend_start
     where stream.id = any($1) and activity.pid <> pg_backend_pid()
       and ($2::text is null or stream.owner = $2)`,
    [of.streams, of.owner ?? null],
  )
  if (rows.some((row) => !row.gone)) throw new StillHeldError()
}

/** A backend of the writer before us does not end, for now. */
export class StillHeldError extends Error {
  readonly code = 'still_held'

  constructor() {
    super('a backend of the writer before this one does not end')
  }
}

/** Refuses a server that would lose commits, and sets what this session needs. */
async function prepareSession(connection: Queries): Promise<void> {
  const { rows } = await connection.query<{ fsync: string; version: string }>(
    "select current_setting('fsync') as fsync, current_setting('server_version_num') as version",
  )
  if (rows[0].fsync !== 'on') {
    throw new JournalFault('unsafe_settings', 'Postgres runs with fsync off; Daybook does not')
  }
  if (Number(rows[0].version) < 150000) {
    throw new JournalFault('unsafe_settings', 'Daybook needs Postgres 15 or later')
  }
  // Rows are read in the order of their index. A planner that has no statistics yet, as of a
  // journal that was written a moment ago, would sort them, on disk.
  await connection.query(
    `select set_config('synchronous_commit', 'on', false), set_config('enable_sort', 'off', false),
       set_config('enable_bitmapscan', 'off', false)`,
  )
}

function bytea(bytes: Buffer): string {
  return `'\\x${bytes.toString('hex')}'`
}

function integer(value: number): string {
  if (!Number.isSafeInteger(value)) throw new RangeError(`not an integer: ${value}`)
  return String(value)
}
