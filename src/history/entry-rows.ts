import { formatKey, type Key } from '../key.js'
import { CopyTable } from './copy-table.js'
import { Movements } from './movements.js'
import type { BalanceName, RunningBalances } from './running-balances.js'

/** What a record moved on one account. */
export interface Entry {
  tenant: number
  account: Key
  /** The account is striped: this is the part of it that the stream keeps. */
  striped: boolean
  stream: number
  seq: number
  /** Which of the record's sides this is, from 0 on. */
  nr: number
  timeMs: number
  transaction: Key
  /** The other side of the posting. */
  counterAccount: Key
  /** Minor units: a debit is positive, a credit negative. */
  amount: bigint
  /** Days since 1970. */
  effectiveDate: number
  /** The record of another stream that moved it. */
  cause?: readonly [stream: number, seq: number]
}

export const entryColumns =
  'tenant, account, stream, recorded_at, seq, nr, transaction, counter_account, amount, balance, effective_date, cause_stream, cause_seq'
const entryColumnCount = 13

/** Entries of some records, in the order of each stream; their balances come last. */
export class EntryRows {
  readonly rows = new CopyTable(entryColumnCount)
  readonly movements = new Movements()
  readonly #entries: Entry[] = []

  get count(): number {
    return this.#entries.length
  }

  add(entry: Entry): void {
    this.#entries.push(entry)
  }

  /** Accounts whose balance before these entries has to be looked up. */
  unknown(balances: RunningBalances): BalanceName[] {
    const names: BalanceName[] = []
    const asked = new Set<string>()
    for (const entry of this.#entries) {
      const name = balanceName(entry)
      if (balances.isKnown(name)) continue
      const text = `${entry.tenant} ${formatKey(entry.account)} ${name.stream}`
      if (!asked.has(text)) names.push(name)
      asked.add(text)
    }
    return names
  }

  /** Writes the rows, and moves the balances on. */
  write(balances: RunningBalances): void {
    for (const entry of this.#entries) {
      const balance = balances.add(balanceName(entry), entry.amount)
      this.#write(entry, balance)
      this.movements.add(entry)
    }
  }

  clear(): void {
    this.#entries.length = 0
    this.rows.clear()
    this.movements.clear()
  }

  #write(entry: Entry, balance: bigint): void {
    const { rows } = this
    rows.beginRow()
    rows.int(entry.tenant)
    rows.uuid(entry.account)
    rows.int(entry.stream)
    rows.timestamp(entry.timeMs)
    rows.bigint(entry.seq)
    rows.smallint(entry.nr)
    rows.uuid(entry.transaction)
    rows.uuid(entry.counterAccount)
    rows.minor(entry.amount)
    rows.minor(balance)
    rows.date(entry.effectiveDate)
    if (entry.cause === undefined) {
      rows.null()
      rows.null()
    } else {
      rows.int(entry.cause[0])
      rows.bigint(entry.cause[1])
    }
  }
}

function balanceName({ tenant, account, striped, stream }: Entry): BalanceName {
  return striped ? { tenant, account, stream } : { tenant, account }
}
