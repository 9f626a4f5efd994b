import { TransactionState } from '../actors/transactions.js'
import {
  type PostingBody,
  RecordFlag,
  RecordKind,
  type RecordView,
  scaleShift,
  type TransactionBody,
  Word,
} from '../journal/record.js'
import { formatKey, type Key, keyFromBytes } from '../key.js'
import { CopyTable } from './copy-table.js'

/** A transaction as the record says that made it. */
export interface HistoryTransaction {
  record: RecordView
  /** Position of the record that decided it. */
  stream: number
  seq: number
  kind: RecordKind
  /** As src/actors/transactions.ts numbers them. */
  state: number
  body: TransactionBody & { target?: Uint8Array }
  /** Of a hold, in minor units. */
  remaining?: bigint[]
}

export const transactionColumns =
  'tenant, id, recorded_at, stream, seq, kind, state, imported, effective_date, expires_at, target, debit, credit, amount, currency, scale, more, remaining, code, name, reference, description, category, number, metadata, principal, correlation, fingerprint'
const transactionColumnCount = 28

export const holdColumns = 'tenant, account, recorded_at, transaction'
const holdColumnCount = 4

/** What has become of a transaction that an earlier record made. */
export interface TransactionOutcome {
  tenant: number
  id: Key
  state: number
  /** What its postings no longer reserve, in minor units. */
  settled: bigint[]
}

/** Transactions, and what has become of others. */
export class TransactionRows {
  readonly rows = new CopyTable(transactionColumnCount)
  /** A row for each account of a hold. */
  readonly holds = new CopyTable(holdColumnCount)
  readonly #outcomes = new Map<string, TransactionOutcome>()

  get outcomes(): readonly TransactionOutcome[] {
    return [...this.#outcomes.values()]
  }

  clear(): void {
    this.rows.clear()
    this.holds.clear()
    this.#outcomes.clear()
  }

  /** Several outcomes of one transaction count as the last of them. */
  settle(outcome: TransactionOutcome): void {
    const name = `${outcome.tenant} ${formatKey(outcome.id)}`
    const before = this.#outcomes.get(name)
    const settled = outcome.settled.map((amount, index) => amount + (before?.settled[index] ?? 0n))
    this.#outcomes.set(name, { ...outcome, settled })
  }

  add({ record, stream, seq, kind, state, body, remaining }: HistoryTransaction): void {
    const { rows } = this
    const [first, ...more] = body.postings
    rows.beginRow()
    rows.int(record.tenant)
    rows.uuid(record.words, record.start + Word.id)
    rows.timestamp(record.time)
    rows.int(stream)
    rows.bigint(seq)
    rows.smallint(kind)
    rows.smallint(state)
    rows.boolean(record.imported)
    rows.date(body.effectiveDate)
    if (body.expiresAt === undefined) rows.null()
    else rows.timestamp(Number(body.expiresAt))
    if (body.target === undefined) rows.null()
    else rows.uuidBytes(body.target)
    this.#addPosting(first)
    rows.json(more.length === 0 ? undefined : more.map(postingJson))
    rows.minors(remaining)
    if (body.code === undefined) rows.null()
    else rows.bigint(body.code)
    rows.text(body.name)
    rows.text(body.reference)
    rows.text(body.description)
    rows.text(body.category)
    rows.text(body.number)
    rows.json(body.metadata)
    rows.int(record.principal)
    rows.uuid(record.words, record.start + Word.correlation)
    if (remaining !== undefined) this.#addHold(record, body.postings)
    const { words, start } = record
    rows.words64(words, start + Word.fingerprint)
  }

  /** A plain posting, straight from its words: what {@link add} would make of it. */
  addPlain(
    words: Uint32Array,
    at: number,
    of: { timeMs: number; stream: number; seq: number; amount: bigint; currency: string },
  ): void {
    const { rows } = this
    const flags = words[at] >>> 16
    rows.beginRow()
    rows.int(words[at + Word.tenant])
    rows.uuid(words, at + Word.id)
    rows.timestamp(of.timeMs)
    rows.int(of.stream)
    rows.bigint(of.seq)
    rows.smallint(RecordKind.posting)
    rows.smallint(TransactionState.posted)
    rows.boolean((flags & RecordFlag.imported) !== 0)
    rows.date(words[at + Word.effectiveDate] | 0)
    rows.null()
    rows.null()
    rows.uuid(words, at + Word.debit)
    rows.uuid(words, at + Word.credit)
    rows.minor(of.amount)
    rows.text(of.currency)
    rows.smallint(flags >>> scaleShift)
    rows.null()
    rows.null()
    if (words[at + Word.code] === 0) rows.null()
    else rows.bigint(words[at + Word.code])
    for (let column = 0; column < 6; column++) rows.null()
    rows.int(words[at + Word.principal])
    rows.uuid(words, at + Word.correlation)
    rows.words64(words, at + Word.fingerprint)
  }

  #addHold({ tenant, time, words, start }: RecordView, postings: readonly PostingBody[]): void {
    const accounts = new Map<string, Uint8Array>()
    for (const [debit, credit] of postings) {
      for (const key of [debit, credit]) accounts.set(formatKey(keyFromBytes(key, 0)), key)
    }
    for (const account of accounts.values()) {
      this.holds.beginRow()
      this.holds.int(tenant)
      this.holds.uuidBytes(account)
      this.holds.timestamp(time)
      this.holds.uuid(words, start + Word.id)
    }
  }

  #addPosting(posting: PostingBody | undefined): void {
    const { rows } = this
    if (posting === undefined) {
      for (let column = 0; column < 5; column++) rows.null()
      return
    }
    const [debit, credit, amount, currency, scale] = posting
    rows.uuidBytes(debit)
    rows.uuidBytes(credit)
    rows.minor(amount)
    rows.text(currency)
    rows.smallint(scale)
  }
}

/** As jsonb has it: amounts are text, for a JSON number may lose digits. */
export type PostingJson = [
  debit: string,
  credit: string,
  amount: string,
  currency: string,
  scale: number,
]

function postingJson([debit, credit, amount, currency, scale]: PostingBody): PostingJson {
  return [
    formatKey(keyFromBytes(debit, 0)),
    formatKey(keyFromBytes(credit, 0)),
    amount.toString(),
    currency,
    scale,
  ]
}
