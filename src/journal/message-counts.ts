import type { Layout } from '../layout.js'
import { destinationsOf } from './applied-record.js'
import { type AppliedBody, RecordFlag, RecordKind, readBody, readInteger, Word } from './record.js'
import { JournalFault } from './session.js'

/** Where a stream stood at the start of a chunk, so that its messages can be counted from there. */
export interface Checkpoint {
  afterSeq: number
  /** Messages sent before, per shard. */
  sent: number[]
}

/** The counts of one stream as plain data, to be handed to another thread. */
export interface StreamCounts {
  stream: number
  seq: number
  lastTimeMs: number
  sent: number[]
  /** Number of the last message applied, by the stream that sent it. */
  applied: [stream: number, message: number][]
  checkpoints: Checkpoint[]
}

/**
 * The messages of one stream, counted as its records are written or read: how many it has sent to
 * each shard, and up to which number it has applied those of each other stream. They are numbered
 * 1, 2, 3, … per sender and receiver; a gap means that the journal is damaged.
 */
export class MessageCounts {
  readonly sent: number[]
  readonly applied = new Map<number, number>()
  readonly checkpoints: Checkpoint[] = []
  #seq = 0
  #lastTimeMs = 0
  readonly stream: number
  readonly layout: Layout
  readonly #own: number
  readonly #checkpointRecords: number

  /** Read from, it has a checkpoint every `checkpointRecords`. */
  constructor(stream: number, layout: Layout, checkpointRecords = 4096) {
    this.#checkpointRecords = checkpointRecords
    this.stream = stream
    this.layout = layout
    this.#own = layout.shardOfStream(stream)
    this.sent = new Array<number>(layout.shards).fill(0)
  }

  /** Goes on from where a snapshot has counted up to. */
  static from(
    of: { stream: number; seq: number; lastTimeMs: number; checkpoint: Checkpoint } & Pick<
      StreamCounts,
      'sent' | 'applied'
    >,
    layout: Layout,
    checkpointRecords: number,
  ): MessageCounts {
    const counts = new MessageCounts(of.stream, layout, checkpointRecords)
    for (const [shard, sent] of of.sent.entries()) counts.sent[shard] = sent
    for (const [from, message] of of.applied) counts.applied.set(from, message)
    counts.checkpoints.push(of.checkpoint)
    counts.#seq = of.seq
    counts.#lastTimeMs = of.lastTimeMs
    return counts
  }

  /** Counts a record that has been read; `chunkSeq` is the first seq of its chunk. */
  note(words: Uint32Array, at: number, seq: number, chunkSeq: number): void {
    if (seq === chunkSeq) this.#checkpoint(chunkSeq - 1)
    this.#seq = seq
    this.#lastTimeMs = Math.max(this.#lastTimeMs, readInteger(words, at + Word.time))
    const head = words[at]
    const kind = head & 0xff
    if (kind === RecordKind.postingApplied) {
      this.apply(words[at + Word.causeStream], readInteger(words, at + Word.message), seq)
    } else if (kind === RecordKind.applied) {
      const { cause, message } = readBody<AppliedBody>(words, at)
      this.apply(cause[0], message, seq)
    } else if (((head >>> 16) & RecordFlag.across) !== 0) {
      this.send(words, at)
    }
  }

  /** Counts the messages of a record that this stream has; returns to which shards they go. */
  send(words: Uint32Array, at: number): readonly number[] {
    const shards = destinationsOf(words, at, this.layout, this.#own)
    for (const shard of shards) this.sent[shard] += 1
    return shards
  }

  /** Counts an applied message; it must be the one that follows the last. */
  apply(fromStream: number, message: number, seq: number): void {
    const expected = (this.applied.get(fromStream) ?? 0) + 1
    if (message !== expected) {
      throw new JournalFault(
        'broken_chain',
        `stream ${this.stream} applies message ${message} of stream ${fromStream} at seq ${seq}, expected ${expected}`,
      )
    }
    this.applied.set(fromStream, message)
  }

  toData(): StreamCounts {
    return {
      stream: this.stream,
      seq: this.#seq,
      lastTimeMs: this.#lastTimeMs,
      sent: [...this.sent],
      applied: [...this.applied],
      checkpoints: this.checkpoints,
    }
  }

  #checkpoint(afterSeq: number): void {
    const last = this.checkpoints.at(-1)
    if (last !== undefined && afterSeq - last.afterSeq < this.#checkpointRecords) return
    this.checkpoints.push({ afterSeq, sent: [...this.sent] })
  }
}
