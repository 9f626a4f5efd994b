import { setTimeout as wait } from 'node:timers/promises'
import { archivedStore } from '../../journal/archived-store.js'
import { impatientDatabase } from '../../journal/impatient-database.js'
import { postgresDatabase } from '../../journal/postgres.js'
import { postgresStore } from '../../journal/postgres-session.js'
import { Dispatcher, type DispatcherParts, type WebhookGauges } from './dispatcher.js'
import { type SenderOptions, WebhookSender } from './webhook-sender.js'

/** Where the book is. */
export interface BookPlace {
  connectionString: string
  connectTimeoutMs: number
  archiveDirectory: string | undefined
}

/** After an error, before Postgres is asked again. */
const retryMs = 1000

/**
 * Delivers webhooks for as long as its thread lives, whatever happens to Postgres meanwhile; tells
 * how it is doing, and with undefined that it is not delivering.
 */
export async function deliverWebhooks(
  settings: SenderOptions & { key: Uint8Array },
  { place, ...parts }: Pick<DispatcherParts, 'chain' | 'clock' | 'listener'> & { place: BookPlace },
  onGauges: (gauges: WebhookGauges | undefined) => void,
): Promise<never> {
  const { connectionString, connectTimeoutMs, archiveDirectory } = place
  const database = impatientDatabase(
    postgresDatabase(connectionString, connectTimeoutMs),
    parts.clock,
  )
  const all: DispatcherParts = {
    ...parts,
    database,
    store: archivedStore(postgresStore(database), database, archiveDirectory),
    random: Math.random,
    key: Buffer.from(settings.key),
    sender: new WebhookSender(settings),
    counts: { delivered: 0, failedAttempts: 0 },
  }
  for (;;) {
    let dispatcher: Dispatcher | undefined
    try {
      dispatcher = await Dispatcher.open(all)
      await dispatcher.run(forEver, onGauges)
    } catch (error) {
      all.listener.onTrouble(`webhooks: ${(error as Error).message}`)
    } finally {
      dispatcher?.close()
    }
    onGauges(undefined)
    await wait(retryMs)
  }
}

/** The thread ends; what it had not written yet is delivered again. */
const forEver = new AbortController().signal
