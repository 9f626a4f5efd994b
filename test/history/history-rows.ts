import pg from 'pg'
import type { Teardown } from '../postgres.js'

const tables = ['progress', 'account', 'transaction', 'hold', 'entry'] as const

/** Every row of the read models, by table. */
export async function historyRows(
  t: Teardown,
  databaseUrl: string,
): Promise<Record<(typeof tables)[number], string[]>> {
  const client = new pg.Client({ connectionString: databaseUrl })
  await client.connect()
  t.teardown(() => client.end())
  const rows: [string, string[]][] = []
  for (const table of tables) {
    const { rows: own } = await client.query<{ row: string }>(
      `select to_jsonb(r)::text as row from daybook_history.${table} r order by 1`,
    )
    rows.push([table, own.map(({ row }) => row)])
  }
  return Object.fromEntries(rows) as Record<(typeof tables)[number], string[]>
}
