import pg from 'pg'
import { SnapshotFault } from './manifest.js'
import { beginPostgresSnapshot, type PostgresAddress, prepareClient } from './postgres-sink.js'
import { removeForsaken } from './postgres-unfinished.js'
import { blockName, checkedBookId, checkedName } from './snapshot-name.js'
import type { SnapshotName, SnapshotSink, SnapshotStore, StoredSnapshot } from './store.js'

const readConnectionsMax = 2

/**
 * Snapshots in the tables of migrations/004-snapshots.sql, which have to be there. Every statement
 * is a transaction of its own: one that stayed open while a snapshot is built, read or removed would
 * hold back the horizon of all, the rows of daybook.stream that each batch leaves behind could not
 * be pruned, and every commit would have to walk past them.
 *
 * No statement, and no wait for a connection, takes longer than `timeoutMs` milliseconds. Errors of
 * the server carry on as they are, with their SQLSTATE as `code`.
 */
export function postgresSnapshotStore(address: PostgresAddress): SnapshotStore {
  return new PostgresSnapshotStore(address)
}

class PostgresSnapshotStore implements SnapshotStore {
  readonly #address: PostgresAddress
  readonly #pool: pg.Pool
  readonly #clients = new Set<pg.PoolClient>()
  #closed: Promise<void> | undefined

  constructor(address: PostgresAddress) {
    this.#address = address
    const { connectionString, timeoutMs } = address
    this.#pool = new pg.Pool({
      connectionString,
      max: readConnectionsMax,
      application_name: 'daybook snapshots',
      connectionTimeoutMillis: timeoutMs,
      query_timeout: timeoutMs,
      keepAlive: true,
      allowExitOnIdle: true,
      onConnect: (client) => prepareClient(client, address),
    })
    // A connection that breaks while idle shows at its next use.
    this.#pool.on('error', () => undefined)
    this.#pool.on('connect', (client) => {
      client.on('error', () => undefined)
      this.#clients.add(client)
    })
    this.#pool.on('remove', (client) => this.#clients.delete(client))
  }

  async list(bookId: string): Promise<StoredSnapshot[]> {
    const book = checkedBookId(bookId)
    const { rows } = await this.#pool.query<{ id: string; manifest: Buffer }>(
      `select id, manifest from daybook.snapshot
       where book_id = $1 and manifest is not null order by id desc`,
      [book],
    )
    return rows.map(({ id, manifest }) => ({ bookId: book, id, manifest }))
  }

  async begin(name: SnapshotName): Promise<SnapshotSink> {
    return await beginPostgresSnapshot(checkedName(name), this.#address, this.#pool)
  }

  async readBlock(name: SnapshotName, number: number): Promise<Buffer> {
    const { bookId, id } = checkedName(name)
    const block = blockName(number)
    // As it is, a bytea travels as hexadecimal digits: more bytes, and three times as slow.
    const { rows } = await this.#pool.query<{ payload: string }>(
      `select encode(payload, 'base64') as payload from daybook.snapshot_block b
       join daybook.snapshot s on s.number = b.snapshot
       where s.book_id = $1 and s.id = $2 and b.number = $3`,
      [bookId, id, number],
    )
    if (rows.length === 0) {
      throw new SnapshotFault('damaged_snapshot', `snapshot ${id} has no ${block}`)
    }
    return Buffer.from(rows[0].payload, 'base64')
  }

  async remove(name: SnapshotName): Promise<void> {
    const { bookId, id } = checkedName(name)
    const { rows } = await this.#pool.query<{ number: number }>(
      `update daybook.snapshot set manifest = null
       where book_id = $1 and id = $2 and manifest is not null returning number`,
      [bookId, id],
    )
    // From here on it is a snapshot that nobody builds, and if this goes no further a sweep will.
    if (rows.length > 0) await removeForsaken(this.#pool, rows[0].number)
  }

  async sweep(bookId: string): Promise<number> {
    const { rows } = await this.#pool.query<{ number: number }>(
      'select number from daybook.snapshot where book_id = $1 and manifest is null',
      [checkedBookId(bookId)],
    )
    let removed = 0
    for (const { number } of rows) {
      if (await removeForsaken(this.#pool, number)) removed += 1
    }
    return removed
  }

  /** Ends the connections for reading when what is under way is done, at the latest at the deadline. */
  async close(): Promise<void> {
    this.#closed ??= this.#end()
    await this.#closed
  }

  async #end(): Promise<void> {
    const deadline = setTimeout(() => {
      for (const client of this.#clients) client.connection.stream.destroy()
    }, this.#address.timeoutMs)
    await this.#pool.end().finally(() => clearTimeout(deadline))
  }
}
