import type { MessagePort } from 'node:worker_threads'
import type { StreamCounts } from '../journal/message-counts.js'
import type { SnapshotStoreConfig } from '../snapshots/store.js'
import type { Generation } from './shard.js'
import type { ShardOptions } from './shard-parts.js'
import type { RecoveryProgress } from './shard-recovery.js'
import type { SlotDigest } from './slot-digests.js'

/** What a shard's worker is started with; plain data. */
export interface ShardWorkerData {
  options: ShardOptions
  connectionString: string
  digestKey: Uint8Array | undefined
  /** Where archived records are read from. */
  archiveDirectory: string | undefined
  /** Where the snapshot of the plan is. */
  snapshots: SnapshotStoreConfig | undefined
}

/** From the main thread to a shard's worker; an ArrayBuffer is a frame of commands. */
export type ToShard =
  | ArrayBuffer
  | { type: 'warmUp' }
  | { type: 'readRest' }
  | { type: 'serve'; generation: Generation }
  /** A channel to another shard. */
  | { type: 'peer'; shard: number; port: MessagePort }
  | { type: 'drain' }
  /** How far the read models have come. */
  | { type: 'projected'; positions: [stream: number, seq: number][] }
  | { type: 'metrics'; id: number }
  | { type: 'position'; id: number }
  | { type: 'digest'; id: number; slot: number }
  | { type: 'stop' }

/** From a shard's worker to the main thread; an ArrayBuffer is a frame of answers. */
export type FromShard =
  | ArrayBuffer
  /** `refused` says why the snapshot of the plan cannot be used. */
  | { type: 'warm'; refused?: string }
  | { type: 'restRead'; counts: StreamCounts[] }
  | { type: 'drained' }
  | { type: 'serving' }
  | { type: 'trouble'; message: string }
  | { type: 'progress'; progress: RecoveryProgress }
  | { type: 'metrics'; id: number; metrics: object }
  /** Seq of the last durable record. */
  | { type: 'position'; id: number; seq: number }
  /** Of a slot; absent if too many are asked for at once. */
  | { type: 'digest'; id: number; digest: SlotDigest | undefined }
  | { type: 'fault'; code: string; message: string }
  | { type: 'stopped' }
