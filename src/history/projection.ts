import { TransactionState } from '../actors/transactions.js'
import {
  type AccountChangedBody,
  type AccountCreatedBody,
  type AppliedBody,
  creditSide,
  debitSide,
  type FollowUpBody,
  type PostingBody,
  plainSides,
  RecordFlag,
  RecordKind,
  type RecordView,
  readBigint,
  readBody,
  readCurrency,
  readInteger,
  recordVersion,
  Side,
  type TransactionBody,
  viewRecord,
  Word,
} from '../journal/record.js'
import { keyFromBytes, writeKeyWords } from '../key.js'
import { AccountRows } from './account-rows.js'
import { type EntryRecord, EntryRows, type EntrySide } from './entry-rows.js'
import type { RunningBalances } from './running-balances.js'
import { TransactionRows } from './transaction-rows.js'

/** A record's own position, and that of the record of another stream that it follows. */
interface At {
  stream: number
  seq: number
  cause?: readonly [stream: number, seq: number]
}

/**
 * From records to the rows of the read models. It looks at records only, never at an actor: what a
 * record means for the rows is in the record. Those of one stream have to come in their order.
 */
export class Projection {
  readonly transactions = new TransactionRows()
  readonly entries = new EntryRows()
  readonly accounts = new AccountRows()
  /** First day of each month that the rows are of, as `YYYY-MM-01`. */
  readonly months = new Set<string>()
  readonly #balances: RunningBalances
  readonly #currencies = new Currencies()
  #month = { first: 0, end: 0 }
  /** Of the record that is being read. */
  readonly #record: EntryRecord = {
    ...{ tenant: 0, stream: 0, seq: 0, timeMs: 0, effectiveDate: 0 },
    ...{ words: new Uint32Array(0), transactionAt: 0, causeStream: 0, causeSeq: 0 },
  }
  /** Debit and credit account of the posting that is being read, where it is not in words. */
  readonly #accounts = new Uint32Array(8)
  readonly #side: EntrySide = {
    ...{ nr: 0, words: this.#accounts, accountAt: 0, counterAccountAt: 0, amount: 0n },
  }

  constructor(balances: RunningBalances) {
    this.#balances = balances
  }

  clear(): void {
    this.transactions.clear()
    this.entries.clear()
    this.accounts.clear()
    this.months.clear()
    this.#month = { first: 0, end: 0 }
  }

  /** Takes the record at word `start`. */
  read(words: Uint32Array, start: number, { stream, seq }: { stream: number; seq: number }): void {
    const kind = words[start] & 0xff
    if (kind === RecordKind.posting || kind === RecordKind.postingApplied) {
      this.#readPlain(words, start, { stream, seq })
      return
    }
    const record = viewRecord(words, start)
    this.#noteMonth(record.time)
    switch (record.kind) {
      case RecordKind.transaction:
        this.#readTransaction(record, readBody(words, start), record.kind, { stream, seq })
        return
      case RecordKind.holdPosted:
      case RecordKind.holdVoided:
      case RecordKind.holdExpired:
      case RecordKind.reversal:
        this.#readFollowUp(record, readBody(words, start), { stream, seq })
        return
      case RecordKind.accountCreated: {
        const body = readBody<AccountCreatedBody>(words, start)
        if (body.striped === true) this.#balances.noteStriped(record.tenant, record.id)
        this.accounts.add(record, body, { stream, seq })
        return
      }
      case RecordKind.accountChanged: {
        const { tenant, id, time } = record
        const change = readBody<AccountChangedBody>(words, start)
        this.accounts.changes.push({ tenant, id, timeMs: time, change })
        return
      }
      case RecordKind.applied:
        this.#readApplied(record, readBody(words, start), { stream, seq })
        return
      default:
        throw new Error(`no way to project a record of kind ${record.kind}`)
    }
  }

  /** A plain posting, or what it asks for in this stream: nearly all records are of this kind. */
  #readPlain(words: Uint32Array, at: number, { stream, seq }: At): void {
    assertKnown(words, at)
    const own = this.#record
    own.tenant = words[at + Word.tenant]
    own.stream = stream
    own.seq = seq
    own.timeMs = readInteger(words, at + Word.time)
    own.effectiveDate = words[at + Word.effectiveDate] | 0
    own.words = words
    own.transactionAt = at + Word.id
    const isApplied = (words[at] & 0xff) === RecordKind.postingApplied
    own.causeStream = isApplied ? words[at + Word.causeStream] : 0
    own.causeSeq = isApplied ? readInteger(words, at + Word.causeSeq) : 0
    this.#noteMonth(own.timeMs)
    const amount = readBigint(words, at + Word.amount)
    this.#addSides(words, at + Word.debit, at + Word.credit, plainSides(words, at), amount, 0)
    if (((words[at] >>> 16) & RecordFlag.idElsewhere) !== 0) return
    this.transactions.addPlain(words, at, {
      timeMs: own.timeMs,
      amount,
      stream: isApplied ? own.causeStream : stream,
      seq: isApplied ? own.causeSeq : seq,
      currency: this.#currencies.at(words, at + Word.currency),
    })
  }

  #readTransaction(record: RecordView, body: TransactionBody, kind: RecordKind, at: At): void {
    const { pending } = record
    if (!pending) this.#addEntries(record, body, at)
    if (record.idElsewhere) return
    const [stream, seq] = at.cause ?? [at.stream, at.seq]
    this.transactions.add({
      ...{ record, stream, seq, kind, body },
      state: pending ? TransactionState.pending : TransactionState.posted,
      ...(pending ? { remaining: body.postings.map((posting) => posting[2]) } : {}),
    })
  }

  #readFollowUp(record: RecordView, body: FollowUpBody, at: At): void {
    this.#addEntries(record, body, at)
    const { tenant, kind } = record
    const ended = body.kept !== true
    const [targetState, ownState] = followUpStates[kind as FollowUpKind]
    this.transactions.settle({
      tenant,
      id: keyFromBytes(body.target, 0),
      state: ended ? targetState : TransactionState.pending,
      settled: kind === RecordKind.reversal ? [] : settledBy(body),
    })
    if (ownState === undefined || record.idElsewhere) return
    const moved = body.postings.filter((posting) => posting[2] > 0n)
    const own = { ...body, postings: moved }
    this.transactions.add({ record, ...at, kind, body: own, state: ownState })
  }

  /** What a record of another stream asks for in this one. */
  #readApplied(record: RecordView, body: AppliedBody, place: At): void {
    const at = { ...place, cause: body.cause }
    switch (body.of) {
      case RecordKind.accountCreated:
        if (body.striped === true) this.#balances.noteStriped(record.tenant, record.id)
        return
      case RecordKind.accountChanged:
        return
      case RecordKind.posting:
      case RecordKind.transaction: {
        const { postings = [], effectiveDate = 0 } = body
        this.#readTransaction(record, { ...body, postings, effectiveDate }, body.of, at)
        return
      }
      default:
        this.#addEntries(record, body, at)
    }
  }

  #addEntries(
    record: RecordView,
    body: { postings?: PostingBody[]; sides?: number[]; effectiveDate?: number },
    { stream, seq, cause }: At,
  ): void {
    const { tenant, time, words, start } = record
    const { postings = [], sides, effectiveDate = 0 } = body
    const [causeStream, causeSeq] = cause ?? [0, 0]
    Object.assign(this.#record, {
      ...{ tenant, stream, seq, timeMs: time, effectiveDate, words, causeStream, causeSeq },
      transactionAt: start + Word.id,
    })
    for (const [index, [debit, credit, amount]] of postings.entries()) {
      writeKeyWords(this.#accounts, 0, keyFromBytes(debit, 0))
      writeKeyWords(this.#accounts, 4, keyFromBytes(credit, 0))
      this.#addSides(this.#accounts, 0, 4, sides?.[index] ?? 0, amount, index)
    }
  }

  /** The entries of one posting: of those of its sides that take effect in this stream. */
  #addSides(
    words: Uint32Array,
    debitAt: number,
    creditAt: number,
    sides: number,
    amount: bigint,
    index: number,
  ): void {
    if (amount === 0n) return
    const side = this.#side
    side.words = words
    if (debitSide(sides) !== Side.elsewhere) {
      side.nr = 2 * index
      side.accountAt = debitAt
      side.counterAccountAt = creditAt
      side.amount = amount
      this.entries.add(this.#balances, this.#record, side)
    }
    if (creditSide(sides) !== Side.elsewhere) {
      side.nr = 2 * index + 1
      side.accountAt = creditAt
      side.counterAccountAt = debitAt
      side.amount = -amount
      this.entries.add(this.#balances, this.#record, side)
    }
  }

  #noteMonth(timeMs: number): void {
    if (timeMs >= this.#month.first && timeMs < this.#month.end) return
    const date = new Date(timeMs)
    const [year, month] = [date.getUTCFullYear(), date.getUTCMonth()]
    this.#month = { first: Date.UTC(year, month), end: Date.UTC(year, month + 1) }
    this.months.add(new Date(this.#month.first).toISOString().slice(0, 10))
  }
}

/** Codes of currencies by their two words: they are few, and read for each posting. */
class Currencies {
  readonly #codes = new Map<number, string>()

  at(words: Uint32Array, at: number): string {
    // The second word is 0 for codes of up to four letters.
    if (words[at + 1] !== 0) return readCurrency(words, at)
    let code = this.#codes.get(words[at])
    if (code === undefined) {
      code = readCurrency(words, at)
      this.#codes.set(words[at], code)
    }
    return code
  }
}

/** Throws on a version that this program does not know, as every other kind of record does. */
function assertKnown(words: Uint32Array, at: number): void {
  if (((words[at] >>> 8) & 0xff) !== recordVersion) viewRecord(words, at)
}

type FollowUpKind = keyof typeof followUpStates

/** State of the target, and of the transaction that follows it. */
const followUpStates = {
  [RecordKind.holdPosted]: [TransactionState.holdPosted, TransactionState.holdPost],
  [RecordKind.holdVoided]: [TransactionState.holdVoided, TransactionState.holdVoid],
  [RecordKind.holdExpired]: [TransactionState.holdExpired, undefined],
  [RecordKind.reversal]: [TransactionState.reversed, TransactionState.reversal],
} as const

/** What a hold's postings no longer reserve: what was posted and what was released of them. */
function settledBy({ postings, released = [] }: FollowUpBody): bigint[] {
  const count = Math.max(postings.length, released.length)
  return Array.from(
    { length: count },
    (_, index) => (postings[index]?.[2] ?? 0n) + (released[index] ?? 0n),
  )
}
