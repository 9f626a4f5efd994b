import pg from 'pg'
import { lockSpace, removeForsaken, removeUnfinished } from './postgres-unfinished.js'
import { blockName } from './snapshot-name.js'
import type { SnapshotName, SnapshotSink } from './store.js'

export interface PostgresAddress {
  connectionString: string
  /** Of each statement, and of the wait for a connection. */
  timeoutMs: number
}

/**
 * Begins a snapshot on a connection of its own, which holds the snapshot's lock until the sink is
 * done: as long as the builder lives, no sweep can have it. Rejects with SQLSTATE 23505 if there is
 * a snapshot of this id.
 */
export async function beginPostgresSnapshot(
  { bookId, id }: SnapshotName,
  address: PostgresAddress,
  pool: pg.Pool,
): Promise<SnapshotSink> {
  const client = await connect(address)
  try {
    // Nothing waits for the disk before finish does, and then for all that came before it.
    await client.query('set synchronous_commit = off')
    // In one statement: a sweep sees the row only when the lock is already held.
    const { rows } = await client.query<{ number: number; locked: boolean }>(
      `with begun as (insert into daybook.snapshot (book_id, id) values ($1, $2) returning number)
       select number, pg_try_advisory_lock($3, number) as locked from begun`,
      [bookId, id, lockSpace],
    )
    if (!rows[0].locked) throw new Error(`somebody holds the lock of the new snapshot ${id}`)
    return new PostgresSink({ client, pool, id, number: rows[0].number })
  } catch (error) {
    client.connection.stream.destroy()
    throw error
  }
}

/**
 * Makes the server, too, give up what takes longer than `timeoutMs`, and find out about a client
 * that is gone without a word: until it does, a lock would be held and a snapshot not swept.
 */
export async function prepareClient(client: pg.ClientBase, address: PostgresAddress) {
  await client.query(
    `set statement_timeout = ${Math.ceil(address.timeoutMs)};
     set tcp_keepalives_idle = 30; set tcp_keepalives_interval = 10; set tcp_keepalives_count = 3`,
  )
}

async function connect(address: PostgresAddress): Promise<pg.Client> {
  const { connectionString, timeoutMs } = address
  const client = new pg.Client({
    connectionString,
    application_name: 'daybook snapshots',
    connectionTimeoutMillis: timeoutMs,
    query_timeout: timeoutMs,
    keepAlive: true,
  })
  // A connection that breaks while idle shows at its next use.
  client.on('error', () => undefined)
  try {
    await client.connect()
    await prepareClient(client, address)
    return client
  } catch (error) {
    client.connection.stream.destroy()
    throw error
  }
}

/**
 * A snapshot that is being stored.
 *
 *     building ──finish──▶ over          its manifest is set, its lock free
 *        │ └─────abandon─▶ over          its rows are gone, its lock free
 *        └──▶ lost                       the connection broke, or did not answer in time
 *
 * A lost sink stores nothing more: `put` rejects with what it was lost by. Its last statement may
 * still have taken effect, so another `finish` asks whether the manifest was set, and rejects if
 * not. `abandon` removes nothing while the old backend lives, nor a snapshot that is whole because
 * its manifest was set unheard. What is left without one, the next sweep after its end removes.
 */
class PostgresSink implements SnapshotSink {
  readonly #client: pg.Client
  readonly #pool: pg.Pool
  readonly #id: string
  readonly #number: number
  #isOver = false
  /** What the connection was lost by. */
  #loss: unknown
  /** A wait for a synchronous standby was cancelled: a commit is not known to be durable. */
  #standbyWaitCancelled = false

  constructor(parts: { client: pg.Client; pool: pg.Pool; id: string; number: number }) {
    this.#client = parts.client
    this.#pool = parts.pool
    this.#id = parts.id
    this.#number = parts.number
    this.#client.on('error', (error) => {
      this.#loss ??= error
    })
    this.#client.on('notice', ({ code }) => {
      if (code === '01000') this.#standbyWaitCancelled = true
    })
  }

  async put(number: number, bytes: Buffer): Promise<void> {
    blockName(number)
    await this.#query(
      'insert into daybook.snapshot_block (snapshot, number, payload) values ($1, $2, $3)',
      [this.#number, number, bytes],
    )
  }

  async finish(manifest: Buffer): Promise<void> {
    if (this.#loss !== undefined) return await this.#assertFinished(manifest)
    await this.#query('set synchronous_commit = on')
    this.#standbyWaitCancelled = false
    // The same manifest once more is no error: the first answer may have been a lost standby.
    const { rowCount } = await this.#query(
      `update daybook.snapshot set manifest = $2
       where number = $1 and (manifest is null or manifest = $2)`,
      [this.#number, manifest],
    )
    if (rowCount !== 1) throw new Error(`snapshot ${this.#id} is gone, or has another manifest`)
    if (this.#standbyWaitCancelled) {
      throw new Error('the wait for a synchronous standby was cancelled')
    }
    await this.#end()
  }

  async abandon(): Promise<void> {
    if (this.#isOver) return
    if (this.#loss === undefined) {
      try {
        return await this.#remove()
      } catch (error) {
        if (this.#loss === undefined) throw error
      }
    }
    await removeForsaken(this.#pool, this.#number)
    this.#isOver = true
  }

  async #remove(): Promise<void> {
    // A finish that failed may have set it all the same.
    await this.#query(
      'update daybook.snapshot set manifest = null where number = $1 and manifest is not null',
      [this.#number],
    )
    await this.#guard(removeUnfinished(this.#client, this.#number))
    await this.#end()
  }

  /** After a loss: resolves if the manifest was set before it. */
  async #assertFinished(manifest: Buffer): Promise<void> {
    const { rowCount } = await this.#pool.query(
      'select 1 from daybook.snapshot where number = $1 and manifest = $2',
      [this.#number, manifest],
    )
    if (rowCount !== 1) {
      throw new Error(
        `the connection that built snapshot ${this.#id} was lost before it was finished`,
        { cause: this.#loss },
      )
    }
    this.#isOver = true
  }

  async #end(): Promise<void> {
    this.#isOver = true
    // The end of the connection frees it as well, but only a moment after we have gone on.
    await this.#client
      .query('select pg_advisory_unlock($1, $2)', [lockSpace, this.#number])
      .catch(() => undefined)
    void this.#client.end()
  }

  async #query(text: string, values?: unknown[]): Promise<pg.QueryResult> {
    if (this.#isOver) throw new Error(`snapshot ${this.#id} is finished or given up`)
    if (this.#loss !== undefined) throw this.#loss
    return await this.#guard(this.#client.query(text, values))
  }

  /** An ERROR of the server leaves the connection as it was; after anything else it is lost. */
  async #guard<T>(answer: Promise<T>): Promise<T> {
    try {
      return await answer
    } catch (error) {
      const isAnswer = error instanceof pg.DatabaseError && error.severity === 'ERROR'
      if (!isAnswer) {
        this.#loss ??= error
        this.#client.connection.stream.destroy()
      }
      throw error
    }
  }
}
