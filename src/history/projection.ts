import { TransactionState } from '../actors/transactions.js'
import {
  type AccountChangedBody,
  type AccountCreatedBody,
  type AppliedBody,
  creditSide,
  debitSide,
  type FollowUpBody,
  type PostingBody,
  plainPostingBody,
  RecordKind,
  type RecordView,
  readBody,
  readInteger,
  Side,
  type TransactionBody,
  viewRecord,
  Word,
} from '../journal/record.js'
import { keyFromBytes } from '../key.js'
import { AccountRows } from './account-rows.js'
import { EntryRows } from './entry-rows.js'
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
  #month = { first: 0, end: 0 }

  clear(): void {
    this.transactions.clear()
    this.entries.clear()
    this.accounts.clear()
    this.months.clear()
    this.#month = { first: 0, end: 0 }
  }

  /** Takes the record at word `start`. */
  read(words: Uint32Array, start: number, { stream, seq }: { stream: number; seq: number }): void {
    const record = viewRecord(words, start)
    this.#noteMonth(record.time)
    switch (record.kind) {
      case RecordKind.posting:
        this.#readTransaction(record, plainPostingBody(words, start), RecordKind.posting, {
          stream,
          seq,
        })
        return
      case RecordKind.transaction:
        this.#readTransaction(record, readBody(words, start), record.kind, { stream, seq })
        return
      case RecordKind.postingApplied: {
        const cause = [words[start + Word.causeStream], readInteger(words, start + Word.causeSeq)]
        this.#readTransaction(record, plainPostingBody(words, start), RecordKind.posting, {
          ...{ stream, seq },
          cause: cause as [number, number],
        })
        return
      }
      case RecordKind.holdPosted:
      case RecordKind.holdVoided:
      case RecordKind.holdExpired:
      case RecordKind.reversal:
        this.#readFollowUp(record, readBody(words, start), { stream, seq })
        return
      case RecordKind.accountCreated: {
        const body = readBody<AccountCreatedBody>(words, start)
        if (body.striped === true) this.accounts.noteStriped(record.tenant, record.id)
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
        throw new Error(`no way to project a record of kind ${record.kind satisfies never}`)
    }
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
        if (body.striped === true) this.accounts.noteStriped(record.tenant, record.id)
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
        this.#addEntries(record, { postings: body.postings ?? [], ...body }, at)
    }
  }

  #addEntries(
    record: RecordView,
    body: { postings?: PostingBody[]; sides?: number[]; effectiveDate?: number },
    { stream, seq, cause }: At,
  ): void {
    const { tenant, id, time } = record
    const { postings = [], sides, effectiveDate = 0 } = body
    for (const [index, [debitBytes, creditBytes, amount]] of postings.entries()) {
      if (amount === 0n) continue
      const side = sides?.[index] ?? 0
      const debit = keyFromBytes(debitBytes, 0)
      const credit = keyFromBytes(creditBytes, 0)
      const shared = {
        ...{ tenant, stream, seq, timeMs: time, transaction: id, effectiveDate },
        ...(cause === undefined ? {} : { cause }),
      }
      if (debitSide(side) !== Side.elsewhere) {
        const striped = this.accounts.isStriped(tenant, debit)
        const own = { account: debit, counterAccount: credit, amount, nr: 2 * index }
        this.entries.add({ ...shared, ...own, striped })
      }
      if (creditSide(side) !== Side.elsewhere) {
        const striped = this.accounts.isStriped(tenant, credit)
        const own = { account: credit, counterAccount: debit, amount: -amount, nr: 2 * index + 1 }
        this.entries.add({ ...shared, ...own, striped })
      }
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
