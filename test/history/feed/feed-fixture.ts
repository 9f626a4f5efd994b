import type { Redis } from 'ioredis'
import type { Clock } from '../../../src/clock.js'
import { systemClock } from '../../../src/clock.js'
import type { FeedEvent } from '../../../src/history/feed/feed-event.js'
import { RedisFeed, type RedisFeedOptions } from '../../../src/history/feed/redis-feed.js'
import { digestChain } from '../../../src/journal/digest.js'
import { until } from '../../journal/faulty-store.js'
import type { Teardown } from '../../postgres.js'
import type { TemporaryRedis } from '../../redis.js'
import type { FeedJournal } from './journal-fixture.js'

export const bookId = 'b0'
export const key = `daybook:feed:${bookId}:1`

/** A feed of stream 1 that runs in this process, and what it says. */
export interface RunningFeed {
  feed: RedisFeed
  troubles: Error[]
  /** The seqs with which the stream was begun. */
  begun: number[]
  stop(): Promise<void>
}

export function feedOptions(
  redis: TemporaryRedis,
  options: Partial<RedisFeedOptions> = {},
): RedisFeedOptions {
  const streams = [{ stream: 1, isClosed: false }]
  return { url: redis.url, timeoutMs: 10_000, bookId, streams, ...options }
}

export function startFeed(
  t: Teardown,
  { store }: Pick<FeedJournal, 'store'>,
  options: RedisFeedOptions,
  clock: Clock = systemClock,
): RunningFeed {
  const [troubles, begun]: [Error[], number[]] = [[], []]
  const feed = new RedisFeed(options, {
    ...{ store, clock, chain: digestChain(), random: () => 0 },
    listener: {
      onTrouble: (error) => troubles.push(error),
      onBegun: (_stream, first) => begun.push(first),
    },
  })
  const abort = new AbortController()
  const run = feed.run(abort.signal)
  const stop = async () => {
    abort.abort()
    await run
  }
  t.teardown(stop)
  return { feed, troubles, begun, stop }
}

/** Waits until the feed has delivered all that there is. */
export async function delivered({ feed }: RunningFeed, journal: FeedJournal): Promise<void> {
  await until(() => feed.gauges.every(({ position }) => position === journal.head))
}

/** What is in the stream, after each entry has been looked at. */
export async function eventsIn(client: Redis): Promise<FeedEvent[]> {
  const entries = await client.xrange(key, '-', '+')
  return entries.map(([id, [typeName, type, timeName, time, eventName, text]]) => {
    const event = JSON.parse(text) as FeedEvent
    const isRight =
      `${typeName} ${timeName} ${eventName}` === 'type time event' &&
      id === `${event.position.slice(2)}-0` &&
      type === event.type &&
      Number(time) === Date.parse(event.time)
    if (!isRight) throw new Error(`entry ${id} does not go with its event: ${text}`)
    return event
  })
}

/** The marker: the seq from which on everything is there; undefined if there is none. */
export async function firstIn(client: Redis): Promise<number | undefined> {
  const first = await client.hget(`${key}:state`, 'first')
  return first === null ? undefined : Number(first)
}
