import type { AccountTable } from './accounts.js'
import { availableOf, type Counters, isDebitNormal, unlimited } from './accounts.js'
import type { Book } from './book.js'
import { refusalNumber } from './refusals.js'
import type { ReservedAmounts } from './reservations.js'

/**
 * The counters of the accounts that a decision has touched so far, so that a later posting of the
 * same transaction, or of the same atomic batch, sees the earlier ones while nothing is applied.
 */
export class Draft {
  readonly #book: Book
  readonly #accounts: AccountTable
  /** Counters by use; the first `#used` belong to the decision under way. */
  readonly #entries: DraftEntry[] = []
  #used = 0
  /** Number of the transaction under way within an atomic batch. */
  #transaction = 0
  /** Index by row, once there are too many entries to look through. */
  readonly #byRow = new Map<number, DraftEntry>()

  constructor(book: Book) {
    this.#book = book
    this.#accounts = book.accounts
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
    entry.holdsVersion = false
    entry.isLimited = false
    entry.lowest = undefined
    this.#accounts.readCounters(row, entry)
    const { reservations } = this.#book
    if (reservations.isEmpty) entry.forgetReserved()
    else this.#readReserved(entry)
    if (this.#byRow.size > 0) this.#byRow.set(row, entry)
    return entry
  }

  /** The transaction under way is accepted: each account it has posted to is a version further. */
  touch(postings: readonly { debit: number; credit: number }[], count: number): void {
    this.#transaction += 1
    for (let index = 0; index < count; index++) {
      const { debit, credit } = postings[index]
      if (debit >= 0) this.#touchEntry(this.entry(debit))
      if (credit >= 0) this.#touchEntry(this.entry(credit))
    }
  }

  /**
   * What the draft would take of each account, to be reserved until it is decided: at its lowest,
   * for the items of an atomic batch are applied one record after the other, and none of these may
   * leave an account beyond its limit.
   */
  amounts(): ReservedAmounts[] {
    const amounts: ReservedAmounts[] = []
    const before = { debitsPosted: 0n, creditsPosted: 0n, debitsPending: 0n, creditsPending: 0n }
    for (let index = 0; index < this.#used; index++) {
      const entry = this.#entries[index]
      const { row } = entry
      this.#accounts.readCounters(row, before)
      const debitNormal = isDebitNormal(this.#accounts.accountClass.get(row))
      const end = availableOf(entry, debitNormal)
      const lowest = entry.lowest !== undefined && entry.lowest < end ? entry.lowest : end
      const taken = availableOf(before, debitNormal) - lowest
      amounts.push({
        row,
        debits: turnover(entry.debitsPosted, entry.debitsPending, before, 'debits'),
        credits: turnover(entry.creditsPosted, entry.creditsPending, before, 'credits'),
        taken: taken > 0n ? taken : 0n,
        isLimited: entry.isLimited,
        holdsVersion: entry.holdsVersion,
      })
    }
    return amounts
  }

  #readReserved(entry: DraftEntry): void {
    const reserved = this.#book.reservations.get(entry.row)
    if (reserved === undefined) {
      entry.forgetReserved()
      return
    }
    entry.reservedDebits = reserved.debits
    entry.reservedCredits = reserved.credits
    entry.reservedAvailable = reserved.taken
    entry.isLimitReserved = reserved.limited > 0
    entry.isReserved = reserved.count > 0
    entry.isShut = this.#book.reservations.isShut(entry.row)
  }

  #touchEntry(entry: DraftEntry): void {
    if (entry.touchedBy === this.#transaction) return
    entry.touchedBy = this.#transaction
    // Postings do not move the version of a striped account.
    if (this.#accounts.isStriped(entry.row)) return
    entry.touches += 1
  }

  #indexEntries(): void {
    for (let index = 0; index < this.#used; index++) {
      this.#byRow.set(this.#entries[index].row, this.#entries[index])
    }
  }
}

function turnover(
  posted: bigint,
  pending: bigint,
  before: Counters,
  side: 'debits' | 'credits',
): bigint {
  return posted + pending - before[`${side}Posted`] - before[`${side}Pending`]
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
  /** What undecided transactions would add to the turnover and take from the balance. */
  reservedDebits = 0n
  reservedCredits = 0n
  reservedAvailable = 0n
  /** An undecided transaction was found to keep the account's limit. */
  isLimitReserved = false
  /** An undecided transaction will touch the account. */
  isReserved = false
  /** Nothing may touch the account until something else is decided. */
  isShut = false
  /** The decision under way rests on the account's version. */
  holdsVersion = false
  /** The decision under way rests on the account's limit. */
  isLimited = false
  /** The lowest available balance that a posting has left so far, where there is a limit. */
  lowest: bigint | undefined

  forgetReserved(): void {
    this.reservedDebits = 0n
    this.reservedCredits = 0n
    this.reservedAvailable = 0n
    this.isLimitReserved = false
    this.isReserved = false
    this.isShut = false
  }
}

/** How a posting touches its accounts. */
export interface Effect {
  /** Reserves instead of moving. */
  pending: boolean
  /** Imported history is exempt from limits. */
  imported: boolean
}

/** The checks of one posting in their order; a refusal is ranked by the one that made it. */
const PostingCheck = { turnover: 0, debitLimit: 1, creditLimit: 2 } as const
export const postingChecks = 4

/**
 * Puts one posting into the draft if the debited and the credited account can bear it; a side with
 * a negative row is another shard's to judge. Returns 0, or the number of the refusal with its
 * check above 16 bits.
 */
export function tryPosting(
  accounts: AccountTable,
  draft: Draft,
  posting: { debit: number; credit: number; amount: bigint },
  effect: Effect,
): number {
  const { amount } = posting
  const debit = posting.debit < 0 ? undefined : draft.entry(posting.debit)
  const credit = posting.credit < 0 ? undefined : draft.entry(posting.credit)
  if (debit !== undefined) {
    const refusal = turnoverRefusal(
      debit.debitsPosted + debit.debitsPending + amount,
      debit.reservedDebits,
      accounts.turnoverMax(debit.row),
    )
    if (refusal !== 0) return refusal
  }
  if (credit !== undefined) {
    const refusal = turnoverRefusal(
      credit.creditsPosted + credit.creditsPending + amount,
      credit.reservedCredits,
      accounts.turnoverMax(credit.row),
    )
    if (refusal !== 0) return refusal
  }
  if (debit?.isShut === true || credit?.isShut === true) return refusalNumber.funds_reserved
  if (effect.pending) {
    if (debit !== undefined) debit.debitsPending += amount
    if (credit !== undefined) credit.creditsPending += amount
  } else {
    if (debit !== undefined) debit.debitsPosted += amount
    if (credit !== undefined) credit.creditsPosted += amount
  }
  const lowered = effect.imported ? importRefusal : limitRefusal
  if (debit !== undefined && !isDebitNormal(accounts.accountClass.get(debit.row))) {
    const refusal = lowered(accounts, debit, false)
    if (refusal !== 0) return refusal | (PostingCheck.debitLimit << 16)
  }
  if (credit !== undefined && isDebitNormal(accounts.accountClass.get(credit.row))) {
    const refusal = lowered(accounts, credit, true)
    if (refusal !== 0) return refusal | (PostingCheck.creditLimit << 16)
  }
  return 0
}

/** Refusal of a turnover that would leave its bound, be it only for what is undecided; or 0. */
function turnoverRefusal(turnover: bigint, reserved: bigint, turnoverMax: bigint): number {
  if (turnover > turnoverMax) return refusalNumber.amount_overflow
  return turnover + reserved > turnoverMax ? refusalNumber.funds_reserved : 0
}

/** Refusal of a balance that has just been lowered, or 0 if it keeps the account's limit. */
function limitRefusal(accounts: AccountTable, entry: DraftEntry, debitNormal: boolean): number {
  const overdraft = accounts.overdraftLimit.get(entry.row)
  if (overdraft === unlimited) return 0
  entry.isLimited = true
  const minimum = accounts.minimumBalance.get(entry.row)
  const available = availableOf(entry, debitNormal)
  const least = minimum - overdraft
  if (entry.lowest === undefined || available < entry.lowest) entry.lowest = available
  if (available - entry.reservedAvailable >= least) return 0
  if (available >= least) return refusalNumber.funds_reserved
  return overdraft === 0n && minimum === 0n
    ? refusalNumber.insufficient_funds
    : refusalNumber.limit_exceeded
}

/**
 * Imported history is exempt from limits, but may not take what somebody undecided has been
 * promised: that one would come after it, and cross the limit. Returns a refusal, or 0.
 */
function importRefusal(accounts: AccountTable, entry: DraftEntry, debitNormal: boolean): number {
  const overdraft = accounts.overdraftLimit.get(entry.row)
  if (!entry.isLimitReserved || overdraft === unlimited) return 0
  const least = accounts.minimumBalance.get(entry.row) - overdraft
  const available = availableOf(entry, debitNormal)
  return available - entry.reservedAvailable < least ? refusalNumber.funds_reserved : 0
}
