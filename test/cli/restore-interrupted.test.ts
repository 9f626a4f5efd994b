import t from 'tap'
import { Engine } from '../actors/engine.js'
import { roundsOr } from '../e2e/rounds.js'
import { temporaryPostgres } from '../postgres.js'
import { SampleBook } from '../snapshots/sample-book.js'
import { CommandLine, daybook } from './command-line.js'
import { holdGate, isWaiting, stopAt, until } from './gate.js'

t.setTimeout(240_000)

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
  { name: 'before anything is copied', table: 'journal', on: 'insert', at: 1 },
  { name: 'in the middle of the copy', table: 'journal', on: 'insert', at: 2 },
  { name: 'at the end of the copy', table: 'journal', on: 'insert', at: 3 },
  { name: 'before the mark is taken away', table: 'book', on: 'update', at: 2 },
  { name: 'when the mark is taken away', table: 'origin', on: 'update', at: 2 },
] as const

for (const [index, { name, ...place }] of places.entries()) {
  for (const signal of signalsFor(index)) {
    t.test(`${signal} ${name}: no node starts on it, and it can be run again`, async (t) => {
      const target = await postgres.createDatabase()
      await stopAt(target, place)
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

/** Both in turn, or both at each place if more rounds are asked for. */
function signalsFor(place: number): readonly ('SIGINT' | 'SIGKILL')[] {
  if (roundsOr(1) > 1) return ['SIGINT', 'SIGKILL']
  return [place % 2 === 0 ? 'SIGKILL' : 'SIGINT']
}

t.test('two restores into one database do not mix', async (t) => {
  const target = await postgres.createDatabase()
  await stopAt(target, { table: 'journal', on: 'insert', at: 2 })
  const holder = await holdGate(target)
  const first = new CommandLine([...words, '--into', target], settings)
  await until(() => isWaiting(target))
  const second = await daybook([...words, '--into', target], settings)
  t.match(second, { code: 1, stderr: /another restore into this database is under way/ })
  await holder.release()
  t.match(await first.ended, { code: 0 })
})
