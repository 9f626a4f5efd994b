import { isDeepStrictEqual } from 'node:util'
import type {
  AccountView,
  BalanceView,
  ItemAnswer,
  NewTransaction,
  Refused,
  TransactionView,
} from '../../actors/model.js'
import type { ClientAnswer, Command } from '../commands.js'
import { type Intent, intentsOf, isRead, type Request } from '../request.js'
import {
  type Account,
  type AccountState,
  type countersOf,
  isSame,
  statesIn,
  type Window,
} from './account-history.js'
import type { CommittedBook, Transaction } from './committed-book.js'
import { fits } from './intent-check.js'
import { positionOf } from './record-effects.js'
import { knownIn, type Names, RefusalCheck } from './refusal-check.js'
import { expect } from './violation.js'

/**
 * Checks each answer at the moment at which a process lets it go, against what is committed at that
 * moment and was committed when the client asked.
 */
export class AnswerCheck {
  readonly #book: CommittedBook
  readonly #names: Names
  readonly #refusals: RefusalCheck
  /** What clients have been told of each id. */
  readonly #told = new Map<string, { accepted: number; replayed: number }>()
  readonly #acknowledgedSums = new Map<string, AcknowledgedSum[]>()

  constructor(book: CommittedBook, names: Names) {
    this.#book = book
    this.#names = names
    this.#refusals = new RefusalCheck(book, names)
  }

  check(request: Request, answer: ClientAnswer, window: Window): void {
    const { command } = request
    switch (answer.outcome) {
      case 'unanswered':
      case 'lost':
      case 'not ready':
      case 'overloaded':
        return
      case 'refused':
        this.#assertNoRepeat(command, answer, window)
        if (isOfNothing(answer.code)) return
        expect(
          this.#refusals.isJustified(command, { ...answer, index: answer.index, window }),
          6,
          () => `${answer.code} rests on nothing durable`,
        )
        return
      case 'accepted':
      case 'replayed': {
        const [intent] = intentsOf(command)
        const { outcome, seq } = answer
        const transaction = this.#acknowledged(intent, { outcome, seq }, window.to)
        this.#checkView(intent.id, transaction, answer.transaction, window)
        if (answer.outcome === 'accepted') this.#checkBalances(answer.balances, transaction)
        return
      }
      case 'read':
        if (command.does === 'read transaction') {
          const transaction = this.#durable(command.id)
          this.#checkView(command.id, transaction, answer.transaction, window)
        }
        return
      case 'account':
        if (!('id' in command || command.does.endsWith('account'))) return
        this.#checkAccount(request, answer.account, window)
        return
      case 'batch':
        this.#checkItems(request, answer.items, window)
    }
  }

  /**
   * What has taken effect before somebody asks is answered to who asks for the same again; `it was
   * not accepted` would be false. A refusal of a whole batch is about the item that it names.
   */
  #assertNoRepeat(command: Command, { code, index }: Refused, { from }: Window): void {
    if (code === 'id_reused_with_different_body') return
    // It says that nobody knows.
    if (code === 'old_id_not_checked') return
    // Another shard that is asked to claim an id may not know yet that what it did is over.
    if (command.does === 'batch' && command.how === 'atomic' && code === 'funds_reserved') return
    const intents = intentsOf(command)
    const isOfAll = command.does !== 'batch' || isOfNothing(code) || index === undefined
    const refused = isOfAll ? intents : [intents[index]]
    const isKnown = ({ id, body }: Intent) => {
      const transaction = this.#book.transactions.get(this.#names.transactionId(id))
      if (transaction === undefined || !fits(transaction, body, this.#names)) return false
      return transaction.known.length > 0 && transaction.known[0].commit <= from
    }
    expect(
      refused.length === 0 || !refused.every(isKnown),
      3,
      () => `${refused.map(({ id }) => id)} took effect, and a repeat is refused: ${code}`,
    )
  }

  /** At the end: what is there was acknowledged, and what was acknowledged is there. */
  finish(): void {
    for (const [id, transaction] of this.#book.transactions) {
      const told = this.#told.get(id)
      const position = positionOf(transaction.record)
      expect(told !== undefined, 3, () => `${id} at ${position} was refused, or nobody sent it`)
      expect(
        told.accepted <= 1,
        3,
        () => `${id} at ${position} was accepted ${told.accepted} times`,
      )
    }
  }

  #checkItems(request: Request, items: ItemAnswer[], window: Window): void {
    const { command } = request
    if (command.does !== 'batch') return
    for (const [index, item] of items.entries()) {
      const intent = intentsOf(command)[index]
      if (item.outcome !== 'refused') {
        this.#acknowledged(intent, item, window.to)
        continue
      }
      const body = command.bodies[index]
      this.#assertNoRepeat({ does: 'post', body }, item, window)
      if (isOfNothing(item.code)) continue
      const refusal = { code: item.code, index: undefined, window }
      expect(
        this.#refusals.isJustified({ does: 'post', body }, refusal),
        6,
        () => `${item.code} of item ${index} rests on nothing durable`,
      )
    }
    this.#assertInOrder(command, items)
  }

  /** Items of an atomic batch share a commit; those of an ordered one that share an account follow. */
  #assertInOrder(command: Extract<Command, { does: 'batch' }>, items: readonly ItemAnswer[]): void {
    if (command.how === 'unordered') return
    const isAtomic = command.how === 'atomic'
    const refused = items.filter(({ outcome }) => outcome === 'refused').length
    expect(!isAtomic || refused === 0, 2, () => `${refused} items of an atomic batch are refused`)
    const done = command.bodies.flatMap((body, index) => {
      const { outcome } = items[index]
      if (outcome === 'refused') return []
      return { outcome, transaction: this.#durable(body.id), names: this.#accountsOf(body) }
    })
    for (const [index, later] of done.entries()) {
      if (later.outcome === 'replayed') continue
      for (const { outcome, transaction, names } of done.slice(0, index)) {
        const isFree = !isAtomic && !names.some((name) => later.names.includes(name))
        const isTogether = later.transaction.record.commit === transaction.record.commit
        const isAfter = later.transaction.order > transaction.order
        expect(
          isFree || (isAfter && (isTogether || !isAtomic || outcome === 'replayed')),
          2,
          () =>
            `${positionOf(later.transaction.record)} of an ${command.how} batch is not as it ` +
            `should be to ${positionOf(transaction.record)}`,
        )
      }
    }
  }

  #accountsOf({ postings, conditions = [] }: NewTransaction): string[] {
    return [
      ...postings.flatMap(({ debit, credit }) => [debit, credit]),
      ...conditions.map(({ account }) => account),
    ].filter((name) => this.#book.accounts.get(this.#names.accountId(name))?.isStriped === false)
  }

  #acknowledged(
    intent: Intent,
    { outcome, seq }: { outcome: 'accepted' | 'replayed' | 'read'; seq: number },
    commit: number,
  ): Transaction {
    const transaction = this.#durable(intent.id)
    const { record } = transaction
    const position = positionOf(record)
    expect(record.seq === seq, 1, () => `${intent.id} is answered as ${seq}, it is at ${position}`)
    expect(
      fits(transaction, intent.body, this.#names),
      3,
      () => `${intent.id} at ${position} has another body than what was acknowledged`,
    )
    expect(
      this.#book.isAppliedEverywhere(record),
      6,
      () => `${intent.id} at ${position} is acknowledged before all have applied it`,
    )
    const id = this.#names.transactionId(intent.id)
    const told = this.#told.get(id) ?? { accepted: 0, replayed: 0 }
    if (told.accepted + told.replayed === 0) this.#sumUp(transaction, commit)
    if (outcome === 'accepted') told.accepted += 1
    else told.replayed += 1
    this.#told.set(id, told)
    expect(told.accepted <= 1, 3, () => `${intent.id} is accepted twice`)
    return transaction
  }

  #sumUp({ record, status }: Transaction, commit: number): void {
    if (record.pending || status === 'hold void') return
    for (const { debit, credit, amount } of record.postings) {
      this.#addSum(debit, commit, { debitsPosted: amount, creditsPosted: 0n })
      this.#addSum(credit, commit, { debitsPosted: 0n, creditsPosted: amount })
    }
  }

  #addSum(id: string, commit: number, more: Omit<AcknowledgedSum, 'commit'>): void {
    if (this.#book.accounts.get(id)?.isStriped !== true) return
    const sums = this.#acknowledgedSums.get(id) ?? []
    const last = sums.at(-1)
    sums.push({
      commit,
      debitsPosted: (last?.debitsPosted ?? 0n) + more.debitsPosted,
      creditsPosted: (last?.creditsPosted ?? 0n) + more.creditsPosted,
    })
    this.#acknowledgedSums.set(id, sums)
  }

  #durable(name: string): Transaction {
    const transaction = this.#book.transactions.get(this.#names.transactionId(name))
    expect(transaction !== undefined, 1, () => `${name} is shown and is not in the journal`)
    return transaction
  }

  #checkView(name: string, transaction: Transaction, view: TransactionView, window: Window): void {
    const amounts = view.postings.map(({ amount }) => amount).join()
    const { record } = transaction
    const recorded = transaction.status === 'hold void' ? [] : record.postings
    expect(
      amounts === recorded.map(({ amount }) => amount).join(),
      6,
      () => `${name} is shown with ${amounts}`,
    )
    const known = knownIn(transaction, window)
    expect(
      known.some(({ status, remaining }) => isShown(view, status, remaining)),
      6,
      () => `${name} is shown as ${view.status}, it was ${known.map(({ status }) => status)}`,
    )
  }

  #checkBalances(balances: Record<string, BalanceView>, transaction: Transaction): void {
    for (const [name, balance] of Object.entries(balances)) {
      const account = this.#account(name)
      if (account.isStriped) continue
      const state = account.states.find(({ version }) => version === balance.version)
      expect(
        state !== undefined && isSame(state, balance),
        6,
        () =>
          `${positionOf(transaction.record)} shows ${name} at version ${balance.version} as ${text(balance)}`,
      )
    }
  }

  #checkAccount({ command }: Request, view: AccountView, window: Window): void {
    if (!('body' in command) && command.does !== 'read account') return
    const name = command.does === 'read account' ? command.id : (command.body as { id: string }).id
    const account = this.#account(name)
    if (account.isStriped && isRead(command)) this.#checkSum(account, view, window)
    const states = statesIn(account, window)
    const shown = states.find((state) => isShownAs(account, state, view))
    expect(
      shown !== undefined,
      6,
      () =>
        `${name} is shown as ${text(view)}, ${view.status}; it was ` +
        states.map((state) => `${text(state)}, ${state.status}`).join(' or '),
    )
    expect(
      isRead(command) || this.#book.isAppliedEverywhere(shown.madeBy),
      6,
      () => `${positionOf(shown.madeBy)} is acknowledged before all have applied it`,
    )
  }

  /** The sum holds what was acknowledged before the read, and nothing that is not in the journal. */
  #checkSum(account: Account, view: AccountView, { from }: Window): void {
    const least = this.#acknowledgedSums.get(account.id)?.findLast(({ commit }) => commit <= from)
    const isBetween = (shown: bigint, low: bigint | undefined, high: bigint) =>
      shown >= (low ?? 0n) && shown <= high
    expect(
      isBetween(view.debitsPosted, least?.debitsPosted, account.debitsPosted) &&
        isBetween(view.creditsPosted, least?.creditsPosted, account.creditsPosted),
      6,
      () => `${account.id} is shown as ${text(view)}, the journal says ${text(account)}`,
    )
  }

  #account(name: string): Account {
    const account = this.#book.accounts.get(this.#names.accountId(name))
    expect(account !== undefined, 6, () => `account ${name} is shown and is not in the journal`)
    return account
  }
}

/** Turnover of a striped account that has been acknowledged up to a commit. */
interface AcknowledgedSum {
  commit: number
  debitsPosted: bigint
  creditsPosted: bigint
}

/** Of a striped account its own stream knows all but what it holds. */
function isShownAs(account: Account, state: AccountState, view: AccountView): boolean {
  return (
    state.version === view.version &&
    (account.isStriped || isSame(state, view)) &&
    state.status === view.status &&
    state.overdraftLimit === view.overdraftLimit &&
    state.minimumBalance === view.minimumBalance &&
    isDeepStrictEqual(state.metadata, view.metadata) &&
    account.currency === view.currency &&
    account.createdAt === view.createdAt
  )
}

function isShown(view: TransactionView, status: string, remaining: bigint[]): boolean {
  if (view.status !== status) return false
  return view.remaining === undefined || view.remaining.join() === remaining.join()
}

function text(of: Parameters<typeof countersOf>[0] & { version?: number }): string {
  const { debitsPosted, creditsPosted, debitsPending, creditsPending } = of
  const version = of.version === undefined ? '' : ` (version ${of.version})`
  return `${debitsPosted}/${creditsPosted} posted, ${debitsPending}/${creditsPending} pending${version}`
}

/** A refusal that says nothing of the book. */
function isOfNothing(code: string): boolean {
  return code === 'journal_unavailable' || code === 'old_id_not_checked'
}
