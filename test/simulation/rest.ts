import { countersOf } from '../../src/actors/account-decision.js'
import type { BalanceView } from '../../src/actors/balance-entry.js'
import type { Book } from '../../src/actors/book.js'
import { TransactionState } from '../../src/actors/transactions.js'
import { formatKey, type Key } from '../../src/key.js'
import { keyOfName, tenant } from '../actors/engine-names.js'
import { type Account, type AccountCounters, isSame, stateNow } from './oracle/account-history.js'
import type { CommittedBook, Transaction } from './oracle/committed-book.js'
import type { SimulatedProcess } from './process.js'

/**
 * What a process still keeps of commands that are over, in words. When nobody asks for anything
 * there must come a time at which this is empty: what is left for ever would one day be all that
 * there is room for, or stand in the way of whoever comes next.
 */
export function leftoversOf(
  { shards, router }: SimulatedProcess,
  book: CommittedBook,
  wallMs: number,
): string[] {
  const left: string[] = []
  const note = (what: string, count: number) => {
    if (count !== 0) left.push(`${count} ${what}`)
  }
  for (const shard of shards) {
    const { gauges } = shard
    const { reservations, reversing, transactions, holds } = shard.book
    note('commands under way', gauges.coordinations)
    note('commands waiting', gauges.waitingCommands + gauges.mailboxCommands)
    note('records not committed', gauges.openRecords)
    note('accounts reserved', reservations.count)
    note('reversals under way', reversing.size)
    note('ids claimed', transactions.claimed)
    const pending = [...holds.all()]
    note('holds being settled', pending.filter(({ busy }) => busy).length)
    note('holds past their time', pending.filter(({ expiresAt }) => expiresAt <= wallMs).length)
  }
  note('commands counted by the router', router?.inFlightCommands ?? 0)
  const books = shards.map((shard) => shard.book)
  note('accounts that the journal knows otherwise', strayAccounts(books, book))
  note('transactions that the journal knows otherwise', strayTransactions(books, book))
  note('striped sums that the router does not know', unknownSums(router, book))
  return left
}

/** The shards have told the router all that they hold of striped accounts. */
function unknownSums(router: SimulatedProcess['router'], { accounts }: CommittedBook): number {
  if (router === undefined || router.streams.length === 1) return 0
  const striped = [...accounts.values()].filter(({ isStriped }) => isStriped)
  return striped.filter((account) => {
    const part: Pick<BalanceView, 'account' | 'striped'> = { account: account.id, striped: true }
    const sum = router.striped.sum(tenant, part as BalanceView)
    return sum === undefined || !isSame(sum.counters, account)
  }).length
}

/** Accounts that the shards have in memory otherwise than the plain model. */
function strayAccounts(books: readonly Book[], { accounts, transactions }: CommittedBook): number {
  const holds = pendingHolds([...transactions.values()])
  return [...accounts.values()].filter((account) => {
    const key = keyOfName(account.id)
    const owner = books.find((book) => book.owns(key))
    const row = owner?.accounts.find(tenant, key) ?? -1
    if (owner === undefined || row < 0) return true
    // A shard to which the creation has not come has an empty part.
    const parts = (account.isStriped ? books : [owner]).flatMap((book) => {
      const part = book.accounts.find(tenant, key)
      return part < 0 ? [] : { ...countersOf(book, part), holds: book.accounts.holds.get(part) }
    })
    const sum = sumOf(parts)
    const held = parts.reduce((all, part) => all + part.holds, 0)
    return !(
      isSame(sum, account) &&
      held === (holds.get(account.id) ?? 0) &&
      isAsIn(owner, row, account)
    )
  }).length
}

function isAsIn({ accounts }: Book, row: number, account: Account): boolean {
  const { version, status, minimumBalance } = stateNow(account)
  return (
    accounts.version.get(row) === version &&
    ['active', 'dormant', 'frozen', 'closed'][accounts.status.get(row)] === status &&
    accounts.minimumBalance.get(row) === minimumBalance
  )
}

/** How often pending holds name each account. */
function pendingHolds(transactions: readonly Transaction[]): Map<string, number> {
  const holds = new Map<string, number>()
  for (const { record, status } of transactions) {
    if (status !== 'pending') continue
    for (const id of record.postings.flatMap(({ debit, credit }) => [debit, credit])) {
      holds.set(id, (holds.get(id) ?? 0) + 1)
    }
  }
  return holds
}

function sumOf(parts: readonly AccountCounters[]): AccountCounters {
  const sum = { debitsPosted: 0n, creditsPosted: 0n, debitsPending: 0n, creditsPending: 0n }
  for (const part of parts) {
    sum.debitsPosted += part.debitsPosted
    sum.creditsPosted += part.creditsPosted
    sum.debitsPending += part.debitsPending
    sum.creditsPending += part.creditsPending
  }
  return sum
}

const states = {
  posted: TransactionState.posted,
  pending: TransactionState.pending,
  'hold posted': TransactionState.holdPosted,
  'hold voided': TransactionState.holdVoided,
  'hold expired': TransactionState.holdExpired,
  'hold post': TransactionState.holdPost,
  'hold void': TransactionState.holdVoid,
  reversal: TransactionState.reversal,
  reversed: TransactionState.reversed,
} as const

/** Ids that the shards remember otherwise than the plain model, or that only one of them knows. */
function strayTransactions(books: readonly Book[], { transactions }: CommittedBook): number {
  const strays = [...transactions].filter(([id, { status, remaining }]) => {
    const key = keyOfName(id)
    const owner = books.find((book) => book.owns(key))
    const row = owner?.transactions.find(tenant, key) ?? -1
    if (owner === undefined) return true
    if (row < 0) return status === 'pending' || !mayHave(owner, key)
    const left = owner.holds.get(row)?.postings.map((posting) => posting.remaining) ?? []
    const expected = status === 'pending' ? remaining : []
    return owner.transactions.state.get(row) !== states[status] || left.join() !== expected.join()
  })
  const unknown = books.flatMap(({ transactions: { keys } }) =>
    [...keys.rows()].filter((row) => !transactions.has(formatKey(keys.keyOf(row)))),
  )
  return strays.length + unknown.length
}

function mayHave({ letGo }: Book, { w0, w1, w2, w3 }: Key): boolean {
  return letGo.mayHave(tenant, Uint32Array.of(w0, w1, w2, w3), 0)
}
