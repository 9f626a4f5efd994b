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
  commandAlone,
  conditionWords,
  FollowUpWord,
  minSeqWord,
  TransactionWord,
} from './command.js'
import type { Coordinator } from './coordination/coordinator.js'
import { type CoordinatedItem, coordinatedItem } from './coordination/planned-item.js'
import {
  type CoordinatedAnswer,
  TransactionCoordination,
} from './coordination/transaction-coordination.js'
import { fingerprintOf } from './fingerprint.js'
import {
  decideExpiry,
  decidePost,
  decideReversal,
  decideVoid,
  expiryOf,
  findTarget,
  keepsRest,
} from './hold-decision.js'
import type { Hold } from './holds.js'
import { acrossFlags, type WrittenRecord } from './record-writer.js'
import { refusalNumber } from './refusals.js'
import { type Decision, decideTransaction } from './transaction-decision.js'
import type { Workbench } from './workbench.js'

type FollowUpKind =
  | typeof CommandKind.postHold
  | typeof CommandKind.voidHold
  | typeof CommandKind.reverse

/**
 * Carries out transactions and what follows them: posts, voids and expiries of holds, reversals.
 * What concerns this shard alone is decided and written at once; the rest is coordinated.
 */
export class TransactionExecutor {
  readonly #bench: Workbench
  readonly #coordinator: Coordinator
  /** Rows of the accounts that the command at hand has touched. */
  readonly #rows: number[] = []

  constructor(bench: Workbench, coordinator: Coordinator) {
    this.#bench = bench
    this.#coordinator = coordinator
  }

  post(words: Uint32Array, at: number, timeMs: number): void {
    const bench = this.#bench
    const request = words[at + Word.time]
    const again = (alone: Uint32Array) => this.post(alone, 0, bench.outputs.nowMs())
    if (this.#joins(words, at, again)) return
    if (this.#recalls(words, at, [at + Word.id], again)) return
    if (bench.isKnownId(words, at, request)) return
    bench.draft.reset()
    bench.decision.start()
    const decision = decideTransaction(bench.book, bench.draft, words, at, timeMs, bench.decision)
    if (decision.refusal !== 0) bench.refuse(request, decision)
    else if (decision.crosses) this.#coordinate(coordinatedItem(commandAlone(words, at), 0), timeMs)
    else this.#answerAccepted(request, this.write(words, at, timeMs), decision)
  }

  /** A repeat of what is being decided together with other shards waits for that. */
  #joins(words: Uint32Array, at: number, again: (alone: Uint32Array) => void): boolean {
    const { underWay } = this.#bench
    if (underWay.isEmpty) return false
    const tenant = words[at + Word.tenant]
    if (!underWay.has(tenant, words, at + Word.id)) return false
    const alone = commandAlone(words, at)
    underWay.wait(tenant, words, at + Word.id, () => again(alone))
    return true
  }

  /** What may be about a transaction that was let go waits until that is known. */
  #recalls(
    words: Uint32Array,
    at: number,
    ids: readonly number[],
    again: (alone: Uint32Array) => void,
  ): boolean {
    const { recalls, book } = this.#bench
    if (book.letGo.isEmpty) return false
    const tenant = words[at + Word.tenant]
    if (ids.every((id) => recalls.isSettled(tenant, words, id))) return false
    const alone = commandAlone(words, at)
    const idsAlone = ids.map((id) => ({ words: alone, at: id - at }))
    return recalls.holdsUp(tenant, idsAlone, (isKnown) => {
      if (isKnown) again(alone)
      else this.#bench.refuseNumber(alone[Word.time], refusalNumber.old_id_not_checked, 0)
    })
  }

  /** Decides on one command together with the shards that its accounts are on. */
  #coordinate(item: CoordinatedItem, timeMs: number): void {
    const request = item.words[item.at + Word.time]
    this.coordinate([item], timeMs, {
      wantsBalances: true,
      refused: ({ refusal, index, restsOn }) => {
        const { outputs, replies } = this.#bench
        outputs.onRefused(refusal)
        replies.refused(outputs.answersResting(restsOn), request, refusal, index)
      },
      accepted: ([{ seq, state, record, balances }]) => {
        const frame = this.#bench.outputs.answersResting(seq)
        this.#bench.replies.acceptedAcross(frame, { request, seq, state }, record, balances)
      },
    })
  }

  coordinate(items: readonly CoordinatedItem[], timeMs: number, answer: CoordinatedAnswer): void {
    const parts = { bench: this.#bench, coordinator: this.#coordinator, executor: this }
    new TransactionCoordination(parts, items, answer).start(timeMs)
  }

  /** Writes the record of a command that has been accepted together with other shards. */
  writeDecided(words: Uint32Array, at: number, timeMs: number, hold?: Hold): WrittenRecord {
    const kind = words[at] & 0xff
    if (kind === 0 && hold !== undefined) return this.#writeExpiry(words, hold, timeMs)
    fingerprintOf(words, at, this.#bench.fingerprint)
    switch (kind) {
      case CommandKind.postHold:
      case CommandKind.voidHold:
      case CommandKind.reverse:
        return this.#writeFollowUp(kind, words, at, timeMs, hold)
      default:
        return this.write(words, at, timeMs)
    }
  }

  /**
   * Writes and applies the record of a transaction that has just been accepted, whose fingerprint
   * is at hand.
   */
  write(words: Uint32Array, at: number, timeMs: number): WrittenRecord {
    const { decision, records, fingerprint } = this.#bench
    if ((words[at] & 0xff) === CommandKind.posting) {
      return records.plainPosting(words, at, timeMs, decision, fingerprint)
    }
    const expiresAt = expiryOf(words, at + TransactionWord.expiresAt)
    const attributesAt =
      TransactionWord.blocks +
      words[at + TransactionWord.postings] * blockWords +
      words[at + TransactionWord.conditions] * conditionWords
    return records.withBody(words, at, timeMs, {
      kind: RecordKind.transaction,
      flags:
        ((words[at] >>> 16) & (RecordFlag.imported | RecordFlag.pending)) | acrossFlags(decision),
      body: {
        ...attributesOf(words, at, attributesAt),
        ...records.postingBodies(decision),
        effectiveDate: decision.effectiveDate,
        ...(expiresAt === Number.POSITIVE_INFINITY ? {} : { expiresAt: BigInt(expiresAt) }),
      },
      fingerprint,
    })
  }

  followUp(kind: FollowUpKind, words: Uint32Array, at: number, timeMs: number): void {
    const bench = this.#bench
    const request = words[at + Word.time]
    const again = (alone: Uint32Array) => this.followUp(kind, alone, 0, bench.outputs.nowMs())
    if (this.#joins(words, at, again)) return
    if (this.#recalls(words, at, [at + Word.id, at + FollowUpWord.target], again)) return
    if (bench.isKnownId(words, at, request)) return
    const { book, decision } = bench
    decision.start()
    bench.draft.reset()
    if (!book.hasRoomFor(1)) {
      decision.refuse(book.fullRefusal)
    } else if (kind === CommandKind.reverse) {
      decideReversal(book, bench.draft, words, at, timeMs, decision)
    } else if (kind === CommandKind.postHold) {
      decidePost(book, words, at, timeMs, decision)
    } else {
      decideVoid(book, words, at, timeMs, decision)
    }
    if (decision.refusal !== 0) {
      bench.refuse(request, decision)
      return
    }
    const hold =
      kind === CommandKind.reverse ? undefined : book.holds.get(findTarget(book, words, at))
    if (decision.crosses) {
      this.#coordinate(coordinatedItem(commandAlone(words, at), 0, hold), timeMs)
      return
    }
    const record = this.#writeFollowUp(kind, words, at, timeMs, hold)
    this.#answerAccepted(request, record, decision)
  }

  #writeFollowUp(
    kind: FollowUpKind,
    words: Uint32Array,
    at: number,
    timeMs: number,
    hold?: Hold,
  ): WrittenRecord {
    const { records, decision, fingerprint } = this.#bench
    return records.withBody(words, at, timeMs, {
      kind: recordKinds[kind],
      flags: acrossFlags(decision),
      body: this.#followUpBody(kind, words, at, hold),
      fingerprint,
    })
  }

  #followUpBody(kind: CommandKind, words: Uint32Array, at: number, hold?: Hold): FollowUpBody {
    const { decision, records } = this.#bench
    const attributesAt =
      FollowUpWord.amountList +
      words[at + FollowUpWord.amounts] * amountWords +
      words[at + FollowUpWord.postings] * blockWords
    const body: FollowUpBody = {
      ...attributesOf(words, at, attributesAt),
      target: keyToBytes(keyFromWords(words, at + FollowUpWord.target)),
      ...records.postingBodies(decision),
      effectiveDate: decision.effectiveDate,
    }
    if (hold === undefined) return body
    if (kind === CommandKind.postHold && keepsRest(hold, words, at, decision)) {
      return { ...body, kept: true }
    }
    const released = hold.postings.map(
      (posting, index) => posting.remaining - decision.postings[index].amount,
    )
    return { ...body, released }
  }

  /** Ends a hold whose time has come, or tries again later if something undecided is in the way. */
  expire(hold: Hold, timeMs: number): void {
    const { book, decision, records } = this.#bench
    decision.start()
    decideExpiry(book, hold, decision)
    const header = records.ownHeader(book.transactions.keys.tenantOf(hold.row), hold.row)
    if (decision.refusal !== 0) {
      book.holds.postpone(hold)
    } else if (decision.crosses) {
      this.coordinate([coordinatedItem(header, 0, hold)], timeMs, {
        wantsBalances: false,
        refused: () => book.holds.postpone(hold),
        accepted: () => undefined,
      })
    } else {
      this.#writeExpiry(header, hold, timeMs)
    }
  }

  #writeExpiry(header: Uint32Array, hold: Hold, timeMs: number): WrittenRecord {
    const { records, decision, book, outputs } = this.#bench
    const body: FollowUpBody = {
      target: keyToBytes(book.transactions.keys.keyOf(hold.row)),
      ...records.postingBodies(decision),
      released: hold.postings.map((posting) => posting.remaining),
      effectiveDate: dayOf(timeMs),
    }
    outputs.onExpired()
    return records.withBody(header, 0, timeMs, {
      kind: RecordKind.holdExpired,
      flags: acrossFlags(decision),
      body,
      fingerprint: { low: 0, high: 0 },
    })
  }

  read(words: Uint32Array, at: number): void {
    const request = words[at + Word.time]
    if (this.#recalls(words, at, [at + Word.id], (alone) => this.read(alone, 0))) return
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

  /** Whether all records up to a position have been applied wherever they concern somebody. */
  readPosition(words: Uint32Array, at: number): void {
    const request = words[at + Word.time]
    if (!this.#bench.hasReached(words, at, request)) return
    const seq = readInteger(words, at + minSeqWord)
    if (!this.#coordinator.isSettledUpTo(seq)) {
      this.#bench.refuseNumber(request, refusalNumber.position_not_reached, 0)
      return
    }
    this.#bench.replies.reached(this.#bench.outputs.answersResting(seq), request, seq)
  }

  #answerAccepted(request: number, record: WrittenRecord, decision: Decision): void {
    const rows = this.#rows
    rows.length = 0
    for (let index = 0; index < decision.count; index++) {
      const { debit, credit } = decision.postings[index]
      if (!rows.includes(debit)) rows.push(debit)
      if (!rows.includes(credit)) rows.push(credit)
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
