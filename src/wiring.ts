import type { Logger } from 'pino'
import { Router } from './actors/router.js'
import type { ShardThread } from './actors/shard-thread.js'
import type { ServingParts } from './api/context.js'
import type { WebhookAccess } from './api/webhook-access.js'
import type { Clock } from './clock.js'
import type { Config } from './config.js'
import { FeedThread } from './history/feed/feed-thread.js'
import { HistoryPool } from './history/history-pool.js'
import { ReceiverStore } from './history/webhooks/receiver-store.js'
import { WebhookSender } from './history/webhooks/webhook-sender.js'
import { archivedReader, archivedStore } from './journal/archived-store.js'
import { postgresDatabase } from './journal/postgres.js'
import { postgresStore } from './journal/postgres-session.js'
import { postgresReader } from './journal/reader.js'
import { slotCount } from './key.js'
import type { Layout } from './layout.js'

export interface WiringParts {
  config: Config
  log: Logger
  clock: Clock
  connectionString: string
  shards: readonly ShardThread[]
  layout: Layout
  /** A reader waits for the read models. */
  hurryHistory(): void
}

/** What the API asks. The one place that knows that all shards are in this process. */
export function wire(parts: WiringParts): ServingParts {
  const { config, log, clock, connectionString, shards, layout, hurryHistory } = parts
  const { process } = config
  const limits = {
    inFlightCommandsMax: process.inFlightCommandsMax,
    inFlightBytesMax: process.inFlightCommandsMax * 4096,
    requestTimeoutMs: process.requestTimeoutMs,
  }
  const ports = shards.map((shard, index) => ({
    stream: layout.streams[index],
    send: (frame: ArrayBuffer) => shard.send(frame),
  }))
  const shardOfSlot = Int32Array.from({ length: slotCount }, (_, slot) => layout.shardOf(slot))
  const onError = (error: Error) => log.warn({ err: error }, 'a connection for reading broke')
  const { commitTimeoutMs: timeoutMs } = process
  const database = postgresDatabase(connectionString, timeoutMs)
  const store = archivedStore(postgresStore(database), database, process.archiveDirectory)
  return {
    router: new Router(clock, limits, ports, shardOfSlot),
    journal: archivedReader(postgresReader(connectionString, { timeoutMs, onError }), store),
    feed: newFeed(parts),
    history: process.history
      ? new HistoryPool(connectionString, { timeoutMs, clock, onError, onWaiting: hurryHistory })
      : undefined,
    webhooks: process.history ? webhookAccess(parts) : undefined,
  }
}

/** Reads the journal and no model of it, so that it is there whether a history is kept or not. */
function newFeed({ config, log, clock, connectionString }: WiringParts): FeedThread {
  const { process, book } = config
  return new FeedThread(
    {
      connectionString,
      timeoutMs: process.commitTimeoutMs,
      digestKey: book.digestKey,
      archiveDirectory: process.archiveDirectory,
    },
    {
      ...process.feed,
      clock,
      beginTimeoutMs: process.requestTimeoutMs,
      onTrouble: (message) => log.warn({ feed: true }, message),
      onEnd: (error) =>
        log.error(
          { err: error },
          'the thread that reads for the feed has ended; it is started again',
        ),
    },
  )
}

function webhookAccess({ config, log, connectionString }: WiringParts): WebhookAccess {
  const { commitTimeoutMs: timeoutMs, webhooks } = config.process
  const onError = (error: Error) => log.warn({ err: error }, 'a connection for webhooks broke')
  return {
    store: new ReceiverStore(connectionString, { timeoutMs, onError }),
    sender: new WebhookSender(webhooks),
    key: webhooks.key,
    policy: webhooks,
  }
}

/** Ends what {@link wire} has opened; the shards have stopped. */
export async function unwire({ router, journal, history, webhooks }: ServingParts): Promise<void> {
  router.close()
  await journal.close().catch(() => undefined)
  await history?.close().catch(() => undefined)
  await webhooks?.store.close().catch(() => undefined)
  webhooks?.sender.close()
}
