import pg from 'pg'
import type { BookRows, StreamRow } from '../journal/book-rows.js'
import type { DatabaseConnection } from '../journal/database.js'
import { migrate } from '../journal/migrate.js'
import { postgresDatabase } from '../journal/postgres.js'
import { inTransaction } from '../journal/postgres-session.js'
import { slotBytes } from '../journal/slot-map.js'
import type { Layout } from '../layout.js'
import { partitionSeqs } from './empty-partitions.js'
import { RestoreRefusal } from './restore-cut.js'

const connectTimeoutMs = 10_000

const lockTimeoutMs = 5000
const lockNotAvailableState = '55P03'

/** Seqs of one partition of the journal (migrations/001-journal.sql). */

/** What a restored book says of where it comes from. */
export interface Origin {
  bookId: string
  position: string
  /** The moment that was asked for, in milliseconds since 1970. */
  timeMs: number | undefined
}

/**
 * The database that a book is restored into:
 *
 *     empty, or half restored ─▶ marked ─▶ chunks, snapshot ─▶ finished
 *
 * While it is marked no node starts on it (journal/take-over.ts), and the next restore begins again
 * from empty. All goes through one connection, which holds a lock for its life: when a restore has
 * been killed and the next one has the lock, nothing of the first can still arrive.
 */
export class RestoreTarget {
  readonly connection: DatabaseConnection
  readonly #connectionString: string

  static async open(connectionString: string): Promise<RestoreTarget> {
    const database = postgresDatabase(connectionString, connectTimeoutMs)
    const connection = await database.connect({ name: 'daybook restore' })
    return new RestoreTarget(connection, connectionString)
  }

  private constructor(connection: DatabaseConnection, connectionString: string) {
    this.connection = connection
    this.#connectionString = connectionString
  }

  /**
   * Rejects with a {@link RestoreRefusal} unless the database is empty or half restored, is not that
   * of the book `sourceId`, and nobody uses it. Writes nothing.
   */
  async assertUsable(sourceId: string): Promise<void> {
    await this.#lock()
    if (await this.#hasTable('book')) await this.#assertEmpty(sourceId)
  }

  /**
   * Migrates the database, empties it, and marks it as one that is being restored. Resolves with the
   * id of the new book.
   */
  async mark(sourceId: string, origin: Origin): Promise<string> {
    await this.#migrate()
    const { connection } = this
    return await inTransaction(connection, async () => {
      await connection.query('select from daybook.book for update')
      await this.#assertEmpty(sourceId)
      const isHalf = await this.#isHalfRestored()
      // What a restore that was broken off has left in a store is under the id of its book.
      const id = isHalf ? 'id' : 'gen_random_uuid()'
      await connection.query(
        `insert into daybook.origin (book_id, position, time) values ($1, $2, $3)
         on conflict (only_row) do update set book_id = excluded.book_id,
           position = excluded.position, time = excluded.time, started_at = now(),
           finished_at = null`,
        [origin.bookId, origin.position, timeOf(origin)],
      )
      await connection.query('truncate daybook.journal')
      await connection.query('delete from daybook.snapshot')
      await connection.query('update daybook.stream set epoch = epoch + 1, owner = null')
      const { rows } = await connection.query<{ id: string }>(
        `update daybook.book set id = ${id} returning id`,
      )
      return rows[0].id
    })
  }

  /** Makes room for records up to `seq`, and what is needed to write them fast. */
  async prepare(seq: number): Promise<void> {
    // What is committed without waiting is durable with the last commit, which does wait.
    await this.connection.query('set synchronous_commit = off')
    for (let first = 0; first <= seq; first += partitionSeqs) {
      await this.connection.query('select daybook.ensure_partition($1)', [first])
    }
  }

  /** Writes the rows of book and streams: from when this resolves on, the book is there. */
  async finish(
    source: BookRows,
    { streams, layout }: { streams: readonly StreamRow[]; layout: Layout },
  ): Promise<void> {
    const { connection } = this
    await connection.query('set synchronous_commit = on')
    await inTransaction(connection, async () => {
      await connection.query('select from daybook.book for update')
      await connection.query('delete from daybook.stream')
      for (const { id, generation, epoch, head, digest } of streams) {
        await connection.query(
          `insert into daybook.stream (id, generation, closed, epoch, head, digest)
           values ($1, $2, $3, $4, $5, $6)`,
          [id, generation, generation < layout.generation, epoch, head, digest],
        )
      }
      await connection.query(
        `update daybook.book
         set generation = $1, slots = $2, record_version = greatest(record_version, $3)`,
        [layout.generation, slotBytes(layout.streamOfSlots()), source.recordVersion],
      )
      await connection.query('update daybook.origin set finished_at = now()')
    })
  }

  /** Ends the connection at once, whatever is under way. */
  close(): void {
    this.connection.close()
  }

  /** One that was killed is let go of by its backend after a moment. */
  async #lock(): Promise<void> {
    try {
      await this.connection.query(`set lock_timeout = ${lockTimeoutMs}`)
      await this.connection.query('select pg_advisory_lock(4849332, 2)')
      await this.connection.query('set lock_timeout = 0')
    } catch (error) {
      if ((error as { code?: string }).code !== lockNotAvailableState) throw error
      throw new RestoreRefusal('another restore into this database is under way')
    }
  }

  async #hasTable(name: string): Promise<boolean> {
    const { rows } = await this.connection.query<{ is_there: boolean }>(
      'select to_regclass($1) is not null as is_there',
      [`daybook.${name}`],
    )
    return rows[0].is_there
  }

  /** Works on a database that an older program has migrated, too. */
  async #assertEmpty(sourceId: string): Promise<void> {
    const { rows } = await this.connection.query<{ id: string; generation: number; head: string }>(
      `select id, generation, (select coalesce(max(head), 0) from daybook.stream) as head
       from daybook.book`,
    )
    if (rows[0]?.id === sourceId) {
      throw new RestoreRefusal('a book cannot be restored into its own database')
    }
    await this.#assertNobodyServes()
    if (await this.#isHalfRestored()) return
    const hasSnapshots =
      (await this.#hasTable('snapshot')) &&
      (await this.connection.query('select from daybook.snapshot limit 1')).rows.length > 0
    if (
      rows[0] === undefined ||
      rows[0].generation > 1 ||
      Number(rows[0].head) > 0 ||
      hasSnapshots
    ) {
      throw new RestoreRefusal('the database to restore into has a book with something in it')
    }
  }

  async #isHalfRestored(): Promise<boolean> {
    if (!(await this.#hasTable('origin'))) return false
    const { rows } = await this.connection.query(
      'select from daybook.origin where finished_at is null',
    )
    return rows.length > 0
  }

  async #assertNobodyServes(): Promise<void> {
    const { rows } = await this.connection.query(
      `select from daybook.stream join pg_stat_activity activity
         on activity.pid = stream.backend_pid and activity.backend_start = stream.backend_start`,
    )
    if (rows.length > 0) {
      throw new RestoreRefusal('a server runs on the database to restore into')
    }
  }

  async #migrate(): Promise<void> {
    const client = new pg.Client({
      connectionString: this.#connectionString,
      connectionTimeoutMillis: connectTimeoutMs,
      application_name: 'daybook restore',
    })
    client.on('error', () => undefined)
    try {
      await client.connect()
      await migrate(client)
    } finally {
      await client.end().catch(() => undefined)
    }
  }
}

function timeOf({ timeMs }: Origin): Date | null {
  return timeMs === undefined ? null : new Date(timeMs)
}
