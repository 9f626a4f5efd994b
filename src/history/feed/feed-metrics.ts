import { Gauge, type Registry } from 'prom-client'
import type { FeedListenerGauges } from './feed-thread.js'
import type { FeedGauges } from './redis-feed.js'

/** What the metrics of the feed are taken from. */
export interface FeedSources {
  /** Who listens to GET /v1/feed; undefined until the node serves. */
  feed?(): FeedListenerGauges | undefined
  /** The delivery into Redis, stream by stream. */
  redis?(): readonly FeedGauges[]
}

/** How the channels of the feed are doing. */
export function watchFeeds(register: Registry, { feed, redis }: FeedSources): void {
  const registers = [register]
  for (const [name, help, read] of feed === undefined ? [] : listenerGauges) {
    new Gauge({
      ...{ name: `daybook_feed_${name}`, help, registers },
      collect() {
        const gauges = feed?.()
        this.set(gauges === undefined ? 0 : read(gauges))
      },
    })
  }
  for (const [name, help, read] of redis === undefined ? [] : redisGauges) {
    new Gauge({
      ...{ name: `daybook_redis_feed_${name}`, help, labelNames: ['stream'], registers },
      collect() {
        this.reset()
        for (const of of redis?.() ?? []) this.set({ stream: String(of.stream) }, read(of))
      },
    })
  }
}

type GaugeList<Source> = readonly [name: string, help: string, read: (of: Source) => number][]

const listenerGauges: GaugeList<FeedListenerGauges> = [
  ['listeners', 'Who listens to GET /v1/feed now', ({ listeners }) => listeners],
  [
    'lag_records',
    'Records that the listener furthest behind has before it',
    ({ lagRecords }) => lagRecords,
  ],
  ['events', 'Events sent to listeners, to each on its own', ({ events }) => events],
  ['cut_off', 'Listeners that took nothing and were cut off', ({ cutOff }) => cutOff],
]

const redisGauges: GaugeList<FeedGauges> = [
  ['position', 'Seq up to which all has been delivered', ({ position }) => position],
  ['lag_records', 'Committed records that Redis does not have yet', ({ lag }) => lag],
  ['connected', '1 while it delivers', ({ isConnected }) => Number(isConnected)],
  ['delivered', 'Events that this process has delivered', ({ delivered }) => delivered],
  ['begun', 'How often this process has begun the stream anew', ({ begun }) => begun],
]
