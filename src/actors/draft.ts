import { amountMax } from '../money.js'
import {
  type AccountTable,
  availableOf,
  type Counters,
  isDebitNormal,
  unlimited,
} from './accounts.js'
import { refusalNumber } from './refusals.js'

/**
 * The counters of the accounts that a decision has touched so far, so that a later posting of the
 * same transaction, or of the same atomic batch, sees the earlier ones while nothing is applied.
 */
export class Draft {
  readonly #accounts: AccountTable
  /** Counters by use; the first `#used` belong to the decision under way. */
  readonly #entries: DraftEntry[] = []
  #used = 0
  /** Number of the transaction under way within an atomic batch. */
  #transaction = 0
  /** Index by row, once there are too many entries to look through. */
  readonly #byRow = new Map<number, DraftEntry>()

  constructor(accounts: AccountTable) {
    this.#accounts = accounts
  }

  /** Forgets everything: a new decision, or a new atomic batch, starts. */
  reset(): void {
    this.#used = 0
    this.#transaction = 0
    if (this.#byRow.size > 0) this.#byRow.clear()
    if (this.#entries.length > 1024) this.#entries.length = 1024
  }

  /** The counters of an account as the decision has them so far; the caller may change them. */
  entry(row: number): DraftEntry {
    if (this.#used <= 8) {
      for (let index = 0; index < this.#used; index++) {
        if (this.#entries[index].row === row) return this.#entries[index]
      }
    } else {
      if (this.#byRow.size === 0) this.#indexEntries()
      const found = this.#byRow.get(row)
      if (found !== undefined) return found
    }
    let entry = this.#entries[this.#used]
    if (entry === undefined) {
      entry = new DraftEntry()
      this.#entries.push(entry)
    }
    this.#used += 1
    entry.row = row
    entry.touches = 0
    entry.touchedBy = 0
    this.#accounts.readCounters(row, entry)
    if (this.#byRow.size > 0) this.#byRow.set(row, entry)
    return entry
  }

  /** The transaction under way is accepted: each account it has posted to is a version further. */
  touch(postings: readonly { debit: number; credit: number }[], count: number): void {
    this.#transaction += 1
    for (let index = 0; index < count; index++) {
      this.#touchEntry(this.entry(postings[index].debit))
      this.#touchEntry(this.entry(postings[index].credit))
    }
  }

  #touchEntry(entry: DraftEntry): void {
    if (entry.touchedBy === this.#transaction) return
    entry.touchedBy = this.#transaction
    entry.touches += 1
  }

  #indexEntries(): void {
    for (let index = 0; index < this.#used; index++) {
      this.#byRow.set(this.#entries[index].row, this.#entries[index])
    }
  }
}

export class DraftEntry implements Counters {
  row = 0
  /** Transactions of the decision under way that have touched the account. */
  touches = 0
  touchedBy = 0
  debitsPosted = 0n
  creditsPosted = 0n
  debitsPending = 0n
  creditsPending = 0n
}

/** How a posting touches its accounts. */
export interface Effect {
  /** Reserves instead of moving. */
  pending: boolean
  /** Imported history is exempt from limits. */
  imported: boolean
}

/**
 * Puts one posting into the draft if the debited and the credited account can bear it.
 * Returns 0, or the number of the refusal.
 */
export function tryPosting(
  accounts: AccountTable,
  draft: Draft,
  posting: { debit: number; credit: number; amount: bigint },
  effect: Effect,
): number {
  const { amount } = posting
  const debit = draft.entry(posting.debit)
  const credit = draft.entry(posting.credit)
  if (
    debit.debitsPosted + debit.debitsPending + amount > amountMax ||
    credit.creditsPosted + credit.creditsPending + amount > amountMax
  ) {
    return refusalNumber.amount_overflow
  }
  if (effect.pending) {
    debit.debitsPending += amount
    credit.creditsPending += amount
  } else {
    debit.debitsPosted += amount
    credit.creditsPosted += amount
  }
  if (effect.imported) return 0
  if (!isDebitNormal(accounts.accountClass.get(posting.debit))) {
    const refusal = limitRefusal(accounts, debit, false)
    if (refusal !== 0) return refusal
  }
  if (isDebitNormal(accounts.accountClass.get(posting.credit))) {
    return limitRefusal(accounts, credit, true)
  }
  return 0
}

/** Refusal of a balance that has just been lowered, or 0 if it keeps the account's limit. */
function limitRefusal(accounts: AccountTable, entry: DraftEntry, debitNormal: boolean): number {
  const overdraft = accounts.overdraftLimit.get(entry.row)
  if (overdraft === unlimited) return 0
  const minimum = accounts.minimumBalance.get(entry.row)
  if (availableOf(entry, debitNormal) >= minimum - overdraft) return 0
  return overdraft === 0n && minimum === 0n
    ? refusalNumber.insufficient_funds
    : refusalNumber.limit_exceeded
}
