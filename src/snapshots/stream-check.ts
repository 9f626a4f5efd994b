import type { DigestChain } from '../journal/batch.js'
import type { StreamRow } from '../journal/book-rows.js'
import { MessageCounts } from '../journal/message-counts.js'
import {
  type AppliedBody,
  RecordFlag,
  RecordKind,
  readBody,
  readInteger,
  Word,
} from '../journal/record.js'
import type { StoredChunk } from '../journal/replay.js'
import type { Layout } from '../layout.js'
import type { AnchoredHead } from './anchor.js'
import { ChainCheck } from './chain-check.js'
import type { Finding } from './finding.js'
import { recordDefect } from './record-check.js'

/** Where a stream says which messages it sends and applies. */
export interface MessageLog {
  sent(from: number, to: number, seq: number): void
  applied(from: number, to: number, record: { seq: number; causeSeq: number }): void
}

/**
 * Everything that can be said of one stream: its chain, each of its records, the order of their
 * times, the numbers of its messages, and the heads that were anchored.
 */
export class StreamCheck {
  readonly row: StreamRow
  /** Greatest time of a record, in milliseconds since 1970. */
  lastTimeMs = 0
  readonly #chain: ChainCheck
  readonly #counts: MessageCounts
  readonly #layout: Layout
  readonly #log: MessageLog
  readonly #anchored: AnchoredHead | undefined
  #anchorFinding: Finding | undefined

  constructor(
    row: StreamRow,
    layout: Layout,
    parts: { chain: DigestChain; log: MessageLog; anchored: AnchoredHead | undefined },
  ) {
    this.row = row
    this.#layout = layout
    this.#log = parts.log
    this.#anchored = parts.anchored
    this.#counts = new MessageCounts(row.id, layout, Number.POSITIVE_INFINITY)
    this.#chain = new ChainCheck(row.id, parts.chain, (words, at, seq) =>
      this.#recordDefect(words, at, seq),
    )
  }

  get finding(): Finding | undefined {
    return this.#chain.finding ?? this.#anchorFinding
  }

  /** Records that have been checked. */
  get records(): number {
    return this.#chain.seq
  }

  read(chunk: StoredChunk): void {
    this.#chain.read(chunk)
    const { seq, digest, isBetweenRecords } = this.#chain
    const anchored = this.#anchored
    if (anchored === undefined || !isBetweenRecords || seq !== anchored.seq) return
    if (digest.toString('hex') === anchored.digest) return
    this.#findAnchor(`up to ${seq} it is not the journal whose heads were written down`)
  }

  /** All up to the head has been read. */
  end(): void {
    this.#chain.end(this.row.head, this.row.digest)
    const anchored = this.#anchored
    if (anchored === undefined || anchored.seq <= this.row.head) return
    this.#anchorFinding ??= {
      ...{ stream: this.row.id, seq: this.row.head + 1, lastSeq: anchored.seq, code: 'cut_off' },
      what: `it ends at ${this.row.head}, and ${anchored.seq} was written down as its head`,
    }
  }

  #findAnchor(what: string): void {
    // The chain is whole up to here: whoever wrote it anew may have begun anywhere.
    const lastSeq = this.#anchored?.seq ?? 0
    this.#anchorFinding ??= { stream: this.row.id, seq: 1, lastSeq, code: 'anchor', what }
  }

  #recordDefect(words: Uint32Array, at: number, seq: number): string | undefined {
    const defect = recordDefect(words, at)
    if (defect !== undefined) return defect
    const timeMs = readInteger(words, at + Word.time)
    if (timeMs < this.lastTimeMs) return 'its time is before that of the record before it'
    this.lastTimeMs = timeMs
    try {
      this.#noteMessages(words, at, seq)
    } catch (error) {
      return (error as Error).message
    }
    return undefined
  }

  #noteMessages(words: Uint32Array, at: number, seq: number): void {
    const kind = words[at] & 0xff
    if (kind === RecordKind.postingApplied) {
      const cause: [number, number] = [
        words[at + Word.causeStream],
        readInteger(words, at + Word.causeSeq),
      ]
      this.#noteApplied(cause, readInteger(words, at + Word.message), seq)
    } else if (kind === RecordKind.applied) {
      const { cause, message } = readBody<AppliedBody>(words, at)
      this.#noteApplied(cause, message, seq)
    } else if (((words[at] >>> 16) & RecordFlag.across) !== 0) {
      for (const shard of this.#counts.send(words, at)) {
        this.#log.sent(this.row.id, this.#layout.streams[shard], seq)
      }
    }
  }

  #noteApplied([stream, causeSeq]: [number, number], message: number, seq: number): void {
    if (stream === this.row.id || this.#layout.shardOfStream(stream) < 0) {
      throw new Error(`it follows a record of stream ${stream}, which sends it nothing`)
    }
    this.#counts.apply(stream, message, seq)
    this.#log.applied(stream, this.row.id, { seq, causeSeq })
  }
}
