import type { AccountStatus, Metadata } from '../../actors/model.js'
import type { JournalRecord } from './journal-record.js'

export interface AccountCounters {
  debitsPosted: bigint
  creditsPosted: bigint
  debitsPending: bigint
  creditsPending: bigint
}

/** An account as its own stream has it after one of its records. */
export interface AccountState extends AccountCounters {
  /** Number of the commit that made it so. */
  commit: number
  version: number
  status: AccountStatus
  overdraftLimit: bigint | null
  minimumBalance: bigint
  pendingHolds: number
  metadata: Metadata | undefined
  /** The home record that changed the account itself last: its creation or a change. */
  madeBy: JournalRecord
}

/** One account: what the whole book says of it, and each state that its own stream has come to. */
export interface Account extends AccountCounters {
  id: string
  isDebitNormal: boolean
  isStriped: boolean
  /** What imported history has taken that the account's own stream has not applied yet. */
  importedAhead: bigint
  currency: string
  createdAt: number
  states: AccountState[]
}

/** From the last thing that was durable when somebody asked to the last when the answer was given. */
export interface Window {
  from: number
  to: number
}

export function stateNow(account: Account): AccountState {
  return account.states[account.states.length - 1]
}

/** The states that were the newest durable one at some moment of the window. */
export function statesIn({ states }: Account, { from, to }: Window): AccountState[] {
  return states.filter(
    ({ commit }, index) =>
      commit <= to && (states[index + 1] === undefined || states[index + 1].commit > from),
  )
}

export function availableOf(account: Pick<Account, 'isDebitNormal'>, of: AccountCounters): bigint {
  return account.isDebitNormal
    ? of.debitsPosted - of.creditsPosted - of.creditsPending
    : of.creditsPosted - of.debitsPosted - of.debitsPending
}

const none = -(2n ** 70n)

/** The least available balance that the limits allow. */
export function floorOf(state: { overdraftLimit: bigint | null; minimumBalance: bigint }): bigint {
  return state.overdraftLimit === null ? none : state.minimumBalance - state.overdraftLimit
}

export function countersOf(of: AccountCounters): AccountCounters {
  const { debitsPosted, creditsPosted, debitsPending, creditsPending } = of
  return { debitsPosted, creditsPosted, debitsPending, creditsPending }
}

export function isSame(one: AccountCounters, other: AccountCounters): boolean {
  return (
    one.debitsPosted === other.debitsPosted &&
    one.creditsPosted === other.creditsPosted &&
    one.debitsPending === other.debitsPending &&
    one.creditsPending === other.creditsPending
  )
}
