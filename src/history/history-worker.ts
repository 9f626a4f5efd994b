import { parentPort, workerData } from 'node:worker_threads'
import { systemClock } from '../clock.js'
import { archivedStore } from '../journal/archived-store.js'
import { digestChain } from '../journal/digest.js'
import { postgresStore } from '../journal/postgres-session.js'
import type { FollowerProgress } from './follower.js'
import { historyDatabase } from './history-database.js'
import { runFollower } from './run-follower.js'

/** What the thread needs to know; plain data. */
export interface HistoryTask {
  connectionString: string
  timeoutMs: number
  digestKey: Uint8Array | undefined
  /** Where archived records are read from. */
  archiveDirectory: string | undefined
}

export type HistoryNews = { progress: FollowerProgress } | { trouble: string }

/** Entry of the thread that follows the journal for the whole process. */
const { connectionString, timeoutMs, digestKey, archiveDirectory } = workerData as HistoryTask
const port = parentPort
if (port === null) throw new Error('this file is the entry of a worker thread')
const tell = (news: HistoryNews) => port.postMessage(news)

const database = historyDatabase(connectionString, timeoutMs)
await runFollower(
  {
    database,
    store: archivedStore(postgresStore(database), database, archiveDirectory),
    chain: digestChain(digestKey === undefined ? undefined : Buffer.from(digestKey)),
    clock: systemClock,
  },
  {
    onProgress: (progress) => tell({ progress }),
    onTrouble: (error) => tell({ trouble: error.message }),
  },
)
