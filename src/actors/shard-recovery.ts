import type { DigestChain } from '../journal/batch.js'
import { emptyDigest } from '../journal/digest.js'
import { MessageCounts, type StreamCounts } from '../journal/message-counts.js'
import { Replay } from '../journal/replay.js'
import type { JournalSession, JournalStore } from '../journal/session.js'
import type { StreamEnd } from '../journal/take-over.js'
import { readInWindows } from '../journal/windows.js'
import { Layout } from '../layout.js'
import { loadSnapshot } from '../snapshots/load-snapshot.js'
import {
  decodeManifest,
  type SnapshotManifest,
  type SnapshotStream,
} from '../snapshots/manifest.js'
import type { SnapshotStore } from '../snapshots/store.js'
import { applyRecord, recordTime } from './apply.js'
import type { Book, Place } from './book.js'
import { Foresight } from './foresight.js'
import { letGoOfOldest } from './let-go.js'
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
  /** The manifest of a snapshot to start from, encoded; without it all is read from seq 1 on. */
  snapshot?: Uint8Array
  /** Where reading the streams of the newest generation ends; their heads if absent. */
  upTo?: readonly StreamEnd[]
  /** How far the read models have come: what is older may be let go where memory is full. */
  projected?: [stream: number, seq: number][]
}

/** How far a shard has come; the numbers are of the step at hand. */
export interface RecoveryProgress {
  step: 'snapshot' | 'journal'
  /** That is being read; 0 if none is. */
  stream: number
  /** Records, or rows of a snapshot. */
  done: number
  total: number
}

export interface RecoveryParts {
  store: JournalStore
  /** Needed by a plan with a snapshot. */
  snapshots?: Pick<SnapshotStore, 'readBlock'>
  chain: DigestChain
  onProgress(progress: RecoveryProgress): void
}

const progressRecords = 100_000
/** What a journal may hold instead of transactions must not take memory. */
const reservedRowsMax = 4_000_000

/**
 * Brings a shard's book to the state of the journal.
 *
 *     (snapshot) ─▶ closed generations ─▶ own stream, or all of the newest generation if N changes
 *
 * Streams that were written for other shards are read whole, and what belongs to this shard's
 * slots now is kept (rebuild.ts). A snapshot takes the place of all that is before its position:
 * one of the newest generation has this shard's book as it was, if N does not change; otherwise
 * what belongs to this shard's slots is taken out of all its streams.
 */
export class ShardRecovery {
  /** Greatest time of a record. */
  lastTimeMs = 0
  readonly #book: Book
  readonly #plan: RecoveryPlan
  readonly #parts: RecoveryParts
  readonly #snapshot: SnapshotManifest | undefined
  readonly #layout: Layout
  /** Streams of the newest generation that this shard reads. */
  readonly #streams: Map<number, { replay: Replay; counts: MessageCounts }>
  readonly #foresight: Foresight
  readonly #lookAhead = (words: Uint32Array, end: number) => this.#foresight.lookAhead(words, end)
  #recordsDone = 0
  #recordsTotal = 0

  constructor(
    book: Book,
    plan: RecoveryPlan,
    parts: RecoveryParts,
    checkpointRecords = shardBounds.checkpointRecords,
  ) {
    this.#book = book
    book.letGo.projected = new Map(plan.projected)
    this.#foresight = new Foresight(book)
    this.#plan = plan
    this.#parts = parts
    this.#snapshot =
      plan.snapshot === undefined ? undefined : decodeManifest(Buffer.from(plan.snapshot))
    this.#layout = new Layout(plan.newest.generation, plan.newest.streamOfSlot)
    const streams = plan.changes ? this.#layout.streams : [this.#layout.streams[plan.place.shard]]
    this.#streams = new Map(
      streams.map((stream) => {
        const start = this.#startOf(stream)
        const counts =
          start === undefined
            ? new MessageCounts(stream, this.#layout, checkpointRecords)
            : MessageCounts.from(start, this.#layout, checkpointRecords)
        return [stream, { replay: this.#replayOf(stream), counts }]
      }),
    )
  }

  /** Reads the journal as far as it is written now, while another process may still own it. */
  async warmUp(): Promise<void> {
    const closed = this.#closedToRead()
    const { changes } = this.#plan
    if (changes || closed.length > 0) this.#book.rebuild = new Rebuild()
    if (this.#snapshot !== undefined) await this.#load(this.#snapshot)
    for (const streams of closed) {
      for (const stream of streams) await this.#read(stream, this.#replayOf(stream))
      this.#book.rebuild?.endGeneration(this.#book)
    }
    if (!changes) this.#endRebuild()
    await this.readRest()
  }

  /** Closed generations from that of the snapshot on; its streams from where it ends. */
  #closedToRead(): number[][] {
    const { closed } = this.#plan
    const first = this.#snapshot?.streams[0].stream
    if (first === undefined) return closed
    const index = closed.findIndex((streams) => streams.includes(first))
    return index < 0 ? [] : closed.slice(index)
  }

  #startOf(stream: number): SnapshotStream | undefined {
    return this.#snapshot?.streams.find((candidate) => candidate.stream === stream)
  }

  #replayOf(stream: number): Replay {
    const { seq, digest } = this.#startOf(stream) ?? { seq: 0, digest: emptyDigest }
    return new Replay(stream, { seq, digest }, this.#parts.chain)
  }

  async #load(snapshot: SnapshotManifest): Promise<void> {
    const own = this.#layout.streams[this.#plan.place.shard]
    const { snapshots, onProgress } = this.#parts
    if (snapshots === undefined) throw new Error('nobody says where the snapshots are')
    const streams = this.#book.rebuild === undefined ? [own] : undefined
    await loadSnapshot({ snapshot, streams, book: this.#book, store: snapshots }, (progress) =>
      onProgress({ step: 'snapshot', ...progress }),
    )
    for (const { stream, lastTimeMs } of snapshot.streams) {
      if (streams?.includes(stream) === false) continue
      this.lastTimeMs = Math.max(this.lastTimeMs, lastTimeMs)
    }
  }

  /** Reads what has been written since; the streams must end where their rows say. */
  async readRest(): Promise<void> {
    for (const [stream, { replay, counts }] of this.#streams) {
      await this.#read(stream, replay, counts)
    }
    letGoOfOldest(this.#book)
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

  async #read(stream: number, replay: Replay, counts?: MessageCounts): Promise<void> {
    const session = await this.#parts.store.open()
    try {
      const { head, digest } = await this.#endOf(stream, session)
      this.#recordsTotal += head - replay.seq
      this.#reserve(head - replay.seq)
      let reported = replay.seq
      this.#book.stream = stream
      const apply = (words: Uint32Array, at: number, seq: number) => {
        counts?.note(words, at, seq, replay.chunkSeq)
        applyRecord(this.#book, words, at, seq)
        this.lastTimeMs = Math.max(this.lastTimeMs, recordTime(words, at))
      }
      const rest = { afterSeq: replay.seq, toSeq: head }
      for await (const chunk of readInWindows(session, stream, rest)) {
        const before = replay.seq
        replay.read(chunk, apply, this.#lookAhead)
        letGoOfOldest(this.#book)
        this.#recordsDone += replay.seq - before
        if (replay.seq - reported >= progressRecords) {
          reported = replay.seq
          this.#report(stream)
        }
      }
      // A damaged tail, or another digest key, shows before anything is taken over.
      replay.assertEnd(head, digest)
    } finally {
      session.close()
    }
    this.#report(stream)
  }

  /** Most records make a transaction, of which a shard of another layout remembers its share. */
  #reserve(records: number): void {
    const { place, rebuild, transactions } = this.#book
    const own = rebuild === undefined ? records : records / place.shards
    transactions.keys.reserve(transactions.count + Math.min(own, reservedRowsMax))
  }

  async #endOf(stream: number, session: JournalSession): Promise<{ head: number; digest: Buffer }> {
    const end = this.#plan.upTo?.find((candidate) => candidate.stream === stream)
    return end === undefined
      ? await session.readHead(stream)
      : { head: end.seq, digest: end.digest }
  }

  #report(stream: number): void {
    this.#parts.onProgress({
      step: 'journal',
      stream,
      done: this.#recordsDone,
      total: this.#recordsTotal,
    })
  }
}
