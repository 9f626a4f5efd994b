import type { MessagePort } from 'node:worker_threads'
import { systemClock } from '../clock.js'
import { projectedPositions } from '../history/history-store.js'
import { archivedStore } from '../journal/archived-store.js'
import { digestChain } from '../journal/digest.js'
import { impatientDatabase } from '../journal/impatient-database.js'
import { postgresDatabase } from '../journal/postgres.js'
import { postgresStore } from '../journal/postgres-session.js'
import { type BuildProgress, buildSnapshot } from './build-snapshot.js'
import { openSnapshotStore } from './open-store.js'
import { Pace, pacedJournal, pacedSnapshots } from './paced-stores.js'
import { pruneSnapshots } from './prune.js'
import { type LastSnapshot, lastSnapshot } from './schedule.js'
import type { SnapshotStoreConfig } from './store.js'

/** What a build needs to know; plain data. */
export interface BuildTask {
  connectionString: string
  timeoutMs: number
  digestKey: Uint8Array | undefined
  /** Where archived records are read from. */
  archiveDirectory: string | undefined
  snapshots: SnapshotStoreConfig
  /** Transactions that a snapshot keeps of the whole book; older ones may be let go. */
  transactionsMax: number
  /** Snapshots that stay; older ones are removed. */
  keep: number
  /** Share of the time in which it works, above 0 and at most 1: the rest is for others. */
  share: number
  /** Gets a {@link BuildNews} now and then. */
  port: MessagePort
}

export type BuildNews = { progress: BuildProgress } | { warning: string }

/** What has been built; plain data. */
export interface BuildSummary {
  id: string
  /** False: the book had not moved since this snapshot. */
  isNew: boolean
  createdAt: number
  generation: number
  /** Records of the whole book at its position. */
  records: number
  /** `stream-seq`, one for each stream of the generation. */
  position: string[]
  accounts: number
  transactions: number
  holds: number
  bytes: number
  /** Older snapshots that have been removed. */
  removed: string[]
  last: LastSnapshot
}

/** Task of a piscina worker: builds a snapshot and removes what is no longer to be kept. */
export async function build(task: BuildTask): Promise<BuildSummary> {
  const { connectionString, timeoutMs, digestKey, port } = task
  const pace = new Pace(systemClock, task.share)
  const snapshots = pacedSnapshots(openSnapshotStore(task.snapshots), pace)
  const database = impatientDatabase(postgresDatabase(connectionString, timeoutMs), systemClock)
  const tell = (news: BuildNews) => port.postMessage(news)
  try {
    const { snapshot, isNew } = await buildSnapshot({
      database,
      store: pacedJournal(
        archivedStore(postgresStore(database), database, task.archiveDirectory),
        pace,
      ),
      snapshots,
      projected: () => projectedPositions(database),
      transactionsMax: task.transactionsMax,
      clock: systemClock,
      random: Math.random,
      chain: digestChain(digestKey === undefined ? undefined : Buffer.from(digestKey)),
      warn: (warning) => tell({ warning }),
      onProgress: (progress) => tell({ progress }),
    })
    const { id, bookId, createdAt, generation, records, streams, blocks } = snapshot
    const sum = (of: 'accounts' | 'transactions' | 'holds') =>
      streams.reduce((total, stream) => total + stream[of], 0)
    return {
      ...{ id, isNew, createdAt, generation, records },
      position: streams.map(({ stream, seq }) => `${stream}-${seq}`),
      accounts: sum('accounts'),
      transactions: sum('transactions'),
      holds: sum('holds'),
      bytes: blocks.reduce((total, { bytes }) => total + bytes, 0),
      last: lastSnapshot(snapshot),
      removed: (await pruneSnapshots(snapshots, bookId, task.keep)).removed,
    }
  } finally {
    await snapshots.close()
    port.close()
  }
}
