import { dayOf } from '../clock.js'
import {
  type Attributes,
  type FollowUpBody,
  packr,
  RecordFlag,
  RecordKind,
  readInteger,
  Word,
} from '../journal/record.js'
import { keyFromWords, keyToBytes } from '../key.js'
import {
  amountWords,
  blockWords,
  CommandKind,
  conditionWords,
  FollowUpWord,
  minSeqWord,
  TransactionWord,
} from './command.js'
import {
  decidePost,
  decideReversal,
  decideVoid,
  expiryOf,
  findTarget,
  keepsRest,
} from './hold-decision.js'
import type { Hold } from './holds.js'
import type { WrittenRecord } from './record-writer.js'
import { refusalNumber } from './refusals.js'
import { type Decision, decideTransaction } from './transaction-decision.js'
import type { Workbench } from './workbench.js'

/** Carries out transactions and what follows them: posts, voids and expiries of holds, reversals. */
export class TransactionExecutor {
  readonly #bench: Workbench
  /** Rows of the accounts that the command at hand has touched. */
  readonly #rows: number[] = []

  constructor(bench: Workbench) {
    this.#bench = bench
  }

  post(words: Uint32Array, at: number, timeMs: number): void {
    const request = words[at + Word.time]
    if (this.#bench.isKnownId(words, at, request)) return
    this.#bench.draft.reset()
    this.#bench.decision.start()
    const decision = decideTransaction(
      this.#bench.book,
      this.#bench.draft,
      words,
      at,
      timeMs,
      this.#bench.decision,
    )
    if (decision.refusal !== 0) {
      this.#bench.refuse(request, decision)
      return
    }
    const record = this.write(words, at, timeMs)
    this.#answerAccepted(request, record, decision)
  }

  /** Writes and applies the record of a transaction that has just been accepted. */
  write(words: Uint32Array, at: number, timeMs: number): WrittenRecord {
    const decision = this.#bench.decision
    if ((words[at] & 0xff) === CommandKind.posting) {
      return this.#bench.records.plainPosting(words, at, timeMs, decision, this.#bench.fingerprint)
    }
    const expiresAt = expiryOf(words, at + TransactionWord.expiresAt)
    const attributesAt =
      TransactionWord.blocks +
      words[at + TransactionWord.postings] * blockWords +
      words[at + TransactionWord.conditions] * conditionWords
    return this.#bench.records.withBody(words, at, timeMs, {
      kind: RecordKind.transaction,
      flags: (words[at] >>> 16) & (RecordFlag.imported | RecordFlag.pending),
      body: {
        ...attributesOf(words, at, attributesAt),
        postings: this.#bench.records.postingBodies(decision),
        effectiveDate: decision.effectiveDate,
        ...(expiresAt === Number.POSITIVE_INFINITY ? {} : { expiresAt: BigInt(expiresAt) }),
      },
      fingerprint: this.#bench.fingerprint,
    })
  }

  followUp(
    kind: typeof CommandKind.postHold | typeof CommandKind.voidHold | typeof CommandKind.reverse,
    words: Uint32Array,
    at: number,
    timeMs: number,
  ): void {
    const request = words[at + Word.time]
    if (this.#bench.isKnownId(words, at, request)) return
    const decision = this.#bench.decision
    decision.start()
    this.#bench.draft.reset()
    if (this.#bench.book.transactions.count >= this.#bench.book.limits.transactionsMax) {
      decision.refuse(refusalNumber.memory_limit_reached)
    } else if (kind === CommandKind.reverse) {
      decideReversal(this.#bench.book, this.#bench.draft, words, at, timeMs, decision)
    } else if (kind === CommandKind.postHold) {
      decidePost(this.#bench.book, words, at, timeMs, decision)
    } else {
      decideVoid(this.#bench.book, words, at, timeMs, decision)
    }
    if (decision.refusal !== 0) {
      this.#bench.refuse(request, decision)
      return
    }
    const hold = this.#bench.book.holds.get(findTarget(this.#bench.book, words, at))
    const record = this.#bench.records.withBody(words, at, timeMs, {
      kind: recordKinds[kind],
      flags: 0,
      body: this.#followUpBody(kind, words, at, hold),
      fingerprint: this.#bench.fingerprint,
    })
    this.#answerAccepted(request, record, decision, hold)
  }

  #followUpBody(kind: CommandKind, words: Uint32Array, at: number, hold?: Hold): FollowUpBody {
    const decision = this.#bench.decision
    const attributesAt =
      FollowUpWord.amountList +
      words[at + FollowUpWord.amounts] * amountWords +
      words[at + FollowUpWord.postings] * blockWords
    const body: FollowUpBody = {
      ...attributesOf(words, at, attributesAt),
      target: keyToBytes(keyFromWords(words, at + FollowUpWord.target)),
      postings: this.#bench.records.postingBodies(decision),
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

  /** Journals the expiry of a hold whose time has come. */
  expire(hold: Hold, timeMs: number): void {
    const { transactions } = this.#bench.book
    const tenant = transactions.keys.tenantOf(hold.row)
    const body: FollowUpBody = {
      target: keyToBytes(transactions.keys.keyOf(hold.row)),
      postings: [],
      released: hold.postings.map((posting) => posting.remaining),
      effectiveDate: dayOf(timeMs),
    }
    this.#bench.records.withBody(this.#bench.records.ownHeader(tenant, hold.row), 0, timeMs, {
      kind: RecordKind.holdExpired,
      flags: 0,
      body,
      fingerprint: { low: 0, high: 0 },
    })
  }

  read(words: Uint32Array, at: number): void {
    const request = words[at + Word.time]
    const { transactions } = this.#bench.book
    const row = transactions.find(words[at + Word.tenant], keyFromWords(words, at + Word.id))
    if (!this.#bench.hasReached(words, at, request)) return
    if (row < 0) {
      this.#bench.refuseNumber(request, refusalNumber.transaction_not_found, 0)
      return
    }
    const frame = this.#bench.outputs.answersResting(transactions.touchedSeq.get(row))
    this.#bench.replies.transaction(frame, request, row, false)
  }

  readPosition(words: Uint32Array, at: number): void {
    const request = words[at + Word.time]
    if (!this.#bench.hasReached(words, at, request)) return
    const seq = readInteger(words, at + minSeqWord)
    this.#bench.replies.reached(this.#bench.outputs.answersResting(seq), request, seq)
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
    const { transactions } = this.#bench.book
    const { words, at, seq } = record
    const row = transactions.keys.find(
      words[at + Word.tenant],
      words[at + Word.id],
      words[at + Word.id + 1],
      words[at + Word.id + 2],
      words[at + Word.id + 3],
    )
    const state = transactions.state.get(row)
    const frame = this.#bench.outputs.answersResting(seq)
    this.#bench.replies.accepted(frame, { request, seq, state }, { words, at }, rows)
  }
}

const recordKinds = {
  [CommandKind.postHold]: RecordKind.holdPosted,
  [CommandKind.voidHold]: RecordKind.holdVoided,
  [CommandKind.reverse]: RecordKind.reversal,
} as const

/** The attributes that end a command, from word `from` of it. */
function attributesOf(words: Uint32Array, at: number, from: number): Attributes {
  const start = words.byteOffset + (at + from) * 4
  const length = words[at + Word.length] - from * 4
  return packr.unpack(Buffer.from(words.buffer as ArrayBuffer, start, length)) as Attributes
}
