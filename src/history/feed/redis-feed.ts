import type { Clock } from '../../clock.js'
import type { DigestChain } from '../../journal/batch.js'
import type { JournalSession, JournalStore } from '../../journal/session.js'
import { NoSuchRecordError } from '../../journal/windows.js'
import {
  assertRedisUrl,
  type RedisAddress,
  type RedisPosition,
  RedisStream,
  type Retention,
} from './redis-stream.js'
import { keptAfter, pause, streamTail, type TailBatch } from './stream-tail.js'

/**
 * Delivers the events of a book into Redis Streams: one for each stream of the journal, with the key
 * `<prefix>:<bookId>:<stream>`, the id `<seq>-0`, and the fields `type`, `time` (ms since 1970) and
 * `event` (JSON, feed-event.ts). What else there is in Redis, and why: redis-scripts.ts.
 *
 * What a reader may rely on: it keeps the seq X that it has dealt with, reads entries after X, and
 * then looks at `first` in `<key>:state`. If X + 1 >= first, it has missed nothing. Otherwise, or if
 * there is no `first`, events after X have been trimmed, or Redis has lost them: they are in the
 * journal. An entry may come again after Redis has lost data; its id says that it is known.
 *
 *     connecting ──▶ placing ──▶ delivering ──▶ done   (a closed stream, all of it)
 *          ▲            │            │
 *          └── pause ◀──┴────────────┘   (an error of Redis or of Postgres, or another feed is ahead)
 *
 * Placing goes on from the position in Redis. If there is none, or the journal has no longer what
 * follows it, the stream is begun anew, and `first` tells readers so in the same step. If the
 * journal has not got so far, or goes on otherwise, the feed stops there and says so again and
 * again: Redis then has what the journal does not know, and only a person can tell which is right.
 */
export interface RedisFeedOptions extends RedisAddress, Retention {
  bookId: string
  /** Of all generations; those of the earlier ones are closed, and end. */
  streams: readonly { stream: number; isClosed: boolean }[]
  /** Seq after which a stream begins that is not in Redis; absent: all that the journal still has. */
  startAfter?: (stream: number) => number
  prefix?: string
}

export interface RedisFeedParts {
  /** One that gives up a silent server (impatient-database.ts). */
  store: JournalStore
  chain: DigestChain
  clock: Clock
  /** 0 to 1, for the jitter of retries. */
  random: () => number
  listener: RedisFeedListener
}

export interface RedisFeedListener {
  /** Something failed that will be tried again. */
  onTrouble(error: Error, stream: number): void
  /** A stream has been begun anew: readers find nothing before `first`. */
  onBegun(stream: number, first: number): void
}

/** How the delivery of a stream is doing, for metrics. */
export interface FeedGauges {
  stream: number
  /** Seq up to which all has been delivered, and the last one committed that has been seen. */
  position: number
  head: number
  /** Records between them. Stands still while Postgres is away. */
  lag: number
  isConnected: boolean
  /** Events that this process has delivered, and how often it began the stream anew. */
  delivered: number
  begun: number
}

interface Delivery {
  stream: number
  isClosed: boolean
  gauges: Omit<FeedGauges, 'stream' | 'lag'>
  failures: number
  /** The journal did not have the record after the position. */
  isGone: boolean
}

const prefixDefault = 'daybook:feed'
const retryDelayMsMin = 20
const retryDelayMsMax = 5000
/** While nothing happens, how often to see whether Redis still has what it was given. */
const checkPeriodMs = 1000

export class RedisFeed {
  readonly #options: RedisFeedOptions
  readonly #parts: RedisFeedParts
  readonly #deliveries: Delivery[]

  /** Throws if the URL is not one of Redis. */
  constructor(options: RedisFeedOptions, parts: RedisFeedParts) {
    assertRedisUrl(options.url)
    this.#options = options
    this.#parts = parts
    this.#deliveries = options.streams.map((stream) => ({
      ...stream,
      gauges: { position: 0, head: 0, isConnected: false, delivered: 0, begun: 0 },
      failures: 0,
      isGone: false,
    }))
  }

  /** Delivers until the signal aborts, or all streams are closed and delivered. Never rejects. */
  async run(signal: AbortSignal): Promise<void> {
    await Promise.all(this.#deliveries.map((delivery) => this.#deliver(delivery, signal)))
  }

  get gauges(): FeedGauges[] {
    return this.#deliveries.map(({ stream, gauges }) => ({
      stream,
      ...gauges,
      lag: Math.max(0, gauges.head - gauges.position),
    }))
  }

  async #deliver(delivery: Delivery, signal: AbortSignal): Promise<void> {
    const { clock, random, listener } = this.#parts
    while (!signal.aborted) {
      try {
        await this.#connected(delivery, signal)
        return
      } catch (error) {
        if (signal.aborted) return
        listener.onTrouble(error as Error, delivery.stream)
      } finally {
        delivery.gauges.isConnected = false
      }
      const delayMs = Math.min(retryDelayMsMin * 2 ** delivery.failures, retryDelayMsMax)
      delivery.failures += 1
      await pause(clock, delayMs * (0.5 + random() / 2), signal)
    }
  }

  /** Returns when the stream is done or the signal aborts; rejects with whatever comes between. */
  async #connected(delivery: Delivery, signal: AbortSignal): Promise<void> {
    const { prefix = prefixDefault, bookId } = this.#options
    const key = `${prefix}:${bookId}:${delivery.stream}`
    const redis = await RedisStream.connect(this.#options, key, signal)
    let session: JournalSession | undefined
    const close = () => {
      redis.close()
      session?.close()
    }
    signal.addEventListener('abort', close, { once: true })
    try {
      session = await this.#parts.store.open()
      if (!signal.aborted) await this.#tail(delivery, { redis, session }, signal)
    } finally {
      signal.removeEventListener('abort', close)
      close()
    }
  }

  async #tail(
    delivery: Delivery,
    { redis, session }: { redis: RedisStream; session: JournalSession },
    signal: AbortSignal,
  ): Promise<void> {
    const { chain, clock } = this.#parts
    const { stream, isClosed, gauges } = delivery
    const { seq: afterSeq, digest } = await this.#place(delivery, redis, session)
    gauges.position = afterSeq
    gauges.isConnected = true
    let checkedAt = clock.monotonic()
    try {
      const options = { stream, afterSeq, digest, isClosed, chain, clock, signal }
      for await (const batch of streamTail(session, options)) {
        gauges.head = batch.head
        const isIdle = batch.seq === gauges.position
        if (isIdle && clock.monotonic() < checkedAt + checkPeriodMs) continue
        await this.#append(delivery, redis, batch)
        checkedAt = clock.monotonic()
      }
    } catch (error) {
      delivery.isGone = error instanceof NoSuchRecordError
      throw error
    }
  }

  async #append(delivery: Delivery, redis: RedisStream, batch: TailBatch): Promise<void> {
    const { stream, gauges } = delivery
    const { lengthMax, ageMsMax } = this.#options
    const oldestMs = ageMsMax === undefined ? 0 : this.#parts.clock.now() - ageMsMax
    const isThere = await redis.append(
      { ...batch, afterSeq: gauges.position },
      { oldestMs, ...(lengthMax === undefined ? {} : { lengthMax }) },
    )
    if (!isThere) throw new StreamMovedError(stream)
    gauges.position = batch.seq
    gauges.delivered += batch.events.length
    delivery.failures = 0
  }

  /** Where to go on: after what Redis has, or after the beginning that is made now. */
  async #place(
    delivery: Delivery,
    redis: RedisStream,
    session: JournalSession,
  ): Promise<RedisPosition> {
    const { stream } = delivery
    const position = await redis.position()
    if (position !== undefined && !delivery.isGone) return position
    const kept = await keptAfter(session, stream)
    delivery.isGone = false
    // The journal has what follows, and yet it was not there: that is damage, not archiving.
    if (position !== undefined && kept <= position.seq) return position
    const afterSeq = Math.max(kept, this.#options.startAfter?.(stream) ?? 0)
    if (!(await redis.begin(position?.seq, afterSeq))) throw new StreamMovedError(stream)
    delivery.gauges.begun += 1
    this.#parts.listener.onBegun(stream, afterSeq + 1)
    return { seq: afterSeq }
  }
}

/** Redis has lost something, or another feed delivers into the same stream: look where it is. */
class StreamMovedError extends Error {
  readonly code = 'stream_moved'

  constructor(stream: number) {
    super(`the stream in Redis of stream ${stream} is not where this feed left it`)
  }
}
