import { parentPort, workerData } from 'node:worker_threads'
import { systemClock } from '../../clock.js'
import { archivedStore } from '../../journal/archived-store.js'
import { digestChain } from '../../journal/digest.js'
import { impatientDatabase } from '../../journal/impatient-database.js'
import { postgresDatabase } from '../../journal/postgres.js'
import { postgresStore } from '../../journal/postgres-session.js'
import type { ToFeed } from './feed-messages.js'
import { ListenerSet } from './listener-set.js'

/** What the thread needs to know; plain data. */
export interface FeedTask {
  connectionString: string
  timeoutMs: number
  digestKey: Uint8Array | undefined
  /** Where archived records are read from. */
  archiveDirectory: string | undefined
}

/** Entry of the thread that reads the journal for those who listen to `GET /v1/feed`. */
const { connectionString, timeoutMs, digestKey, archiveDirectory } = workerData as FeedTask
const port = parentPort
if (port === null) throw new Error('this file is the entry of a worker thread')

const database = impatientDatabase(postgresDatabase(connectionString, timeoutMs), systemClock)
const journal = postgresStore(database)
const listeners = new ListenerSet({
  ...{ database, journal, clock: systemClock },
  store: archivedStore(journal, database, archiveDirectory),
  chain: digestChain(digestKey === undefined ? undefined : Buffer.from(digestKey)),
  tell: (news, transfer) => port.postMessage(news, transfer),
})
port.on('message', (message: ToFeed) => listeners.receive(message))
