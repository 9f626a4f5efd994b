import t from 'tap'
import type { NodePhase } from '../../src/node.js'
import { temporaryPostgres } from '../postgres.js'
import { CrashingBook } from './crashing-book.js'
import type { Fate } from './proxy.js'
import { roundsOr } from './rounds.js'
import { until } from './server.js'

const rounds = roundsOr(1)
/** More than a start has when the number of shards changes, so that some starts come through. */
const commitsMax = 12
const phases: readonly NodePhase[] = [
  'warming_up',
  'taking_over',
  'reading_rest',
  'settling',
  'opening_generation',
]

/** Postgres gets the commit, or does not, or does not even hear that the server is gone. */
const fates: readonly Fate[] = ['hold answer', 'cut before', 'half-open']

t.setTimeout(120_000 + (rounds + 5 + phases.length) * 30_000)

const postgres = await temporaryPostgres(t)

t.test('a start with other shards that is killed in any phase has lost nothing', async (t) => {
  const book = await CrashingBook.open(t, await postgres.createDatabase())
  for (const phase of phases) {
    await book.crash()
    const killed = book.spawn()
    await until(`it is ${phase}`, () => killed.hasEntered(phase))
    await killed.end('SIGKILL')
    await book.check()
  }
  t.ok(book.settled > 0, 'messages between shards were cut off')
})

t.test('so has one that is killed at one of its commits, before or after it', async (t) => {
  const book = await CrashingBook.open(t, await postgres.createDatabase())
  let strikes = 0
  // Some more, if by chance no message was on its way at any of the kills.
  for (let round = 0; round < rounds || (book.settled === 0 && round < rounds + 5); round++) {
    await book.crash()
    // The first start leaves a migration behind that neither commits nor hears that it is alone.
    const number = round === 0 ? 0 : below(commitsMax)
    const fate = round === 0 ? 'half-open' : fates[below(fates.length)]
    strikes += await book.killAtCommit(number, fate)
    await book.check()
  }
  t.comment(`${strikes} of ${rounds} were struck`)
  t.ok(book.settled > 0, 'messages between shards were cut off')
})

function below(limit: number): number {
  return Math.floor(Math.random() * limit)
}
