import pg from 'pg'
import { to as copyTo } from 'pg-copy-streams'
import { CopyCommit } from './copy-commit.js'
import { readCopyRows } from './copy-rows.js'
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

/** Opens sessions with the Postgres at `connectionString`. */
export function postgresStore(connectionString: string, connectTimeoutMs: number): JournalStore {
  return {
    async open() {
      const client = new pg.Client({
        connectionString,
        connectionTimeoutMillis: connectTimeoutMs,
        keepAlive: true,
        application_name: 'daybook journal',
      })
      // A connection that breaks while idle shows at its next use.
      client.on('error', () => undefined)
      // A link that falls silent after the log-in is no session either.
      const silence = setTimeout(() => client.connection.stream.destroy(), connectTimeoutMs)
      try {
        await client.connect()
        await assertDurable(client)
      } catch (error) {
        client.connection.stream.destroy()
        throw error
      } finally {
        clearTimeout(silence)
      }
      return new PostgresSession(client)
    },
  }
}

class PostgresSession implements JournalSession {
  readonly #client: pg.Client
  /** A wait for a synchronous standby was cancelled: the commit is not known to be durable. */
  #standbyWaitCancelled = false

  constructor(client: pg.Client) {
    this.#client = client
    client.on('notice', (notice) => {
      if (notice.code === '01000') this.#standbyWaitCancelled = true
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

  #copyAndFence(batch: SealedBatch): Promise<string[]> {
    const text = fenceText(batch)
    return new Promise((resolve, reject) => {
      const onEnd = () => reject(new Error('the connection to the journal has ended'))
      this.#client.once('end', onEnd)
      const commit = new CopyCommit({ text, rows: batch.copy }, (error, tags) => {
        this.#client.removeListener('end', onEnd)
        if (error === undefined) resolve(tags)
        else reject(isFenced(error) ? fenced(error) : error)
      })
      this.#client.query(commit)
    })
  }

  async settle(stream: number, owner: string): Promise<StreamState> {
    await endOldBackends(this.#client, { streams: [stream], owner })
    this.#standbyWaitCancelled = false
    const state = await inTransaction(this.#client, async () => {
      const { rows } = await this.#client.query<StreamRow>(
        'select owner, closed, epoch, head, digest from daybook.stream where id = $1 for update',
        [stream],
      )
      const row = rows[0]
      if (row === undefined || row.closed || row.owner !== owner) {
        throw new JournalFault('fenced', `stream ${stream} belongs to another process`)
      }
      await this.#client.query(
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
    const { rows } = await this.#client.query<{ epoch: number }>(
      'select epoch from daybook.stream where id = $1 and not closed',
      [stream],
    )
    if (rows[0]?.epoch !== epoch) {
      throw new JournalFault('fenced', `stream ${stream} has been taken over`)
    }
  }

  async ensurePartition(seq: number): Promise<number> {
    const { rows } = await this.#client.query<{ last: string }>(
      'select daybook.ensure_partition($1) as last',
      [seq],
    )
    return Number(rows[0].last)
  }

  async *readChunks(stream: number, afterSeq: number, toSeq: number): AsyncIterable<StoredChunk> {
    const copy = this.#client.query(
      copyTo(
        `copy (select first_seq, part, n, epoch, prev, payload from daybook.journal
           where stream = ${integer(stream)} and first_seq > ${integer(afterSeq)}
             and first_seq <= ${integer(toSeq)}
           order by first_seq, part) to stdout (format binary)`,
      ),
    )
    for await (const fields of readCopyRows(copy)) {
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
    const { rows } = await this.#client.query<StreamRow>(
      'select owner, closed, epoch, head, digest from daybook.stream where id = $1',
      [stream],
    )
    if (rows[0] === undefined) throw new Error(`there is no stream ${stream}`)
    return { epoch: rows[0].epoch, head: Number(rows[0].head), digest: rows[0].digest }
  }

  close(): void {
    this.#client.connection.stream.destroy()
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
export async function inTransaction<T>(client: pg.Client, work: () => Promise<T>): Promise<T> {
  await client.query(
    `begin; set local lock_timeout = ${lockTimeoutMs};
     set local idle_in_transaction_session_timeout = ${silenceTimeoutMs}`,
  )
  try {
    const result = await work()
    const { command } = await client.query('commit')
    if (command !== 'COMMIT') throw new Error(`a commit answered ${command}`)
    return result
  } catch (error) {
    await client.query('rollback').catch(() => undefined)
    throw error
  }
}

/**
 * Ends the backends that the streams name, those of `owner` only if it is given, and waits until
 * they are gone. Rejects with `still_held` if one does not go.
 */
export async function endOldBackends(
  client: pg.Client,
  of: { streams: number[]; owner?: string },
): Promise<void> {
  const { rows } = await client.query<{ gone: boolean }>(
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

/** Refuses a server that would lose commits, and turns synchronous commit on for this session. */
async function assertDurable(client: pg.Client): Promise<void> {
  const { rows } = await client.query<{ fsync: string; version: string }>(
    "select current_setting('fsync') as fsync, current_setting('server_version_num') as version",
  )
  if (rows[0].fsync !== 'on') {
    throw new JournalFault('unsafe_settings', 'Postgres runs with fsync off; Daybook does not')
  }
  if (Number(rows[0].version) < 150000) {
    throw new JournalFault('unsafe_settings', 'Daybook needs Postgres 15 or later')
  }
  await client.query('set synchronous_commit = on')
}

function bytea(bytes: Buffer): string {
  return `'\\x${bytes.toString('hex')}'`
}

function integer(value: number): string {
  if (!Number.isSafeInteger(value)) throw new RangeError(`not an integer: ${value}`)
  return String(value)
}
