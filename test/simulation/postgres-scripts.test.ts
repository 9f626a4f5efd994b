import pg from 'pg'
import t from 'tap'
import { migrate } from '../../src/journal/migrate.js'
import { postgresDatabase } from '../../src/journal/postgres.js'
import { temporaryPostgres } from '../postgres.js'
import { SimulatedSetting } from './postgres/simulated-setting.js'
import type { Script } from './postgres/stage.js'
import { play, scripts } from './postgres-scripts.js'

const seeds = 12

/** A real database on which scripts are played, one after the other. */
class RealBook {
  readonly #connectionString: string
  readonly #watcher: pg.Client
  #last: Promise<unknown> = Promise.resolve()

  constructor(connectionString: string) {
    this.#connectionString = connectionString
    this.#watcher = new pg.Client({ connectionString, application_name: 'watcher' })
  }

  async open(): Promise<void> {
    await this.#watcher.connect()
    await migrate(this.#watcher)
  }

  async close(): Promise<void> {
    await this.#watcher.end()
  }

  play(script: Script): Promise<string[]> {
    const said = this.#last.then(async () => {
      await this.#empty()
      return await play(script, {
        database: postgresDatabase(this.#connectionString, 5000),
        untilBlocked: (count) => this.#until("wait_event_type = 'Lock'", [], count),
        untilBackends: (name, count) => this.#until('application_name = $1', [name], count),
      })
    })
    // Its test tells of a failure; the next script is played all the same.
    this.#last = said.catch(() => undefined)
    return said
  }

  /** As the migrations leave it, and nobody there but the watcher. */
  async #empty(): Promise<void> {
    await this.#until("backend_type = 'client backend' and pid <> pg_backend_pid()", [], 0)
    await this.#watcher.query(`
      truncate daybook.journal;
      delete from daybook.stream;
      insert into daybook.stream (id, generation) values (1, 1);
      update daybook.book
        set generation = 1, slots = decode(repeat('00000001', 1024), 'hex'), record_version = 1;
      drop table if exists daybook.journal_000001, daybook.journal_000002`)
  }

  /** Waits until there are so many backends of which `condition` holds. */
  async #until(condition: string, values: unknown[], count: number): Promise<void> {
    for (;;) {
      const { rows } = await this.#watcher.query<{ n: number }>(
        `select count(*)::int as n from pg_stat_activity
         where datname = current_database() and ${condition}`,
        values,
      )
      if (rows[0].n === count) return
    }
  }
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

const postgres = await temporaryPostgres(t)
// Two, so that a script that waits for a timeout does not hold up all the others.
const books = [
  new RealBook(await postgres.createDatabase()),
  new RealBook(await postgres.createDatabase()),
]
await Promise.all(books.map((book) => book.open()))
t.teardown(() => Promise.all(books.map((book) => book.close())))

const played = scripts.map((script, index) => books[index % books.length].play(script))

for (const [index, script] of scripts.entries()) {
  t.test(script.name, async (t) => {
    const expected = await played[index]
    for (let seed = 0; seed < seeds; seed++) {
      t.same(await playSimulated(script, seed), expected, `with seed ${seed}`)
    }
  })
}
