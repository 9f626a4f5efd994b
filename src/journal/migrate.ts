import { readdir, readFile } from 'node:fs/promises'
import type { Client } from 'pg'
import { silenceTimeoutMs } from './postgres-session.js'
import { JournalFault } from './session.js'

const folder = new URL('./migrations/', import.meta.url)

/**
 * Brings the schema `daybook` up to date. Each migration runs once, and would do no harm if it ran
 * twice; two processes that start at the same time wait for each other. Rejects with
 * `newer_version`, before anything is changed, if a newer program has been here; else with the
 * error of Postgres.
 */
export async function migrate(client: Client): Promise<void> {
  const names = (await readdir(folder)).filter((name) => name.endsWith('.sql')).sort()
  // A process that is gone without a word must not keep the next one waiting for its lock.
  await client.query(`begin; set local idle_in_transaction_session_timeout = ${silenceTimeoutMs}`)
  try {
    await client.query('select pg_advisory_xact_lock(4849332, 0)')
    await client.query('create schema if not exists daybook')
    await client.query(
      'create table if not exists daybook.migration (name text primary key, applied_at timestamptz not null default now())',
    )
    const { rows } = await client.query<{ name: string }>('select name from daybook.migration')
    const applied = rows.map((row) => row.name)
    const unknown = applied.find((name) => !names.includes(name))
    if (unknown !== undefined) {
      throw new JournalFault('newer_version', `a newer program has migrated the book: ${unknown}`)
    }
    for (const name of names) {
      if (applied.includes(name)) continue
      await client.query(await readFile(new URL(name, folder), 'utf8'))
      await client.query('insert into daybook.migration (name) values ($1)', [name])
    }
    await client.query('commit')
  } catch (error) {
    await client.query('rollback').catch(() => undefined)
    throw error
  }
}
