import pg from 'pg'
import { migrate } from '../../src/journal/migrate.js'
import { openSnapshotStore } from '../../src/snapshots/open-store.js'
import type { SnapshotStore, SnapshotStoreConfig } from '../../src/snapshots/store.js'
import type { Teardown } from '../postgres.js'
import type { StoreFixture } from './store-contract.js'

export interface PostgresFixture extends StoreFixture {
  /** Somebody else's connection. */
  client: pg.Client
}

export async function postgresFixture(
  t: Teardown,
  connectionString: string,
): Promise<PostgresFixture> {
  const client = await connect(t, connectionString)
  await migrate(client)
  const remains = async (bookId: string) => {
    const { rows } = await client.query<{ id: string; number: number | null }>(
      `select s.id, b.number from daybook.snapshot s
       left join daybook.snapshot_block b on b.snapshot = s.number
       where book_id = $1 order by s.id, b.number`,
      [bookId],
    )
    return rows.map(({ id, number }) => `${id} ${number}`)
  }
  return {
    client,
    store: open(t, connectionString),
    other: open(t, connectionString),
    remains,
    async loseBlock({ id }, number) {
      await client.query(
        `delete from daybook.snapshot_block b using daybook.snapshot s
         where s.number = b.snapshot and s.id = $1 and b.number = $2`,
        [id, number],
      )
    },
  }
}

export async function connect(t: Teardown, connectionString: string): Promise<pg.Client> {
  const client = new pg.Client({ connectionString })
  client.on('error', () => undefined)
  await client.connect()
  t.teardown(() => client.end())
  return client
}

export function open(t: Teardown, address: string, timeoutMs = 20_000): SnapshotStore {
  const store = openSnapshotStore(config(address, timeoutMs))
  t.teardown(() => store.close())
  return store
}

export function config(address: string, timeoutMs = 20_000): SnapshotStoreConfig {
  return { kind: 'postgres', connectionString: address, timeoutMs }
}

/** What the server knows of the connections of snapshots: number of the process, and what it does. */
export async function backends(client: pg.Client): Promise<pg.QueryResultRow[]> {
  const { rows } = await client.query(
    `select pid, state, xact_start, backend_xmin, wait_event_type from pg_stat_activity
     where application_name = 'daybook snapshots' and datname = current_database()`,
  )
  return rows
}
