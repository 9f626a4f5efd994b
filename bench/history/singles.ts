import { setTimeout as sleep } from 'node:timers/promises'
import { Worker } from 'node:worker_threads'
import { median } from '../figures.js'
import type { Latency } from '../load.js'
import { percentiles } from '../meter.js'
import type { PacedJob, PacedNews } from '../paced-singles.js'
import { BenchBook } from './book.js'
import { withUnit } from './figure.js'
import type { HistoryBench } from './options.js'

const ratioTarget = 1.25
const perSecond = 3000

/** One of two servers, each with a book of its own. */
interface Side {
  book: BenchBook
  port: number
}

/**
 * What single postings feel of a follower: one server with, and one without, both of them there all
 * the time and loaded in turn.
 */
export async function measureSingles(bench: HistoryBench) {
  const generate = async () => undefined
  return await BenchBook.use(bench, generate, (plain) =>
    BenchBook.use(bench, generate, (followed) =>
      plain.serve({ DAYBOOK_HISTORY: 'off' }, ({ port: plainPort }) =>
        followed.serve({}, async ({ port }) => {
          const without = { book: plain, port: plainPort }
          const pairs = await runPairs(bench, { without, with: { book: followed, port } })
          await plain.checkJournal('singles')
          await followed.check('singles')
          return [figureOf(pairs)]
        }),
      ),
    ),
  )
}

interface Pair {
  without: Latency
  with: Latency
}

async function runPairs(
  bench: HistoryBench,
  sides: { without: Side; with: Side },
): Promise<Pair[]> {
  const pairs: Pair[] = []
  await warmUp(bench, sides)
  for (let number = 1; number <= bench.options.rounds; number++) {
    // Every second pair goes backwards.
    const names = ['without', 'with'] as const
    const pair: Partial<Pair> = {}
    for (const name of number % 2 === 1 ? names : names.toReversed()) {
      pair[name] = await run(bench, sides[name], bench.options.sizes.singlesSeconds)
      if (name === 'with') await sides.with.book.untilFollowed()
    }
    const whole = pair as Pair
    bench.print(
      `  pair ${number}: p99 ${withUnit(whole.without.p99, 'ms')} without, ${withUnit(whole.with.p99, 'ms')} with a follower`,
    )
    pairs.push(whole)
  }
  return pairs
}

async function warmUp(bench: HistoryBench, sides: { without: Side; with: Side }): Promise<void> {
  await run(bench, sides.without, bench.options.warmupSeconds)
  await run(bench, sides.with, bench.options.warmupSeconds)
  await sides.with.book.untilFollowed()
}

/** Posts to one of them; what is measured begins when the connections are there. */
async function run(bench: HistoryBench, { book, port }: Side, seconds: number): Promise<Latency> {
  await bench.cluster.checkpoint()
  const job: PacedJob = { port, accounts: book.accounts, perSecond }
  const generator = new Worker(new URL('../paced-singles.js', import.meta.url), {
    workerData: job,
  })
  const news: PacedNews[] = []
  generator.on('message', (each: PacedNews) => news.push(each))
  const exited = new Promise<void>((resolve, reject) => {
    generator.once('exit', () => resolve())
    generator.once('error', reject)
  })
  const startedMs = Date.now()
  try {
    await sleep((1 + seconds) * 1000, undefined, { signal: bench.stopping })
    generator.postMessage('stop')
    await exited
  } finally {
    await generator.terminate()
  }
  const acknowledged = news.reduce((sum, each) => sum + each.acknowledged, 0)
  const failed = news.reduce((sum, each) => sum + each.failed, 0)
  if (failed > 0) bench.faults.push(`singles: ${failed} requests failed`)
  // Each moves 0.01.
  book.acknowledge({ transfers: acknowledged, amount: BigInt(acknowledged) })
  const measured = news.filter(({ atMs }) => atMs >= startedMs + 1000)
  return percentiles(Float64Array.from(measured.flatMap(({ latenciesMs }) => latenciesMs)))
}

function figureOf(pairs: readonly Pair[]) {
  const ratios = pairs.map((pair) => pair.with.p99 / pair.without.p99)
  const ratio = median(ratios)
  const p99 = (name: keyof Pair) => withUnit(median(pairs.map((pair) => pair[name].p99)), 'ms')
  const p50 = (name: keyof Pair) => withUnit(median(pairs.map((pair) => pair[name].p50)), 'ms')
  return {
    what: `p99 of singles at ${perSecond.toLocaleString('en')}/s with a follower, times that without`,
    measured: `${ratio.toFixed(2)} (${Math.min(...ratios).toFixed(2)} to ${Math.max(...ratios).toFixed(2)}, pairs: ${pairs.length})`,
    wanted: `at most ${ratioTarget}`,
    reached: ratio <= ratioTarget,
    beside: `p99 ${p99('without')} without, ${p99('with')} with; p50 ${p50('without')}, ${p50('with')}`,
  }
}
