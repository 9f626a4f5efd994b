import { dayOf } from '../clock.js'
import type { Batch } from '../journal/batch.js'
import {
  type Attributes,
  type FollowUpBody,
  packr,
  paddedLength,
  RecordFlag,
  RecordKind,
  readBody,
  readInteger,
  Word,
} from '../journal/record.js'
import { keyFromWords, keyToBytes } from '../key.js'
import {
  type AccountChange,
  type AccountCreation,
  decideChange,
  decideCreation,
  isAlreadySo,
} from './account-decision.js'
import { BookError } from './apply.js'
import type { Book } from './book.js'
import {
  amountWords,
  batchAtomicFlag,
  batchCountWord,
  blockWords,
  CommandKind,
  commandBytes,
  conditionWords,
  FollowUpWord,
  minSeqWord,
  TransactionWord,
} from './command.js'
import { Draft } from './draft.js'
import { type Fingerprint, fingerprintOf } from './fingerprint.js'
import type { FrameWriter } from './frame.js'
import {
  decidePost,
  decideReversal,
  decideVoid,
  expiryOf,
  findTarget,
  keepsRest,
} from './hold-decision.js'
import type { Hold } from './holds.js'
import { RecordWriter, type WrittenRecord } from './record-writer.js'
import { refusalNumber } from './refusals.js'
import { ReplyWriter } from './reply.js'
import { Decision, decideTransaction, noIndex } from './transaction-decision.js'

/** What the shard gives the executor: where records and answers go. */
export interface ExecutorOutputs {
  openBatch(): Batch
  /** The frame for an answer that may leave once everything up to `restsOn` is durable. */
  answersResting(restsOn: number): FrameWriter
  /** Last seq that has been given to a record. */
  lastSeq(): number
  onRefused(refusal: number): void
}

/** Outcome of one item of a batch, as the answer carries it. */
const BatchOutcome = { accepted: 0, replayed: 1, refused: 2 } as const

/**
 * Carries out commands one at a time: look up the id, decide, and for what is accepted write the
 * record and apply it; then write the answer into the frame that may leave when all that it rests
 * on is durable.
 */
export class Executor {
  readonly #book: Book
  readonly #stream: number
  readonly #outputs: ExecutorOutputs
  readonly #draft: Draft
  readonly #decision = new Decision()
  readonly #fingerprint: Fingerprint = { low: 0, high: 0 }
  readonly #records: RecordWriter
  readonly #replies: ReplyWriter
  /** Rows of the accounts that the command at hand has touched. */
  readonly #rows: number[] = []

  constructor(book: Book, stream: number, outputs: ExecutorOutputs) {
    this.#book = book
    this.#stream = stream
    this.#outputs = outputs
    this.#draft = new Draft(book.accounts)
    this.#records = new RecordWriter(book, () => outputs.openBatch())
    this.#replies = new ReplyWriter(book, stream)
  }

  /** Carries out the command at word `at` at `timeMs`; returns the word after it. */
  execute(words: Uint32Array, at: number, timeMs: number): number {
    const next = at + commandBytes(words, at) / 4
    const kind = (words[at] & 0xff) as CommandKind
    switch (kind) {
      case CommandKind.posting:
      case CommandKind.transaction:
        this.#transaction(words, at, timeMs)
        return next
      case CommandKind.postHold:
      case CommandKind.voidHold:
      case CommandKind.reverse:
        this.#followUp(kind, words, at, timeMs)
        return next
      case CommandKind.createAccount:
        this.#createAccount(words, at, timeMs)
        return next
      case CommandKind.changeAccount:
        this.#changeAccount(words, at, timeMs)
        return next
      case CommandKind.readAccount:
        this.#readAccount(words, at)
        return next
      case CommandKind.readTransaction:
        this.#readTransaction(words, at)
        return next
      case CommandKind.batch:
        return this.#batch(words, at, next, timeMs)
      default:
        throw new RangeError(`a command has the unknown kind ${kind satisfies never}`)
    }
  }

  /** Whether the command at word `at` carries the id of something that has been accepted. */
  knows(words: Uint32Array, at: number): boolean {
    const tenant = words[at + Word.tenant]
    const id = keyFromWords(words, at + Word.id)
    switch (words[at] & 0xff) {
      case CommandKind.posting:
      case CommandKind.transaction:
      case CommandKind.postHold:
      case CommandKind.voidHold:
      case CommandKind.reverse:
        return this.#book.transactions.find(tenant, id) >= 0
      case CommandKind.createAccount:
        return this.#book.accounts.find(tenant, id) >= 0
      default:
        return false
    }
  }

  /** Journals the expiry of a hold whose time has come. */
  expire(hold: Hold, timeMs: number): void {
    const { transactions } = this.#book
    const tenant = transactions.keys.tenantOf(hold.row)
    const body: FollowUpBody = {
      target: keyToBytes(transactions.keys.keyOf(hold.row)),
      postings: [],
      released: hold.postings.map((posting) => posting.remaining),
      effectiveDate: dayOf(timeMs),
    }
    this.#records.withBody(this.#records.ownHeader(tenant, hold.row), 0, timeMs, {
      kind: RecordKind.holdExpired,
      flags: 0,
      body,
      fingerprint: { low: 0, high: 0 },
    })
  }

  #transaction(words: Uint32Array, at: number, timeMs: number): void {
    const request = words[at + Word.time]
    if (this.#isKnownId(words, at, request)) return
    this.#draft.reset()
    this.#decision.start()
    const decision = decideTransaction(this.#book, this.#draft, words, at, timeMs, this.#decision)
    if (decision.refusal !== 0) {
      this.#refuse(request, decision)
      return
    }
    const record = this.#writeTransaction(words, at, timeMs)
    this.#answerAccepted(request, record, decision)
  }

  #writeTransaction(words: Uint32Array, at: number, timeMs: number): WrittenRecord {
    const decision = this.#decision
    if ((words[at] & 0xff) === CommandKind.posting) {
      return this.#records.plainPosting(words, at, timeMs, decision, this.#fingerprint)
    }
    const expiresAt = expiryOf(words, at + TransactionWord.expiresAt)
    const attributesAt =
      TransactionWord.blocks +
      words[at + TransactionWord.postings] * blockWords +
      words[at + TransactionWord.conditions] * conditionWords
    return this.#records.withBody(words, at, timeMs, {
      kind: RecordKind.transaction,
      flags: (words[at] >>> 16) & (RecordFlag.imported | RecordFlag.pending),
      body: {
        ...attributesOf(words, at, attributesAt),
        postings: this.#records.postingBodies(decision),
        effectiveDate: decision.effectiveDate,
        ...(expiresAt === Number.POSITIVE_INFINITY ? {} : { expiresAt: BigInt(expiresAt) }),
      },
      fingerprint: this.#fingerprint,
    })
  }

  #followUp(
    kind: typeof CommandKind.postHold | typeof CommandKind.voidHold | typeof CommandKind.reverse,
    words: Uint32Array,
    at: number,
    timeMs: number,
  ): void {
    const request = words[at + Word.time]
    if (this.#isKnownId(words, at, request)) return
    const decision = this.#decision
    decision.start()
    this.#draft.reset()
    if (this.#book.transactions.count >= this.#book.limits.transactionsMax) {
      decision.refuse(refusalNumber.memory_limit_reached)
    } else if (kind === CommandKind.reverse) {
      decideReversal(this.#book, this.#draft, words, at, timeMs, decision)
    } else if (kind === CommandKind.postHold) {
      decidePost(this.#book, words, at, timeMs, decision)
    } else {
      decideVoid(this.#book, words, at, timeMs, decision)
    }
    if (decision.refusal !== 0) {
      this.#refuse(request, decision)
      return
    }
    const hold = this.#book.holds.get(findTarget(this.#book, words, at))
    const record = this.#records.withBody(words, at, timeMs, {
      kind: recordKinds[kind],
      flags: 0,
      body: this.#followUpBody(kind, words, at, hold),
      fingerprint: this.#fingerprint,
    })
    this.#answerAccepted(request, record, decision, hold)
  }

  #followUpBody(kind: CommandKind, words: Uint32Array, at: number, hold?: Hold): FollowUpBody {
    const decision = this.#decision
    const attributesAt =
      FollowUpWord.amountList +
      words[at + FollowUpWord.amounts] * amountWords +
      words[at + FollowUpWord.postings] * blockWords
    const body: FollowUpBody = {
      ...attributesOf(words, at, attributesAt),
      target: keyToBytes(keyFromWords(words, at + FollowUpWord.target)),
      postings: this.#records.postingBodies(decision),
      effectiveDate: decision.effectiveDate,
    }
    if (kind === CommandKind.reverse || hold === undefined) return body
    if (kind === CommandKind.postHold && keepsRest(hold, words, at, decision)) {
      return { ...body, kept: true }
    }
    const released = hold.postings.map(
      (posting, index) => posting.remaining - (body.postings[index]?.[2] ?? 0n),
    )
    return { ...body, released }
  }

  #createAccount(words: Uint32Array, at: number, timeMs: number): void {
    const request = words[at + Word.time]
    const { accounts } = this.#book
    fingerprintOf(words, at, this.#fingerprint)
    const row = accounts.find(words[at + Word.tenant], keyFromWords(words, at + Word.id))
    if (row >= 0) {
      const touchedSeq = accounts.touchedSeq.get(row)
      const same =
        accounts.fingerprintLow.get(row) === this.#fingerprint.low &&
        accounts.fingerprintHigh.get(row) === this.#fingerprint.high
      if (same) {
        this.#replies.account(this.#outputs.answersResting(touchedSeq), request, row, true)
      } else {
        this.#refuseNumber(request, refusalNumber.id_reused_with_different_body, touchedSeq)
      }
      return
    }
    const decision = this.#decision
    decision.start()
    const body = decideCreation(this.#book, readBody<AccountCreation>(words, at), decision)
    if (body === undefined) {
      this.#refuse(request, decision)
      return
    }
    const { seq } = this.#records.withBody(words, at, timeMs, {
      kind: RecordKind.accountCreated,
      flags: 0,
      body,
      fingerprint: this.#fingerprint,
    })
    this.#replies.account(this.#outputs.answersResting(seq), request, accounts.count - 1, false)
  }

  #changeAccount(words: Uint32Array, at: number, timeMs: number): void {
    const request = words[at + Word.time]
    const row = this.#book.accounts.find(words[at + Word.tenant], keyFromWords(words, at + Word.id))
    if (row < 0) {
      this.#refuseNumber(request, refusalNumber.account_not_found, 0)
      return
    }
    const decision = this.#decision
    decision.start()
    const change = readBody<AccountChange>(words, at)
    if (isAlreadySo(this.#book, row, change)) {
      const touchedSeq = this.#book.accounts.touchedSeq.get(row)
      this.#replies.account(this.#outputs.answersResting(touchedSeq), request, row, false)
      return
    }
    const body = decideChange(this.#book, row, change, decision)
    if (body === undefined) {
      this.#refuse(request, decision)
      return
    }
    fingerprintOf(words, at, this.#fingerprint)
    const { seq } = this.#records.withBody(words, at, timeMs, {
      kind: RecordKind.accountChanged,
      flags: 0,
      body,
      fingerprint: this.#fingerprint,
    })
    this.#replies.account(this.#outputs.answersResting(seq), request, row, false)
  }

  #readAccount(words: Uint32Array, at: number): void {
    const request = words[at + Word.time]
    const { accounts } = this.#book
    const row = accounts.find(words[at + Word.tenant], keyFromWords(words, at + Word.id))
    if (!this.#hasReached(words, at, request)) return
    if (row < 0) {
      this.#refuseNumber(request, refusalNumber.account_not_found, 0)
      return
    }
    const frame = this.#outputs.answersResting(accounts.touchedSeq.get(row))
    this.#replies.account(frame, request, row, false)
  }

  #readTransaction(words: Uint32Array, at: number): void {
    const request = words[at + Word.time]
    const { transactions } = this.#book
    const row = transactions.find(words[at + Word.tenant], keyFromWords(words, at + Word.id))
    if (!this.#hasReached(words, at, request)) return
    if (row < 0) {
      this.#refuseNumber(request, refusalNumber.transaction_not_found, 0)
      return
    }
    const frame = this.#outputs.answersResting(transactions.touchedSeq.get(row))
    this.#replies.transaction(frame, request, row, false)
  }

  #hasReached(words: Uint32Array, at: number, request: number): boolean {
    if (readInteger(words, at + minSeqWord) <= this.#outputs.lastSeq()) return true
    this.#refuseNumber(request, refusalNumber.position_not_reached, 0)
    return false
  }

  #batch(words: Uint32Array, at: number, firstItem: number, timeMs: number): number {
    const request = words[at + Word.time]
    const count = words[at + batchCountWord]
    const atomic = ((words[at] >>> 16) & batchAtomicFlag) !== 0
    const refused = atomic ? this.#firstRefusal(words, firstItem, count, timeMs) : undefined
    if (refused !== undefined) {
      this.#outputs.onRefused(refused.refusal)
      const frame = this.#outputs.answersResting(refused.restsOn)
      this.#replies.batch(frame, request, { count: 0, ...refused, seq: 0 })
      return skip(words, firstItem, count)
    }
    const items = new Uint32Array(count * 4)
    let restsOn = 0
    let item = firstItem
    for (let index = 0; index < count; index++) {
      restsOn = Math.max(restsOn, this.#batchItem(words, item, timeMs, items, index * 4, atomic))
      item += commandBytes(words, item) / 4
    }
    const frame = this.#outputs.answersResting(restsOn)
    const result = { count, refusal: 0, index: noIndex, seq: restsOn }
    const word = this.#replies.batch(frame, request, result)
    frame.words.set(items, word)
    return item
  }

  /** Carries out one item, writes its outcome into `items`, and returns what that rests on. */
  #batchItem(
    words: Uint32Array,
    at: number,
    timeMs: number,
    items: Uint32Array,
    out: number,
    atomic: boolean,
  ): number {
    const { transactions } = this.#book
    fingerprintOf(words, at, this.#fingerprint)
    const row = transactions.find(words[at + Word.tenant], keyFromWords(words, at + Word.id))
    if (row >= 0) {
      const same = this.#hasFingerprint(row)
      const refusal = same ? 0 : refusalNumber.id_reused_with_different_body
      if (!same) this.#outputs.onRefused(refusal)
      const outcome = same ? BatchOutcome.replayed : BatchOutcome.refused
      this.#writeItem(items, out, outcome, refusal, same ? transactions.seq.get(row) : 0)
      return transactions.touchedSeq.get(row)
    }
    this.#draft.reset()
    this.#decision.start()
    const decision = decideTransaction(this.#book, this.#draft, words, at, timeMs, this.#decision)
    if (decision.refusal !== 0) {
      if (atomic) throw new BookError('an item of an accepted atomic batch was refused')
      this.#outputs.onRefused(decision.refusal)
      this.#writeItem(items, out, BatchOutcome.refused, decision.refusal, 0)
      return this.#restsOn(decision)
    }
    const { seq } = this.#writeTransaction(words, at, timeMs)
    this.#writeItem(items, out, BatchOutcome.accepted, 0, seq)
    return seq
  }

  #writeItem(items: Uint32Array, out: number, outcome: number, refusal: number, seq: number): void {
    items[out] = outcome | (refusal << 16)
    items[out + 1] = seq === 0 ? 0 : this.#stream
    items[out + 2] = seq >>> 0
    items[out + 3] = Math.floor(seq / 2 ** 32)
  }

  /** The first item of an atomic batch that cannot be accepted, with all before it in the draft. */
  #firstRefusal(
    words: Uint32Array,
    firstItem: number,
    count: number,
    timeMs: number,
  ): { refusal: number; index: number; restsOn: number } | undefined {
    const { transactions, limits } = this.#book
    this.#draft.reset()
    let restsOn = 0
    let item = firstItem
    for (let index = 0; index < count; index++) {
      const row = transactions.find(words[item + Word.tenant], keyFromWords(words, item + Word.id))
      let refusal = 0
      if (row >= 0) {
        fingerprintOf(words, item, this.#fingerprint)
        restsOn = Math.max(restsOn, transactions.touchedSeq.get(row))
        if (!this.#hasFingerprint(row)) refusal = refusalNumber.id_reused_with_different_body
      } else if (transactions.count + count > limits.transactionsMax) {
        refusal = refusalNumber.memory_limit_reached
        restsOn = this.#outputs.lastSeq()
      } else {
        this.#decision.start()
        decideTransaction(this.#book, this.#draft, words, item, timeMs, this.#decision)
        restsOn = Math.max(restsOn, this.#decision.restsOn)
        refusal = this.#decision.refusal
      }
      if (refusal !== 0) return { refusal, index, restsOn }
      item += commandBytes(words, item) / 4
    }
    return undefined
  }

  /**
   * Whether the command's id has taken effect already; then the answer is written. Leaves the
   * command's fingerprint behind.
   */
  #isKnownId(words: Uint32Array, at: number, request: number): boolean {
    const { transactions } = this.#book
    fingerprintOf(words, at, this.#fingerprint)
    const row = transactions.keys.find(
      words[at + Word.tenant],
      words[at + Word.id],
      words[at + Word.id + 1],
      words[at + Word.id + 2],
      words[at + Word.id + 3],
    )
    if (row < 0) return false
    const touchedSeq = transactions.touchedSeq.get(row)
    if (this.#hasFingerprint(row)) {
      this.#replies.transaction(this.#outputs.answersResting(touchedSeq), request, row, true)
    } else {
      this.#refuseNumber(request, refusalNumber.id_reused_with_different_body, touchedSeq)
    }
    return true
  }

  #hasFingerprint(row: number): boolean {
    const { transactions } = this.#book
    return (
      transactions.fingerprintLow.get(row) === this.#fingerprint.low &&
      transactions.fingerprintHigh.get(row) === this.#fingerprint.high
    )
  }

  #answerAccepted(request: number, record: WrittenRecord, decision: Decision, hold?: Hold): void {
    const rows = this.#rows
    rows.length = 0
    const touched = hold?.postings ?? decision.postings
    const count = hold?.postings.length ?? decision.count
    for (let index = 0; index < count; index++) {
      if (!rows.includes(touched[index].debit)) rows.push(touched[index].debit)
      if (!rows.includes(touched[index].credit)) rows.push(touched[index].credit)
    }
    const { transactions } = this.#book
    const { words, at, seq } = record
    const row = transactions.keys.find(
      words[at + Word.tenant],
      words[at + Word.id],
      words[at + Word.id + 1],
      words[at + Word.id + 2],
      words[at + Word.id + 3],
    )
    const state = transactions.state.get(row)
    const frame = this.#outputs.answersResting(seq)
    this.#replies.accepted(frame, { request, seq, state }, { words, at }, rows)
  }

  #refuse(request: number, decision: Decision): void {
    this.#outputs.onRefused(decision.refusal)
    const frame = this.#outputs.answersResting(this.#restsOn(decision))
    this.#replies.refused(frame, request, decision.refusal, decision.index)
  }

  /** What a decision rests on; a full memory is full of what may not be durable yet. */
  #restsOn(decision: Decision): number {
    return decision.refusal === refusalNumber.memory_limit_reached
      ? this.#outputs.lastSeq()
      : decision.restsOn
  }

  #refuseNumber(request: number, refusal: number, restsOn: number): void {
    this.#outputs.onRefused(refusal)
    this.#replies.refused(this.#outputs.answersResting(restsOn), request, refusal, noIndex)
  }
}

const recordKinds = {
  [CommandKind.postHold]: RecordKind.holdPosted,
  [CommandKind.voidHold]: RecordKind.holdVoided,
  [CommandKind.reverse]: RecordKind.reversal,
} as const

/** The word after a batch's last item. */
function skip(words: Uint32Array, firstItem: number, count: number): number {
  let item = firstItem
  for (let index = 0; index < count; index++) item += paddedLength(words[item + Word.length]) / 4
  return item
}

/** The attributes that end a command, from word `from` of it. */
function attributesOf(words: Uint32Array, at: number, from: number): Attributes {
  const start = words.byteOffset + (at + from) * 4
  const length = words[at + Word.length] - from * 4
  return packr.unpack(Buffer.from(words.buffer as ArrayBuffer, start, length)) as Attributes
}
