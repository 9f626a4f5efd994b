import type { Batch } from '../journal/batch.js'
import type { MessageCounts } from '../journal/message-counts.js'
import { readInteger, Word } from '../journal/record.js'
import type { Book } from './book.js'
import { minSeqWord } from './command.js'
import { Draft } from './draft.js'
import { type Fingerprint, fingerprintOf } from './fingerprint.js'
import type { FrameWriter } from './frame.js'
import type { Recalls } from './recall.js'
import { RecordWriter } from './record-writer.js'
import { refusalNumber } from './refusals.js'
import { ReplyWriter } from './reply.js'
import { Decision, noIndex } from './transaction-decision.js'
import { UnderWay } from './under-way.js'

/** What the shard gives to those who carry out its commands: where records and answers go. */
export interface ExecutorOutputs {
  openBatch(): Batch
  /** The frame for an answer that may leave once everything up to `restsOn` is durable. */
  answersResting(restsOn: number): FrameWriter
  /** The frame for a message to another shard that may leave once that is durable. */
  peerResting(shard: number, restsOn: number): FrameWriter
  /** Last seq that has been given to a record. */
  lastSeq(): number
  /** Time for a record that is decided now, in milliseconds since 1970. */
  nowMs(): number
  onRefused(refusal: number): void
  onExpired(): void
}

/**
 * What carrying out a command takes, shared by transactions, accounts and batches, and used again
 * from command to command; and the steps that all of them have.
 */
export class Workbench {
  readonly book: Book
  readonly outputs: ExecutorOutputs
  readonly draft: Draft
  readonly decision = new Decision()
  readonly fingerprint: Fingerprint = { low: 0, high: 0 }
  readonly records: RecordWriter
  readonly replies: ReplyWriter
  /** Messages that this stream has sent and applied. */
  readonly counts: MessageCounts
  /** Ids of transactions, and of accounts, that are being decided together with other shards. */
  readonly underWay: UnderWay
  readonly accountsUnderWay = new UnderWay()
  /** Looks for transactions that were let go. */
  readonly recalls: Recalls

  constructor(
    book: Book,
    counts: MessageCounts,
    outputs: ExecutorOutputs,
    recalls: Recalls,
    underWay: UnderWay,
  ) {
    this.book = book
    this.counts = counts
    this.outputs = outputs
    this.recalls = recalls
    this.underWay = underWay
    this.draft = new Draft(book)
    this.records = new RecordWriter(book, () => outputs.openBatch())
    this.replies = new ReplyWriter(book, counts.stream)
  }

  /** Commands that wait for what they need: an id that others decide on, or that may be old, or an account. */
  get waitingCommands(): number {
    const { underWay, accountsUnderWay, book, recalls } = this
    return (
      underWay.waiting +
      accountsUnderWay.waiting +
      book.reservations.waiting +
      recalls.waitingCommands
    )
  }

  get stream(): number {
    return this.counts.stream
  }

  /**
   * Whether the command's id has taken effect already; then the answer is written. Leaves the
   * command's fingerprint behind.
   */
  isKnownId(words: Uint32Array, at: number, request: number): boolean {
    const { transactions } = this.book
    fingerprintOf(words, at, this.fingerprint)
    const row = transactions.keys.find(
      words[at + Word.tenant],
      words[at + Word.id],
      words[at + Word.id + 1],
      words[at + Word.id + 2],
      words[at + Word.id + 3],
    )
    if (row < 0) return false
    const touchedSeq = transactions.touchedSeq.get(row)
    if (this.hasFingerprint(row)) {
      this.replies.transaction(this.outputs.answersResting(touchedSeq), request, row, true)
    } else {
      this.refuseNumber(request, refusalNumber.id_reused_with_different_body, touchedSeq)
    }
    return true
  }

  hasFingerprint(row: number): boolean {
    const { transactions } = this.book
    return (
      transactions.fingerprintLow.get(row) === this.fingerprint.low &&
      transactions.fingerprintHigh.get(row) === this.fingerprint.high
    )
  }

  hasReached(words: Uint32Array, at: number, request: number): boolean {
    if (readInteger(words, at + minSeqWord) <= this.outputs.lastSeq()) return true
    this.refuseNumber(request, refusalNumber.position_not_reached, 0)
    return false
  }

  refuse(request: number, decision: Decision): void {
    this.outputs.onRefused(decision.refusal)
    const frame = this.outputs.answersResting(this.restsOn(decision))
    this.replies.refused(frame, request, decision.refusal, decision.index)
  }

  refuseNumber(request: number, refusal: number, restsOn: number): void {
    this.outputs.onRefused(refusal)
    this.replies.refused(this.outputs.answersResting(restsOn), request, refusal, noIndex)
  }

  /** What a decision rests on; a full memory is full of what may not be durable yet. */
  restsOn(decision: Decision): number {
    const isFull =
      decision.refusal === refusalNumber.memory_limit_reached ||
      decision.refusal === refusalNumber.projections_behind
    return isFull ? this.outputs.lastSeq() : decision.restsOn
  }
}
