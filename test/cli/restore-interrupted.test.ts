import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { migrate } from '../../src/journal/migrate.js'
import { withClient } from '../actors/book-database.js'
import { Engine } from '../actors/engine.js'
import { temporaryPostgres } from '../postgres.js'
import { SampleBook } from '../snapshots/sample-book.js'
import { CommandLine, daybook } from './command-line.js'

t.setTimeout(240_000)

/** What the triggers of this test wait for. */
const gate = 4711

const postgres = await temporaryPostgres(t)
const book = await SampleBook.make(t, postgres, { shards: [1, 2], rounds: 2 })
// Some megabytes, so that they go in several statements.
const postings = [{ debit: 'customer:1', credit: 'customer:2', amount: '1' }]
for (let number = 0; number < 160; number++) {
  await book.engine.post({
    ...{ id: `large:${number}`, postings, metadata: { note: 'x'.repeat(60_000) } },
  })
}
await book.mark()
await book.engine.stop()
const { digest, timeMs } = book.marks[book.marks.length - 1]
const words = ['restore', '--to', new Date(timeMs).toISOString()]
const settings = { DATABASE_URL: book.connectionString }

const places = [
  { name: 'before anything is copied', table: 'journal', at: 1 },
  { name: 'in the middle of the copy', table: 'journal', at: 2 },
  { name: 'at the end of the copy', table: 'journal', at: 3 },
  { name: 'before the mark is taken away', table: 'book', at: 2 },
  { name: 'when the mark is taken away', table: 'origin', at: 2 },
] as const

for (const { name, table, at } of places) {
  for (const signal of ['SIGINT', 'SIGKILL'] as const) {
    t.test(`${signal} ${name}: no node starts on it, and it can be run again`, async (t) => {
      const target = await postgres.createDatabase()
      await stopAt(target, { table, at })
      const holder = await holdGate(target)
      const first = new CommandLine([...words, '--into', target], settings)
      await until(() => isWaiting(target))
      first.kill(signal)
      const { code } = await first.ended
      t.equal(code, signal === 'SIGINT' ? 130 : null)
      await t.rejects(Engine.start({ connectionString: target }), { code: 'half_restored' })
      await holder.release()
      // What the killed one had sent may still be carried out; the second waits for that.
      const second = await daybook([...words, '--into', target], settings)
      t.match(second, { code: 0, stdout: /left out: nothing/ }, second.stderr)
      const engine = await Engine.start({ connectionString: target, shards: 2 })
      t.equal(engine.digest, digest)
      await engine.stop()
      t.match(await daybook(['verify'], { DATABASE_URL: target }), { code: 0 })
    })
  }
}

t.test('two restores into one database do not mix', async (t) => {
  const target = await postgres.createDatabase()
  await stopAt(target, { table: 'journal', at: 2 })
  const holder = await holdGate(target)
  const first = new CommandLine([...words, '--into', target], settings)
  await until(() => isWaiting(target))
  const second = await daybook([...words, '--into', target], settings)
  t.match(second, { code: 1, stderr: /another restore into this database is under way/ })
  await holder.release()
  t.match(await first.ended, { code: 0 })
})

/** Makes the n-th statement that writes to a table wait for the gate. */
async function stopAt(target: string, { table, at }: { table: string; at: number }): Promise<void> {
  await withClient(target, async (client) => {
    await migrate(client)
    await client.query(`
      create sequence public.statements;
      create function public.wait() returns trigger language plpgsql as $$
      begin
        if nextval('public.statements') = ${at} then
          perform pg_advisory_xact_lock(${gate});
        end if;
        return null;
      end $$;
      create trigger wait before ${table === 'journal' ? 'insert' : 'update'}
        on daybook.${table} for each statement execute function public.wait()`)
  })
}

/** Holds the gate shut until it is released. */
async function holdGate(target: string): Promise<{ release(): Promise<void> }> {
  let release: () => void = () => undefined
  const released = new Promise<void>((resolve) => {
    release = resolve
  })
  let done: Promise<void> = Promise.resolve()
  await new Promise<void>((resolve, reject) => {
    done = withClient(target, async (client) => {
      await client.query(`select pg_advisory_lock(${gate})`)
      resolve()
      await released
    })
    done.catch(reject)
  })
  return {
    release: () => {
      release()
      return done
    },
  }
}

async function isWaiting(target: string): Promise<boolean> {
  return await withClient(target, async (client) => {
    const { rows } = await client.query(
      `select from pg_locks where locktype = 'advisory' and objid = ${gate} and not granted
         and database = (select oid from pg_database where datname = current_database())`,
    )
    return rows.length > 0
  })
}

async function until(condition: () => Promise<boolean>): Promise<void> {
  while (!(await condition())) await sleep(10)
}
