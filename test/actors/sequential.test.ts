import fc from 'fast-check'
import t, { type Test } from 'tap'
import { refusals } from '../../src/actors/refusals.js'
import { offDomain } from '../off-domain.js'
import { temporaryPostgres } from '../postgres.js'
import { emptyBook } from './book-database.js'
import type { ModelLimits } from './model.js'
import { ModelRun } from './model-run.js'
import { prelude, steps } from './scenario.js'

t.setTimeout(1_800_000)

/** Refusals that no sequence of single commands meets. */
const notHere = new Map([
  ['funds_reserved', 'needs two commands at a time: concurrent.test.ts'],
  ['striped_without_limits', 'accounts of the model are not striped: striped.test.ts'],
  ['journal_unavailable', 'needs a journal that stands still: concurrent.test.ts'],
  ['old_id_not_checked', 'needs read models: let-go.test.ts'],
  ['projections_behind', 'needs read models: let-go.test.ts'],
])

t.test('random commands, one after the other, answer as a plain model does', async (t) => {
  const postgres = await temporaryPostgres(t)
  for (const shards of [1, 2, 4, 7]) {
    await t.test(`${shards} shards`, async (t) => {
      offDomain(t)
      await compareWithModel(t, await postgres.createDatabase(), shards)
    })
  }
})

async function compareWithModel(t: Test, connectionString: string, shards: number): Promise<void> {
  const hits = new Map<string, number>()
  const seed = Number(process.env.DAYBOOK_TEST_SEED ?? 20240229)
  const property = fc.asyncProperty(limits, steps(60), async (limits, steps) => {
    await emptyBook(connectionString)
    const own = shards > 1 ? roomy : limits
    const engine = { connectionString, shards, shard: { limits: own } }
    const run = await ModelRun.start({ engine, limits: own, hits })
    try {
      for (const step of [...prelude, ...steps]) {
        await run.take(step)
        run.assertLimits()
      }
      await run.finish()
    } finally {
      await run.engine.close()
    }
  })
  const numRuns = Number(process.env.DAYBOOK_TEST_RUNS ?? (shards === 1 ? 100 : 12))
  await fc.assert(property, {
    numRuns,
    seed,
    path: process.env.DAYBOOK_TEST_PATH,
    // Shrinking a failure may take as long as it is useful, but not for ever.
    interruptAfterTimeLimit: Number(process.env.DAYBOOK_TEST_LIMIT ?? 120_000) + numRuns * 2000,
    markInterruptAsFailure: true,
    endOnFailure: process.env.DAYBOOK_TEST_SHRINK === 'no',
  })
  t.comment([...hits].map(([code, count]) => `${code} ${count}`).join(', '))
  // A short run has not the time to meet them all.
  if (numRuns < 100) return
  for (const { code } of refusals) {
    if (notHere.has(code)) t.notOk(hits.has(code), `${code} is not met: ${notHere.get(code)}`)
    else t.ok(hits.has(code), `${code} is met`)
  }
}

const roomy = { accountsMax: 1000, transactionsMax: 1000 }

/** Now and then a process with little room. */
const limits: fc.Arbitrary<ModelLimits> = fc.oneof(
  { weight: 9, arbitrary: fc.constant(roomy) },
  { weight: 1, arbitrary: fc.constant({ accountsMax: 8, transactionsMax: 12 }) },
)
