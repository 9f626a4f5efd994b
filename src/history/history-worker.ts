import { setPriority } from 'node:os'
import { parentPort, workerData } from 'node:worker_threads'
import { systemClock } from '../clock.js'
import { archivedStore } from '../journal/archived-store.js'
import { digestChain } from '../journal/digest.js'
import { postgresStore } from '../journal/postgres-session.js'
import type { FeedGauges } from './feed/redis-feed.js'
import { runRedisFeed } from './feed/run-redis-feed.js'
import type { FollowerProgress } from './follower.js'
import { historyDatabase } from './history-database.js'
import { Rest } from './rest.js'
import { runFollower } from './run-follower.js'
import type { WebhookGauges } from './webhooks/dispatcher.js'
import { deliverWebhooks } from './webhooks/run-webhooks.js'

/** What the thread needs to know; plain data. */
export interface HistoryTask {
  connectionString: string
  timeoutMs: number
  digestKey: Uint8Array | undefined
  /** Where archived records are read from. */
  archiveDirectory: string | undefined
  /** Where events are delivered to. */
  redis: { url: string; lengthMax: number } | undefined
  /** How webhooks are delivered. */
  webhooks?: { key: Uint8Array; allowsPrivate: boolean; timeoutMs: number } | undefined
  /** Between two looks at the journal; for tests. */
  restMs?: number
}

export type HistoryNews =
  | { progress: FollowerProgress }
  /** Another process writes the read models. */
  | { projected: [stream: number, seq: number][] }
  /** The follower has stopped, and tries again. */
  | { trouble: string }
  | { webhooks: WebhookGauges | undefined }
  /** Of the feed into Redis, or of webhooks. */
  | { warning: string }
  | { redis: FeedGauges[] }

/** Of a scale to 19, the most patient. */
const nice = 10

/** Entry of the thread that follows the journal for the whole process. */
const { connectionString, timeoutMs, digestKey, archiveDirectory, redis, webhooks, restMs } =
  workerData as HistoryTask
const port = parentPort
if (port === null) throw new Error('this file is the entry of a worker thread')
const tell = (news: HistoryNews) => port.postMessage(news)

const database = historyDatabase(connectionString, timeoutMs)
const parts = {
  store: archivedStore(postgresStore(database), database, archiveDirectory),
  chain: digestChain(digestKey === undefined ? undefined : Buffer.from(digestKey)),
  clock: systemClock,
}
if (redis !== undefined) {
  const listener = {
    onTrouble: (error: Error, stream: number) =>
      tell({ warning: `stream ${stream} to Redis: ${error.message}` }),
    onBegun: (stream: number, first: number) =>
      tell({ warning: `stream ${stream} begins in Redis with record ${first}` }),
  }
  const feedParts = { ...parts, random: Math.random, listener }
  void runRedisFeed(database, feedParts, { ...redis, timeoutMs }, (gauges) =>
    tell({ redis: gauges }),
  )
}
if (webhooks !== undefined) {
  const listener = { onTrouble: (message: string) => tell({ warning: message }) }
  const place = { connectionString, connectTimeoutMs: timeoutMs, archiveDirectory }
  const { chain, clock } = parts
  const onGauges = (gauges: WebhookGauges | undefined) => tell({ webhooks: gauges })
  void deliverWebhooks(webhooks, { place, chain, clock, listener }, onGauges)
}
// Posting comes before rows, Redis and webhooks. On Linux this is of the thread alone, elsewhere it would be of the process.
if (process.platform === 'linux') setPriority(nice)

const rest = new Rest()
// The only message there is: a reader waits.
port.on('message', () => rest.interrupt())
await runFollower(
  { ...parts, database },
  {
    onProgress: (progress) => tell({ progress }),
    onProjected: (projected) => tell({ projected }),
    onTrouble: (error) => tell({ trouble: error.message }),
  },
  { rest, restMs },
)
