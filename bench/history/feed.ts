import { setTimeout as sleep } from 'node:timers/promises'
import { Worker } from 'node:worker_threads'
import { Redis } from 'ioredis'
import { noRedis, TemporaryRedis } from '../../test/redis.js'
import { BenchBook } from './book.js'
import { Delays } from './delays.js'
import type { FeedListenerJob, ListenerNews } from './feed-listener.js'
import { atMost, withUnit } from './figure.js'
import type { HistoryBench } from './options.js'
import { postPaced } from './paced-load.js'
import type { RedisListenerJob } from './redis-listener.js'

const p99MsTarget = 200
const perSecond = 5000
const batchSize = 50
const warmupSeconds = 2
const silenceMsMax = 30_000
const pollMs = 20

/** How long after their time events arrive: server-sent events, and Redis Streams if there is a Redis. */
export async function measureFeed(bench: HistoryBench) {
  return await BenchBook.use(
    bench,
    async () => undefined,
    async (book) => {
      const delays = await book.serve({}, async ({ port }) => {
        await book.untilFollowed()
        const one = await listenAndPost(bench, book, port, feedListener({ port, listeners: 1 }))
        const ten = await listenAndPost(bench, book, port, feedListener({ port, listeners: 10 }))
        return { one, ten }
      })
      const redis = await measureRedis(bench, book)
      await book.check('feed')
      const beside =
        redis === undefined ? 'no Redis here' : `Redis Streams, one reader: ${delaysText(redis)}`
      return [
        figureOf('event received, 1 listener', delays.one, beside),
        figureOf('event received, 10 listeners', delays.ten),
      ]
    },
  )
}

function figureOf(what: string, delays: Delays, beside?: string) {
  const own = delaysText(delays)
  return atMost(`${what}, p99`, delays.percentile(0.99), {
    ...{ limit: p99MsTarget, unit: 'ms' },
    beside: beside === undefined ? own : `${own}; ${beside}`,
  })
}

function delaysText(delays: Delays): string {
  const ms = (value: number) => withUnit(value, 'ms')
  return `p50 ${ms(delays.percentile(0.5))}, p99 ${ms(delays.percentile(0.99))}, max ${ms(delays.maxMs)}`
}

function feedListener(workerData: FeedListenerJob): Worker {
  return new Worker(new URL('./feed-listener.js', import.meta.url), { workerData })
}

/** The same over a Redis of its own, which the server delivers into; undefined where there is none. */
async function measureRedis(bench: HistoryBench, book: BenchBook): Promise<Delays | undefined> {
  if ((await noRedis()) !== false) return undefined
  const endings: (() => unknown)[] = []
  try {
    const redis = await TemporaryRedis.start({ teardown: (end) => endings.push(end) })
    return await book.serve({ REDIS_URL: redis.url }, async ({ port }) => {
      const streams = await deliveredStreams(book, redis.url)
      const workerData: RedisListenerJob = { url: redis.url, streams }
      const listener = new Worker(new URL('./redis-listener.js', import.meta.url), { workerData })
      return await listenAndPost(bench, book, port, listener)
    })
  } finally {
    for (const end of endings.toReversed()) await end()
  }
}

/** Waits until everything so far has been delivered; the Redis Streams, and their last ids. */
async function deliveredStreams(book: BenchBook, url: string): Promise<[string, string][]> {
  const redis = new Redis(url)
  try {
    const streams: [string, string][] = []
    await book.until('everything is in Redis', async () => {
      const { rows } = await book.client.query<{ id: number; head: string; book_id: string }>(
        'select id, head, (select id from daybook.book) as book_id from daybook.stream where head > 0',
      )
      streams.length = 0
      for (const { id, head, book_id } of rows) {
        const key = `daybook:feed:${book_id}:${id}`
        const [last] = await redis.xrevrange(key, '+', '-', 'COUNT', 1)
        if (last?.[0] !== `${head}-0`) return false
        streams.push([key, last[0]])
      }
      return true
    })
    return streams
  } finally {
    redis.disconnect()
  }
}

/** Posts while somebody listens; each listener has to hear each posting once. */
async function listenAndPost(
  bench: HistoryBench,
  book: BenchBook,
  port: number,
  listener: Worker,
): Promise<Delays> {
  let news: ListenerNews = { arrived: [undefined], counts: new Float64Array() }
  let failure: string | undefined
  listener.on('message', (latest: ListenerNews) => {
    news = latest
    failure ??= latest.failure
  })
  listener.on('error', (error) => {
    failure ??= (error as Error).message
  })
  const until = async (isThere: () => boolean) => {
    const deadline = Date.now() + silenceMsMax
    while (!isThere() && failure === undefined && Date.now() < deadline) await sleep(pollMs)
    if (failure !== undefined) throw new Error(failure)
  }
  const { feedSeconds } = bench.options.sizes
  const post = (seconds: number) =>
    postPaced(bench, book, { port, batchSize, perSecond, transfers: perSecond * seconds })
  try {
    await until(() => news.arrived.every((count) => count !== undefined))
    const { transfers: before } = await post(warmupSeconds)
    await until(() => news.arrived.every((count) => count === before))
    const countsBefore = news.counts
    const { transfers } = await post(feedSeconds)
    const all = before + transfers
    await until(() => news.arrived.every((count) => count === all))
    if (news.arrived.some((count) => count !== all)) {
      bench.faults.push(`feed: of ${all} postings listeners have heard ${news.arrived}`)
    }
    return new Delays(news.counts.map((count, ms) => count - countsBefore[ms]))
  } finally {
    await listener.terminate()
  }
}
