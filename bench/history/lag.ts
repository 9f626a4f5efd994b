import { setTimeout as sleep } from 'node:timers/promises'
import { percentiles } from '../meter.js'
import { BenchBook } from './book.js'
import { Delays } from './delays.js'
import { atMost, rateText, withUnit } from './figure.js'
import type { HistoryBench } from './options.js'
import { postPaced } from './paced-load.js'

const p99SecondsTarget = 1
const perSecond = 10_000
const batchSize = 100
/** What is read late by this counts as lag. */
const pollMs = 20

/**
 * How long after it was recorded a transaction can be read, for each of them: from its time in the
 * journal to the first look that finds the progress of the read models at or beyond it. The gauge
 * daybook_history_lag_seconds is what the follower thinks of itself; this is what a reader sees.
 */
export async function measureLag(bench: HistoryBench) {
  const { seconds, warmupSeconds } = bench.options
  return await BenchBook.use(
    bench,
    async () => undefined,
    (book) =>
      book.serve({}, async ({ port }) => {
        await book.untilFollowed()
        const looks = new Looks(book)
        const fromMs = Date.now() + warmupSeconds * 1000
        const posted = await postPaced(bench, book, {
          ...{ port, batchSize, perSecond },
          transfers: perSecond * (warmupSeconds + seconds),
        })
        await book.check('lag')
        const lags = await looks.end(fromMs)
        const postings = percentiles(posted.latenciesMs)
        const lag = (share: number) => withUnit(lags.percentile(share) / 1000, 's')
        return [
          atMost('lag, p99', lags.percentile(0.99) / 1000, {
            ...{ limit: p99SecondsTarget, unit: 's' },
            beside: `p50 ${lag(0.5)}, p99.9 ${lag(0.999)}, max ${withUnit(lags.maxMs / 1000, 's')}`,
          }),
          {
            what: 'postings acknowledged meanwhile',
            measured: rateText(posted.transfers / posted.seconds),
            beside: `batches of ${batchSize}: p50 ${withUnit(postings.p50, 'ms')}, p99 ${withUnit(postings.p99, 'ms')}`,
          },
        ]
      }),
  )
}

interface Look {
  seq: number
  atMs: number
}

/** Looks again and again how far the read models are, over a connection of its own. */
class Looks {
  readonly #book: BenchBook
  readonly #looking: Promise<void>
  /** By stream, when a seq was first found there. */
  readonly #looks = new Map<number, Look[]>()
  #isEnding = false

  constructor(book: BenchBook) {
    this.#book = book
    this.#looking = this.#look()
    this.#looking.catch(() => undefined)
  }

  /** The lags of all transactions recorded after a moment; everything has been followed. */
  async end(fromMs: number): Promise<Delays> {
    this.#isEnding = true
    await this.#looking
    const { rows } = await this.#book.client.query<{
      stream: number
      seq: string
      ms: string
      n: string
    }>(
      // Those of one millisecond count as the last of them.
      `select stream, max(seq) as seq, (extract(epoch from recorded_at) * 1000)::bigint as ms,
         count(*) as n
       from daybook_history.transaction where recorded_at >= $1
       group by stream, recorded_at order by stream, recorded_at`,
      [new Date(fromMs)],
    )
    const lags = new Delays()
    const next = new Map<number, number>()
    for (const { stream, seq, ms, n } of rows) {
      const looks = this.#looks.get(stream) ?? []
      let index = next.get(stream) ?? 0
      while (looks[index].seq < Number(seq)) index += 1
      next.set(stream, index)
      lags.add(looks[index].atMs - Number(ms), Number(n))
    }
    return lags
  }

  async #look(): Promise<void> {
    while (!this.#isEnding) {
      const { rows } = await this.#book.client.query<{ stream: number; seq: string }>({
        name: 'progress',
        text: 'select stream, seq from daybook_history.progress',
      })
      const atMs = Date.now()
      for (const { stream, seq } of rows) this.#note(stream, { seq: Number(seq), atMs })
      await sleep(pollMs)
    }
  }

  #note(stream: number, look: Look): void {
    const looks = this.#looks.get(stream) ?? []
    this.#looks.set(stream, looks)
    if (look.seq !== looks.at(-1)?.seq) looks.push(look)
  }
}
