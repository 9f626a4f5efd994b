import pg from 'pg'
import { migrate } from '../../src/journal/migrate.js'
import { endOldBackends } from '../../src/journal/postgres-session.js'

/** Empties the journal, so that every run starts with a new book in the same database. */
export async function emptyBook(connectionString: string): Promise<void> {
  await withClient(connectionString, async (client) => {
    await migrate(client)
    const { rows } = await client.query<{ id: number }>('select id from daybook.stream')
    await endBackends(client, { streams: rows.map((row) => row.id) })
    await client.query('truncate daybook.journal')
    await client.query('delete from daybook.stream where id > 1')
    await client.query(
      `update daybook.stream set head = 0, digest = decode(repeat('00', 32), 'hex'),
         closed = false, owner = null, backend_pid = null, backend_start = null`,
    )
    await client.query(
      `update daybook.book
       set generation = 1, slots = decode(repeat('00000001', 1024), 'hex')`,
    )
  })
}

/** As the product does: a backend may take its time to end on a busy machine, so again and again. */
async function endBackends(client: pg.Client, of: { streams: number[] }): Promise<void> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await endOldBackends(client, of)
    } catch (error) {
      if ((error as { code?: string }).code !== 'still_held' || attempt === 10) throw error
    }
  }
}

export async function withClient<T>(
  connectionString: string,
  work: (client: pg.Client) => Promise<T>,
): Promise<T> {
  const client = new pg.Client({ connectionString })
  await client.connect()
  return await work(client).finally(() => client.end())
}
