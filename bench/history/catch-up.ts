import { setTimeout as sleep } from 'node:timers/promises'
import { BenchBook, type Followed } from './book.js'
import { rateAtLeast, rateText } from './figure.js'
import type { HistoryBench } from './options.js'
import { postPaced } from './paced-load.js'

const perSecondTarget = 30_000
const batchSize = 1000
/** Faster than they are followed; how fast they are written is not measured here. */
const postedPerSecond = 50_000
const pollMs = 10

/** A server that has not followed for a while, and catches up with its indexes in place. */
export async function measureCatchUp(bench: HistoryBench) {
  const { records, catchUpRecords } = bench.options.sizes
  return await BenchBook.use(
    bench,
    (journal) => journal.addPostings(records),
    async (book) => {
      await book.rebuild()
      await book.serve({ DAYBOOK_HISTORY: 'off' }, ({ port }) =>
        postPaced(bench, book, {
          ...{ port, batchSize, transfers: catchUpRecords },
          perSecond: postedPerSecond,
        }),
      )
      await bench.cluster.checkpoint()
      const before = await book.followed()
      const { rate, wholeSeconds } = await book.serve({}, async () => {
        const servedAt = performance.now()
        const whole = await watch(bench, book, before)
        return { ...whole, wholeSeconds: (performance.now() - servedAt) / 1000 }
      })
      await book.check('catch-up')
      return [
        rateAtLeast('records followed, indexes in place', rate, {
          limit: perSecondTarget,
          beside: `${wholeSeconds.toFixed(1)} s after the server serves all is there, ${rateText(catchUpRecords / wholeSeconds)}`,
        }),
      ]
    },
  )
}

/** The rate from the first look at which something had been followed to the one at which all had. */
async function watch(
  { stopping }: HistoryBench,
  book: BenchBook,
  before: Followed,
): Promise<{ rate: number }> {
  let first: { atMs: number; records: number } | undefined
  for (;;) {
    stopping.throwIfAborted()
    const { records, recordsTotal } = await book.followed()
    const atMs = performance.now()
    if (first === undefined && records > before.records) first = { atMs, records }
    if (records === recordsTotal) {
      if (first === undefined || first.records === records) throw new Error('there was too little')
      return { rate: (records - first.records) / ((atMs - first.atMs) / 1000) }
    }
    await sleep(pollMs)
  }
}
