import { dayOf } from '../clock.js'
import { CopyTable } from './copy-table.js'
import type { RunningBalances } from './running-balances.js'

/** What the entries of one record have in common. */
export interface EntryRecord {
  tenant: number
  stream: number
  seq: number
  /** Milliseconds since 1970. */
  timeMs: number
  /** Days since 1970. */
  effectiveDate: number
  /** Its transaction is in four words from here on. */
  words: Uint32Array
  transactionAt: number
  /** The record of another stream that it follows; stream 0 if there is none. */
  causeStream: number
  causeSeq: number
}

/** What the record moved on one account; keys are in four words from where they are said to be. */
export interface EntrySide {
  /** Which of the record's sides this is, from 0 on. */
  nr: number
  words: Uint32Array
  accountAt: number
  counterAccountAt: number
  /** Minor units: a debit is positive, a credit negative. */
  amount: bigint
}

export const entryColumns =
  'tenant, account, stream, recorded_at, seq, nr, transaction, counter_account, amount, effective_date, dated, cause_stream, cause_seq, balance, debits'
const entryColumnCount = 15

/**
 * Entries of some records, in the order of each stream. Balances that have to be looked up first are
 * filled in at the end.
 */
export class EntryRows {
  readonly rows = new CopyTable(entryColumnCount)
  /** Of those: whose balance is moved, by how much, and where in the bytes what it is then goes. */
  readonly #places: number[] = []
  readonly #amounts: bigint[] = []
  readonly #balanceAt: number[] = []
  readonly #debitsAt: number[] = []

  clear(): void {
    this.rows.clear()
    this.#places.length = 0
    this.#amounts.length = 0
    this.#balanceAt.length = 0
    this.#debitsAt.length = 0
  }

  add(balances: RunningBalances, record: EntryRecord, side: EntrySide): void {
    const { rows } = this
    const { tenant, stream } = record
    rows.beginRow()
    rows.int(tenant)
    rows.uuid(side.words, side.accountAt)
    rows.int(stream)
    rows.timestamp(record.timeMs)
    rows.bigint(record.seq)
    rows.smallint(side.nr)
    rows.uuid(record.words, record.transactionAt)
    rows.uuid(side.words, side.counterAccountAt)
    rows.minor(side.amount)
    rows.date(record.effectiveDate)
    rows.boolean(dayOf(record.timeMs) !== record.effectiveDate)
    if (record.causeStream === 0) {
      rows.null()
      rows.null()
    } else {
      rows.int(record.causeStream)
      rows.bigint(record.causeSeq)
    }
    const place = balances.placeOf(tenant, side.words, side.accountAt, stream)
    if (balances.isKnown(place)) {
      rows.minor(balances.add(place, side.amount))
      rows.minor(balances.debitsOf(place))
      return
    }
    this.#places.push(place)
    this.#amounts.push(side.amount)
    this.#balanceAt.push(rows.leaveMinor())
    this.#debitsAt.push(rows.leaveMinor())
  }

  /** Places of the balances before these entries that have to be looked up, each once. */
  get unknown(): number[] {
    return [...new Set(this.#places)]
  }

  /** They have been looked up: moves them on, and says them in the rows. */
  fillIn(balances: RunningBalances): void {
    for (let index = 0; index < this.#places.length; index++) {
      const place = this.#places[index]
      this.rows.fillIn(this.#balanceAt[index], balances.add(place, this.#amounts[index]))
      this.rows.fillIn(this.#debitsAt[index], balances.debitsOf(place))
    }
  }
}
