import { v7 } from 'uuid'
import { type AccountClass, accountClasses, isDebitNormal } from '../actors/accounts.js'
import { formatDay } from '../clock.js'
import type { RecordKind } from '../journal/record.js'
import { transactionType } from '../journal/transaction-type.js'
import {
  type AccountEntry,
  type EntryPlace,
  type HistoryAccount,
  readEntries,
  recordedBalance,
} from './account-history.js'
import type { HistoryPool, HistoryQueries, Positions } from './history-pool.js'
import type { Statement, StatementLine } from './statements/statement.js'
import { findTransactions } from './transaction-history.js'

/** Entries that are read at a time: nobody's transaction stays open while a client reads. */
const pageEntries = 500
const dayMs = 86_400_000

export interface StatementQuery {
  tenant: number
  account: HistoryAccount
  /** Days since 1970, by when entries were recorded; both included. */
  fromDay: number
  toDay: number
  servicer: Statement['servicer']
  createdAtMs: number
}

/**
 * A statement of what was recorded on an account from day to day, as far as the read models hold it
 * now: its lines are the same however often, and whenever, they are read.
 */
export async function accountStatement(
  pool: HistoryPool,
  queries: HistoryQueries,
  query: StatementQuery,
): Promise<Statement> {
  const { tenant, account, fromDay, toDay, servicer, createdAtMs } = query
  const opening = await recordedBalance(queries, { tenant, account, beforeMs: fromDay * dayMs })
  const upTo = queries.followed
  return {
    id: v7({ msecs: createdAtMs }),
    servicer,
    account: {
      ...{ id: account.id, currency: account.currency, scale: account.scale },
      class: account.accountClass as AccountClass,
      ...(account.name === null ? {} : { name: account.name }),
      ...(account.number === null ? {} : { number: account.number }),
      ...(account.owner === null ? {} : { owner: account.owner }),
    },
    from: formatDay(fromDay),
    to: formatDay(toDay),
    createdAtMs,
    openingBalance: onNormalSide(account, opening),
    lines: () => linesOf(pool, query, upTo),
  }
}

async function* linesOf(
  pool: HistoryPool,
  { tenant, account, fromDay, toDay }: StatementQuery,
  upTo: Positions,
): AsyncIterable<StatementLine> {
  const range = { fromMs: fromDay * dayMs, beforeMs: (toDay + 1) * dayMs }
  let after: EntryPlace | undefined
  for (;;) {
    const lines = await pool.read(undefined, async (queries) => {
      const entries = await readEntries(queries, {
        ...{ tenant, account, ...range, upTo, descending: false, limit: pageEntries },
        ...(after === undefined ? {} : { after }),
      })
      after = entries.at(-1)?.place
      return await withTransactions(queries, tenant, account, entries)
    })
    yield* lines
    if (lines.length < pageEntries) return
  }
}

async function withTransactions(
  queries: HistoryQueries,
  tenant: number,
  account: HistoryAccount,
  entries: readonly AccountEntry[],
): Promise<StatementLine[]> {
  const found = await findTransactions(queries, { tenant, ...transactionsOf(entries) })
  const transactions = new Map(found.map((transaction) => [transaction.id, transaction]))
  return entries.map(({ place, transaction, amount, balance, effectiveDate, counterAccount }) => {
    const made = transactions.get(transaction)
    const { reference, description, category, number, code } = made ?? {}
    return {
      position: `${place.stream}-${place.seq}`,
      side: amount > 0n ? 'debit' : 'credit',
      amount: amount > 0n ? amount : -amount,
      balanceAfter: onNormalSide(account, balance),
      recordedAtMs: place.timeMs,
      ...{ transaction, effectiveDate, counterAccount },
      ...(made === undefined
        ? {}
        : { type: transactionType(made.kind as RecordKind, made.remaining !== undefined) }),
      ...(reference === undefined ? {} : { reference }),
      ...(description === undefined ? {} : { description }),
      ...(category === undefined ? {} : { category }),
      ...(number === undefined ? {} : { number }),
      ...(code === undefined ? {} : { code }),
    }
  })
}

/** The transactions of some entries, and when most of them were recorded. */
export function transactionsOf(entries: readonly AccountEntry[]): {
  ids: string[]
  range?: { fromMs: number; toMs: number }
} {
  const ids = [...new Set(entries.map(({ transaction }) => transaction))]
  if (ids.length === 0) return { ids }
  const times = entries.map(({ place }) => place.timeMs)
  return { ids, range: { fromMs: Math.min(...times), toMs: Math.max(...times) } }
}

/** Debits less credits, seen from the account's normal side. */
export function onNormalSide(
  { accountClass }: Pick<HistoryAccount, 'accountClass'>,
  balance: bigint,
): bigint {
  return isDebitNormal(accountClasses.indexOf(accountClass as AccountClass)) ? balance : -balance
}
