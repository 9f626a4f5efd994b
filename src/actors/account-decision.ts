import type { AccountChangedBody, AccountCreatedBody, Metadata } from '../journal/record.js'
import { amountMax, type Decimal, toMinor } from '../money.js'
import {
  type AccountStatus,
  accountStatuses,
  availableOf,
  balanceOf,
  type Counters,
  isDebitNormal,
  stripedAccountsMax,
  unlimited,
} from './accounts.js'
import type { Book } from './book.js'
import { type RefusalCode, refusalNumber } from './refusals.js'
import type { Decision } from './transaction-decision.js'

/** A new account as it is asked for: limits that are absent get the defaults of its class. */
export type AccountCreation = Omit<AccountCreatedBody, 'overdraftLimit' | 'minimumBalance'> &
  Partial<Pick<AccountCreatedBody, 'overdraftLimit' | 'minimumBalance'>>

/** What a change of an account asks for; absent fields stay as they are. */
export interface AccountChange {
  status?: AccountStatus
  /** Mantissa and decimals; null: unlimited. */
  overdraftLimit?: [mantissa: bigint, decimals: number] | null
  minimumBalance?: [mantissa: bigint, decimals: number]
  metadata?: Metadata
  /** Refuse unless this is the account's version. */
  version?: number
}

/** Decides on a new account whose key is not taken: its record's body, or the refusal. */
export function decideCreation(
  book: Book,
  creation: AccountCreation,
  decision: Decision,
): AccountCreatedBody | undefined {
  const isStriped = creation.striped === true
  if (
    book.accounts.count >= book.limits.accountsMax ||
    (isStriped && book.accounts.stripedRows.length >= stripedAccountsMax)
  ) {
    decision.refuse(refusalNumber.memory_limit_reached)
    return undefined
  }
  const known = book.accounts.findCurrency(creation.currency)
  if (known !== undefined && known.scale !== creation.scale) {
    decision.refuse(refusalNumber.currency_mismatch)
    return undefined
  }
  if (isStriped && isLimitAsked(creation)) {
    decision.refuse(refusalNumber.striped_without_limits)
    return undefined
  }
  // Income, expense and equity take what comes; the others may not go below zero unless asked.
  const isLimited = !isStriped && (creation.class === 'asset' || creation.class === 'liability')
  const { overdraftLimit = isLimited ? 0n : null, minimumBalance = 0n } = creation
  return { ...creation, overdraftLimit, minimumBalance }
}

/** What an account holds: of a striped one the sum of all parts. */
export interface AccountTotals {
  counters: Counters
  holds: number
}

/** The counters of an account, or of this shard's part of it. */
export function countersOf(book: Book, row: number): Counters {
  const counters = { debitsPosted: 0n, creditsPosted: 0n, debitsPending: 0n, creditsPending: 0n }
  book.accounts.readCounters(row, counters)
  return counters
}

/**
 * The change that an accepted command makes, as it goes into the record; or the refusal. No
 * undecided transaction may have the account reserved.
 */
export function decideChange(
  book: Book,
  row: number,
  change: AccountChange,
  totals: AccountTotals,
  decision: Decision,
): AccountChangedBody | undefined {
  const { accounts } = book
  decision.restOn(accounts.touchedSeq.get(row))
  const refuse = (code: RefusalCode) => {
    decision.refuse(refusalNumber[code])
    return undefined
  }
  if (accountStatuses[accounts.status.get(row)] === 'closed') return refuse('account_closed')
  if (accounts.isStriped(row) && isLimitAsked(change)) return refuse('striped_without_limits')
  const { scale } = accounts.currencyOf(row)
  const overdraftLimit = changedLimit(change.overdraftLimit, scale)
  const minimumBalance = changedLimit(change.minimumBalance, scale)
  if (overdraftLimit === 'too_many_decimals' || minimumBalance === 'too_many_decimals') {
    return refuse('too_many_decimals')
  }
  if (change.version !== undefined && change.version !== accounts.version.get(row)) {
    return refuse('version_conflict')
  }
  if (overdraftLimit === 'amount_overflow' || minimumBalance === 'amount_overflow') {
    return refuse('amount_overflow')
  }
  const { counters } = totals
  const debitNormal = isDebitNormal(accounts.accountClass.get(row))
  if (overdraftLimit !== undefined || minimumBalance !== undefined) {
    const overdraft =
      overdraftLimit === undefined
        ? accounts.overdraftLimit.get(row)
        : (overdraftLimit ?? unlimited)
    const minimum = minimumBalance ?? accounts.minimumBalance.get(row)
    // A limit may be moved towards a balance that imported history has left beyond it, but a
    // balance that keeps its limit now must keep it afterwards.
    const before = floorOf(accounts.overdraftLimit.get(row), accounts.minimumBalance.get(row))
    const after = floorOf(overdraft, minimum)
    const available = availableOf(counters, debitNormal)
    const raised = after !== undefined && (before === undefined || after > before)
    if (raised && available < after) return refuse('limit_exceeded')
  }
  if (change.status === 'closed') {
    if (balanceOf(counters, debitNormal) !== 0n) return refuse('balance_not_zero')
    if (totals.holds > 0) return refuse('holds_pending')
  }
  return withoutAbsent({
    status: change.status,
    overdraftLimit,
    minimumBalance: minimumBalance ?? undefined,
    metadata: change.metadata,
  })
}

/** Whether a limit is asked for, which a striped account cannot have. */
function isLimitAsked(asked: {
  overdraftLimit?: unknown
  minimumBalance?: bigint | [mantissa: bigint, decimals: number]
}): boolean {
  const { overdraftLimit = null, minimumBalance = 0n } = asked
  const minimum = typeof minimumBalance === 'bigint' ? minimumBalance : minimumBalance[0]
  return overdraftLimit !== null || BigInt(minimum) !== 0n
}

/**
 * Whether the account is already as the change would make it. Then there is nothing to do, also
 * for a repeat whose first attempt has closed the account or moved its version.
 */
export function isAlreadySo(book: Book, row: number, change: AccountChange): boolean {
  const { accounts } = book
  const { scale } = accounts.currencyOf(row)
  const overdraftLimit = changedLimit(change.overdraftLimit, scale)
  const { status, metadata } = change
  return (
    (status === undefined || status === accountStatuses[accounts.status.get(row)]) &&
    (overdraftLimit === undefined ||
      (overdraftLimit ?? unlimited) === accounts.overdraftLimit.get(row)) &&
    (change.minimumBalance === undefined ||
      changedLimit(change.minimumBalance, scale) === accounts.minimumBalance.get(row)) &&
    (metadata === undefined ||
      JSON.stringify(metadata) === JSON.stringify(accounts.details.get(row)?.metadata))
  )
}

/** The least available balance that the limits allow, or undefined for any. */
function floorOf(overdraft: bigint, minimum: bigint): bigint | undefined {
  return overdraft === unlimited ? undefined : minimum - overdraft
}

function changedLimit(
  value: [bigint, number] | null | undefined,
  scale: number,
): bigint | null | undefined | 'too_many_decimals' | 'amount_overflow' {
  if (value === undefined || value === null) return value
  const decimal: Decimal = { mantissa: BigInt(value[0]), decimals: value[1] }
  const minor = toMinor(decimal, scale)
  if (minor === undefined) return 'too_many_decimals'
  return minor > amountMax ? 'amount_overflow' : minor
}

function withoutAbsent<T extends object>(value: T): T {
  return Object.fromEntries(Object.entries(value).filter(([, entry]) => entry !== undefined)) as T
}
