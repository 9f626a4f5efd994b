import { readdir, readFile } from 'node:fs/promises'
import type { Client } from 'pg'

const folder = new URL('./migrations/', import.meta.url)

/**
 * Brings the schema `daybook` up to date. Each migration may be run twice and runs once; two
 * processes that start at the same time wait for each other. Rejects with the error of Postgres.
 */
export async function migrate(client: Client): Promise<void> {
  const names = (await readdir(folder)).filter((name) => name.endsWith('.sql')).sort()
  await client.query('begin')
  try {
    await client.query('select pg_advisory_xact_lock(4849332, 0)')
    await client.query('create schema if not exists daybook')
    await client.query(
      'create table if not exists daybook.migration (name text primary key, digest text not null, applied_at timestamptz not null default now())',
    )
    const applied = await client.query<{ name: string; digest: string }>(
      'select name, digest from daybook.migration',
    )
    for (const name of names) {
      const sql = await readFile(new URL(name, folder), 'utf8')
      const { rows } = await client.query<{ digest: string }>('select md5($1) as digest', [sql])
      const digest = rows[0].digest
      if (applied.rows.some((row) => row.name === name && row.digest === digest)) continue
      await client.query(sql)
      await client.query(
        'insert into daybook.migration (name, digest) values ($1, $2) on conflict (name) do update set digest = excluded.digest, applied_at = now()',
        [name, digest],
      )
    }
    await client.query('commit')
  } catch (error) {
    await client.query('rollback').catch(() => undefined)
    throw error
  }
}
