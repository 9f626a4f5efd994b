import type { Clock } from '../clock.js'
import type { DigestChain } from '../journal/batch.js'
import type { JournalStore } from '../journal/session.js'
import type { SnapshotStore } from '../snapshots/store.js'
import type { BookLimits } from './book.js'
import type { FindTransactions } from './recall.js'
import type { ShardBounds } from './shard-bounds.js'
import type { RecoveryPlan, RecoveryProgress } from './shard-recovery.js'

export interface ShardOptions {
  plan: RecoveryPlan
  /** Names this process in the stream's row. */
  owner: string
  leaseMs: number
  commitTimeoutMs: number
  /** A command that has waited longer in the mailbox is refused: not accepted. */
  admissionTimeoutMs: number
  limits: BookLimits
  /** Somebody follows the journal, so that memory that is full will have room again. */
  isFollowed?: boolean
  /** What is usual if absent. */
  bounds?: ShardBounds
}

export interface ShardParts {
  clock: Clock
  store: JournalStore
  /** Needed by a plan with a snapshot. */
  snapshots?: Pick<SnapshotStore, 'readBlock'>
  /** Where transactions are that were let go. */
  findTransactions: FindTransactions
  random: () => number
  chain: DigestChain
  /** Sends a frame of answers to the router. */
  send(frame: ArrayBuffer): void
  /** Sends a frame to another shard; frames to one shard arrive in order. */
  sendToPeer(shard: number, frame: ArrayBuffer): void
  /** The shard cannot go on; the process must stop. */
  onStopped(fault: Error): void
  onProgress(progress: RecoveryProgress): void
  /** Something failed that is being tried again. */
  onTrouble(error: Error): void
  observer: ShardObserver
}

/** Told what happens, for metrics. */
export interface ShardObserver {
  onBatch(records: number, bytes: number, commitMs: number): void
  onRefused(refusal: number): void
  onExpired(): void
  onStall(): void
}

/** How full everything is, for metrics. */
export interface ShardGauges {
  mailboxCommands: number
  openRecords: number
  waitingAnswersBytes: number
  durableSeq: number
  accounts: number
  transactions: number
  holds: number
  settlements: number
  coordinations: number
  reservedAccounts: number
  waitingCommands: number
  /** Transactions that were let go, and the bytes of their filter. */
  letGo: number
  letGoBytes: number
  /** What came of ids that may have been let go. */
  oldIdsFound: number
  oldIdsUnused: number
  oldIdsFailed: number
}
