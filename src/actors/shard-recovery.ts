import type { DigestChain } from '../journal/batch.js'
import { emptyDigest } from '../journal/digest.js'
import { MessageCounts, type StreamCounts } from '../journal/message-counts.js'
import { Replay } from '../journal/replay.js'
import type { JournalStore } from '../journal/session.js'
import { Layout } from '../layout.js'
import { applyRecord, recordTime } from './apply.js'
import type { Book, Place } from './book.js'
import { Rebuild } from './rebuild.js'
import { shardBounds } from './shard-bounds.js'

/** What a shard reads before it serves; plain data. */
export interface RecoveryPlan {
  place: Place
  /** Streams of earlier generations, in order. All of them are closed. */
  closed: number[][]
  /** The newest generation as it is in the journal. */
  newest: { generation: number; streamOfSlot: Int32Array }
  /** The number of shards changes: the newest generation was written for other shards too. */
  changes: boolean
}

export interface RecoveryProgress {
  recordsDone: number
  recordsTotal: number
}

export interface RecoveryParts {
  store: JournalStore
  chain: DigestChain
  onProgress(progress: RecoveryProgress): void
}

const progressRecords = 100_000

/**
 * Brings a shard's book to the state of the journal.
 *
 *     closed generations ─▶ own stream, or all streams of the newest generation if N changes
 *
 * Streams that were written for other shards are read whole, and what belongs to this shard's
 * slots now is kept (rebuild.ts).
 */
export class ShardRecovery {
  /** Greatest time of a record. */
  lastTimeMs = 0
  readonly #book: Book
  readonly #plan: RecoveryPlan
  readonly #parts: RecoveryParts
  readonly #layout: Layout
  /** Streams of the newest generation that this shard reads. */
  readonly #streams: Map<number, { replay: Replay; counts: MessageCounts }>
  #recordsDone = 0
  #recordsTotal = 0

  constructor(
    book: Book,
    plan: RecoveryPlan,
    parts: RecoveryParts,
    checkpointRecords = shardBounds.checkpointRecords,
  ) {
    this.#book = book
    this.#plan = plan
    this.#parts = parts
    this.#layout = new Layout(plan.newest.generation, plan.newest.streamOfSlot)
    const streams = plan.changes ? this.#layout.streams : [this.#layout.streams[plan.place.shard]]
    this.#streams = new Map(
      streams.map((stream) => [
        stream,
        {
          replay: new Replay(stream, { seq: 0, digest: emptyDigest }, parts.chain),
          counts: new MessageCounts(stream, this.#layout, checkpointRecords),
        },
      ]),
    )
  }

  /** Reads the journal as far as it is written now, while another process may still own it. */
  async warmUp(): Promise<void> {
    const { closed, changes } = this.#plan
    const isRebuilt = changes || closed.length > 0
    if (isRebuilt) this.#book.rebuild = new Rebuild()
    for (const streams of closed) {
      for (const stream of streams) await this.#readClosed(stream)
      this.#book.rebuild?.endGeneration(this.#book)
    }
    if (!changes) this.#endRebuild()
    await this.readRest()
  }

  /** Reads what has been written since; the streams must end where their rows say. */
  async readRest(): Promise<void> {
    for (const [stream, { replay, counts }] of this.#streams) {
      await this.#read(stream, replay, counts)
    }
  }

  /** The messages of the streams that this shard has read. */
  counts(): StreamCounts[] {
    return [...this.#streams.values()].map(({ counts }) => counts.toData())
  }

  /** Everything has been read, and the shard is going to write `stream` of `layout`. */
  finish(stream: number, layout: Layout): MessageCounts {
    if (this.#plan.changes) {
      this.#book.rebuild?.endGeneration(this.#book)
      this.#endRebuild()
      return new MessageCounts(stream, layout)
    }
    const own = this.#streams.get(stream)
    if (own === undefined) throw new Error(`the shard has not read stream ${stream}`)
    return own.counts
  }

  #endRebuild(): void {
    this.#book.rebuild?.finish(this.#book)
    this.#book.rebuild = undefined
  }

  async #readClosed(stream: number): Promise<void> {
    const replay = new Replay(stream, { seq: 0, digest: emptyDigest }, this.#parts.chain)
    await this.#read(stream, replay)
  }

  async #read(stream: number, replay: Replay, counts?: MessageCounts): Promise<void> {
    const session = await this.#parts.store.open()
    try {
      const { head, digest } = await session.readHead(stream)
      this.#recordsTotal += head - replay.seq
      let reported = replay.seq
      this.#book.stream = stream
      for await (const chunk of session.readChunks(stream, replay.seq, head)) {
        const before = replay.seq
        replay.read(chunk, (words, at, seq) => {
          counts?.note(words, at, seq, replay.chunkSeq)
          applyRecord(this.#book, words, at, seq)
          this.lastTimeMs = Math.max(this.lastTimeMs, recordTime(words, at))
        })
        this.#recordsDone += replay.seq - before
        if (replay.seq - reported >= progressRecords) {
          reported = replay.seq
          this.#report()
        }
      }
      // A damaged tail, or another digest key, shows before anything is taken over.
      replay.assertEnd(head, digest)
    } finally {
      session.close()
    }
    this.#report()
  }

  #report(): void {
    this.#parts.onProgress({ recordsDone: this.#recordsDone, recordsTotal: this.#recordsTotal })
  }
}
