import type { AccountChange, FollowUp, NewTransaction } from '../../actors/model.js'
import type { Command } from '../commands.js'
import {
  type Account,
  type AccountState,
  availableOf,
  countersOf,
  floorOf,
  statesIn,
  type Window,
} from './account-history.js'
import type { CommittedBook, Transaction } from './committed-book.js'

/** Keys, as text, of what clients call by name. */
export interface Names {
  accountId(name: string): string
  /** Of a transaction, or `target/id` of what follows it. */
  transactionId(name: string): string
}

/** A refusal, where its reason has to be found. */
export interface Refusal {
  code: string
  /** Posting, or item of an atomic batch, that is refused. */
  index: number | undefined
  window: Window
}

/**
 * Whether durable records alone were reason enough for a refusal, at some moment between question
 * and answer. A refusal that rests on anything else shows what could be lost.
 */
export class RefusalCheck {
  readonly #book: CommittedBook
  readonly #names: Names

  constructor(book: CommittedBook, names: Names) {
    this.#book = book
    this.#names = names
  }

  isJustified(command: Command, refusal: Refusal): boolean {
    switch (command.does) {
      case 'post':
        return this.#isPostRefused([command.body], command.body, refusal)
      case 'follow up':
        return this.#isFollowUpRefused(command.body, refusal)
      case 'batch': {
        const body = command.bodies[refusal.index ?? 0]
        const before = command.how === 'atomic' ? command.bodies : [body]
        const upTo = command.how === 'atomic' ? before.slice(0, before.indexOf(body) + 1) : before
        return this.#isPostRefused(upTo, body, { ...refusal, index: undefined })
      }
      case 'create account':
        return (
          refusal.code === 'id_reused_with_different_body' &&
          this.#account(command.body.id) !== undefined
        )
      case 'change account':
        return this.#isChangeRefused(command.body, refusal)
      case 'read account':
        return refusal.code === 'account_not_found' && this.#isAbsent(command.id, refusal.window)
      case 'read transaction':
        return (
          refusal.code === 'transaction_not_found' &&
          !this.#isKnown(command.id, refusal.window.from)
        )
    }
  }

  /** `all` are the items of an atomic batch up to the one that is refused, which is `body`. */
  #isPostRefused(all: NewTransaction[], body: NewTransaction, refusal: Refusal): boolean {
    const { code, index, window } = refusal
    const postings = index === undefined ? body.postings : body.postings.slice(index, index + 1)
    const names = postings.flatMap(({ debit, credit }) => [debit, credit])
    switch (code) {
      case 'funds_reserved':
      // Expiry is decided by comparing times, and today is not what it was when the world began.
      case 'expiry_in_the_past':
        return true
      case 'id_reused_with_different_body':
        return this.#isKnown(body.id, window.to)
      case 'currency_mismatch':
        return new Set(names.map((name) => this.#account(name)?.currency)).size > 1
      case 'account_not_found': {
        const conditions = (body.conditions ?? []).map(({ account }) => account)
        return [...names, ...conditions].some((name) => this.#isAbsent(name, window))
      }
      case 'account_frozen':
      case 'account_dormant':
      case 'account_closed':
        return names.some((name) => this.#hasStatus(name, code, window))
      case 'version_conflict':
        return (body.conditions ?? []).some(({ account, version }) =>
          this.#states(account, window).some(
            (state) => state.version !== version || all.slice(0, -1).some(touches(account)),
          ),
        )
      case 'insufficient_funds':
      case 'limit_exceeded':
        // An item that had taken effect before is in the states already.
        return [
          all,
          all.filter((item) => item === body || !this.#isKnown(item.id, window.to)),
        ].some((items) => this.#lacksFunds(items, index, window))
      default:
        return false
    }
  }

  /** Whether some account that a posting lowers would have crossed its limit. */
  #lacksFunds(all: NewTransaction[], index: number | undefined, window: Window): boolean {
    const postings = all.flatMap((body, item) =>
      (item === all.length - 1 && index !== undefined
        ? body.postings.slice(0, index + 1)
        : body.postings
      ).map((posting) => ({
        ...posting,
        pending: body.pending === true,
        imported: body.imported === true,
      })),
    )
    const names = new Set(postings.flatMap(({ debit, credit }) => [debit, credit]))
    return [...names].some((name) => {
      const account = this.#account(name)
      if (account === undefined || account.isStriped) return false
      return statesIn(account, window).some((state) => crosses(account, state, name, postings))
    })
  }

  #isFollowUpRefused(body: FollowUp, refusal: Refusal): boolean {
    const { code, window } = refusal
    const own = this.#names.transactionId(`${body.target}/${body.id}`)
    if (code === 'id_reused_with_different_body') return this.#book.transactions.has(own)
    if (code === 'funds_reserved') return true
    const target = this.#book.transactions.get(this.#names.transactionId(body.target))
    const known = target === undefined ? [] : knownIn(target, window)
    const wasUnknown = !this.#isKnown(body.target, window.from)
    switch (code) {
      case 'hold_not_found':
        return (
          wasUnknown ||
          known.some(({ status }) => !status.startsWith('hold') && status !== 'pending')
        )
      case 'hold_already_posted':
        return known.some(({ status }) => status === 'hold posted')
      case 'hold_already_voided':
        return known.some(({ status }) => status === 'hold voided')
      case 'hold_expired':
        return (
          known.some(({ status }) => status === 'hold expired') ||
          target?.record.expiresAt !== undefined
        )
      case 'transaction_not_found':
        return wasUnknown
      case 'already_reversed':
        return known.some(({ status }) => status === 'reversed')
      case 'not_reversible':
        return known.some(({ status }) => status !== 'posted' && status !== 'hold post')
      case 'exceeds_hold':
        return known.some(({ remaining }) =>
          remaining.some((left, index) => left < BigInt(body.amounts?.[index] ?? 0) * 100n),
        )
      case 'amounts_mismatch':
        return target?.record.postings.length !== (body.amounts?.length ?? 1)
      case 'account_frozen':
      case 'account_dormant':
      case 'account_closed': {
        const ids = target?.record.postings.flatMap(({ debit, credit }) => [debit, credit]) ?? []
        return ids.some((id) => this.#hasStatusById(id, code, window))
      }
      case 'insufficient_funds':
      case 'limit_exceeded':
        return target !== undefined && this.#cannotBeReversed(target, window)
      default:
        return false
    }
  }

  #cannotBeReversed(target: Transaction, window: Window): boolean {
    const postings = target.record.postings
      .filter(({ amount }) => amount > 0n)
      .map(({ debit, credit, amount }) => ({
        debit: credit,
        credit: debit,
        amount,
        pending: false,
        imported: false,
      }))
    const ids = new Set(postings.flatMap(({ debit, credit }) => [debit, credit]))
    return [...ids].some((id) => {
      const account = this.#book.accounts.get(id)
      if (account === undefined || account.isStriped) return false
      return statesIn(account, window).some((state) => crosses(account, state, id, postings))
    })
  }

  #isChangeRefused(body: AccountChange, { code, window }: Refusal): boolean {
    const account = this.#account(body.id)
    switch (code) {
      case 'account_not_found':
        return this.#isAbsent(body.id, window)
      case 'account_closed':
        return this.#hasStatus(body.id, code, window)
      // What a shard cannot know alone of a striped account is checked by its neighbours' tests.
      case 'balance_not_zero':
        return (
          account?.isStriped ||
          this.#states(body.id, window).some((state) => state.debitsPosted !== state.creditsPosted)
        )
      case 'holds_pending':
        return (
          account?.isStriped ||
          this.#states(body.id, window).some((state) => state.pendingHolds > 0)
        )
      case 'funds_reserved':
        return true
      case 'version_conflict':
        return this.#states(body.id, window).some((state) => state.version !== body.version)
      case 'limit_exceeded':
        return (
          account !== undefined &&
          statesIn(account, window).some(
            (state) => availableOf(account, state) < floorOf(changed(state, body)),
          )
        )
      default:
        return false
    }
  }

  #isKnown(name: string, commit: number): boolean {
    const transaction = this.#book.transactions.get(this.#names.transactionId(name))
    return transaction !== undefined && (transaction.known[0]?.commit ?? Infinity) <= commit
  }

  #isAbsent(name: string, { from }: Window): boolean {
    const account = this.#account(name)
    return account === undefined || this.#book.appliedAt(account.states[0].madeBy) > from
  }

  #hasStatus(name: string, code: string, window: Window): boolean {
    return this.#hasStatusById(this.#names.accountId(name), code, window)
  }

  #hasStatusById(id: string, code: string, window: Window): boolean {
    const account = this.#book.accounts.get(id)
    if (account === undefined) return false
    // A part of a striped account keeps its status until it has applied the change of it.
    return account.states.some(({ status, commit }, index) => {
      const next = account.states[index + 1]?.madeBy
      const isOver = next !== undefined && this.#book.appliedAt(next) <= window.from
      return code === `account_${status}` && commit <= window.to && !isOver
    })
  }

  #states(name: string, window: Window): AccountState[] {
    const account = this.#account(name)
    return account === undefined ? [] : statesIn(account, window)
  }

  #account(name: string): Account | undefined {
    return this.#book.accounts.get(this.#names.accountId(name))
  }
}

/** What a transaction was known to be at some moment of the window. */
export function knownIn({ known }: Transaction, { from, to }: Window): Transaction['known'] {
  return known.filter(
    ({ commit }, index) =>
      commit <= to && (known[index + 1] === undefined || known[index + 1].commit > from),
  )
}

/** Whether an item before the refused one moves the version of an account. */
function touches(account: string): (item: NewTransaction) => boolean {
  return ({ postings }) =>
    postings.some(({ debit, credit }) => debit === account || credit === account)
}

/** The limits that an account would have after a change. */
function changed(state: AccountState, change: AccountChange): Parameters<typeof floorOf>[0] {
  const { overdraftLimit, minimumBalance } = change
  return {
    overdraftLimit:
      overdraftLimit === undefined ? state.overdraftLimit : BigInt(overdraftLimit) * 100n,
    minimumBalance:
      minimumBalance === undefined ? state.minimumBalance : BigInt(minimumBalance) * 100n,
  }
}

interface Move {
  debit: string
  credit: string
  /** Whole units as text, or minor units. */
  amount: string | bigint
  pending: boolean
  /** Imported history is exempt from limits. */
  imported: boolean
}

/** Whether the postings, one after the other, bring the account beyond its limit. */
function crosses(
  account: Account,
  state: AccountState,
  name: string,
  postings: readonly Move[],
): boolean {
  const counters = countersOf(state)
  for (const { debit, credit, amount, pending, imported } of postings) {
    const minor = typeof amount === 'bigint' ? amount : BigInt(amount) * 100n
    if (debit === name) counters[pending ? 'debitsPending' : 'debitsPosted'] += minor
    if (credit === name) counters[pending ? 'creditsPending' : 'creditsPosted'] += minor
    const isLowered = account.isDebitNormal ? credit === name : debit === name
    if (isLowered && !imported && availableOf(account, counters) < floorOf(state)) return true
  }
  return false
}
