import { setTimeout as wait } from 'node:timers/promises'
import type { Database } from '../../journal/database.js'
import { readLayout } from '../../journal/take-over.js'
import { type FeedGauges, RedisFeed, type RedisFeedParts } from './redis-feed.js'
import type { RedisAddress, Retention } from './redis-stream.js'

/** After an error, before the layout is asked for again. */
const retryMs = 1000

/** Between two tellings of how the delivery is doing. */
const gaugesPeriodMs = 1000

/** Delivers the events of all streams into Redis for as long as its thread lives. */
export async function runRedisFeed(
  database: Database,
  parts: RedisFeedParts,
  options: RedisAddress & Retention,
  onGauges: (gauges: FeedGauges[]) => void,
): Promise<void> {
  for (;;) {
    try {
      const connection = await database.connect({ name: 'daybook feed' })
      const { bookId, closed, layout } = await readLayout(connection).finally(() =>
        connection.end(),
      )
      const streams = [
        ...closed.flat().map((stream) => ({ stream, isClosed: true })),
        ...layout.streams.map((stream) => ({ stream, isClosed: false })),
      ]
      const feed = new RedisFeed({ ...options, bookId, streams }, parts)
      // Never cleared: what has been delivered of closed streams stays true.
      setInterval(() => onGauges(feed.gauges), gaugesPeriodMs)
      return await feed.run(forEver)
    } catch (error) {
      parts.listener.onTrouble(error as Error, 0)
      await wait(retryMs)
    }
  }
}

/** The thread ends; its feed has nothing to finish. */
const forEver = new AbortController().signal
