/** How much a shard takes on at a time; the rest waits in the mailbox. Smaller ones are for tests. */
export interface ShardBounds {
  /** The open batch. */
  openBatchRecords: number
  openBatchBytes: number
  /** Answers that wait. */
  waitingAnswersBytes: number
  /** Commands that wait until other shards have decided what they need. */
  waitingCommands: number
  /** Items that a shard coordinates. */
  coordinatedItems: number
  /** Records between two checkpoints of what a stream has sent. */
  checkpointRecords: number
}

export const shardBounds: ShardBounds = {
  openBatchRecords: 16_384,
  openBatchBytes: 4 << 20,
  waitingAnswersBytes: 64 << 20,
  waitingCommands: 16_384,
  coordinatedItems: 16_384,
  checkpointRecords: 4096,
}
