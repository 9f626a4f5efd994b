import pg from 'pg'
import t from 'tap'
import { migrate } from '../../src/journal/migrate.js'
import { postgresDatabase } from '../../src/journal/postgres.js'
import { temporaryPostgres } from '../postgres.js'
import { SimulatedSetting } from './postgres/simulated-setting.js'
import type { Script, Server } from './postgres/stage.js'
import { play, scripts } from './postgres-scripts.js'

const seeds = 25

const postgres = await temporaryPostgres(t)
const connectionString = await postgres.createDatabase()
const watcher = new pg.Client({ connectionString, application_name: 'watcher' })
await watcher.connect()
t.teardown(() => watcher.end())
await migrate(watcher)

for (const script of scripts) {
  t.test(script.name, async (t) => {
    await newBook()
    const expected = await play(script, realServer())
    for (let seed = 0; seed < seeds; seed++) {
      t.same(await playSimulated(script, seed), expected, `with seed ${seed}`)
    }
  })
}

function realServer(): Server {
  return {
    database: postgresDatabase(connectionString, 5000),
    untilBlocked: (count) => untilCount("wait_event_type = 'Lock'", [], count),
    untilBackends: (name, count) => untilCount('application_name = $1', [name], count),
  }
}

async function untilCount(condition: string, values: unknown[], count: number): Promise<void> {
  for (;;) {
    const { rows } = await watcher.query<{ n: number }>(
      `select count(*)::int as n from pg_stat_activity
       where datname = current_database() and ${condition}`,
      values,
    )
    if (rows[0].n === count) return
  }
}

/** The book as the migrations leave it, and nobody there but the watcher. */
async function newBook(): Promise<void> {
  await watcher.query(
    `select pg_terminate_backend(pid, 5000) from pg_stat_activity
     where datname = current_database() and pid <> pg_backend_pid() and backend_type = 'client backend'`,
  )
  await watcher.query(`
    truncate daybook.journal;
    delete from daybook.stream;
    insert into daybook.stream (id, generation) values (1, 1);
    update daybook.book
      set generation = 1, slots = decode(repeat('00000001', 1024), 'hex'), record_version = 1;
    drop table if exists daybook.journal_000001, daybook.journal_000002`)
}

async function playSimulated(script: Script, seed: number): Promise<string[]> {
  const setting = new SimulatedSetting(seed)
  const simulated = setting.postgres
  const countOf = (pick: (backend: { name: string; phase: string }) => boolean) =>
    simulated.backends.filter(pick).length
  return await setting.run(
    play(script, {
      database: simulated.databaseFor(setting.thread, 5000),
      untilBlocked: (count) =>
        setting.until(() => countOf((backend) => backend.phase === 'waiting for a lock') === count),
      untilBackends: (name, count) =>
        setting.until(() => countOf((backend) => backend.name === name) === count),
    }),
  )
}
