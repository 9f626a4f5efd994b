import { v7 } from 'uuid'
import { type AccountClass, accountClasses, isDebitNormal } from '../actors/accounts.js'
import { formatDay } from '../clock.js'
import {
  type AccountEntry,
  type EntryPlace,
  type HistoryAccount,
  readEntries,
  recordedBalance,
} from './account-history.js'
import type { HistoryPool, HistoryQueries, Positions } from './history-pool.js'
import type { Statement, StatementLine } from './statements/statement.js'

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
    const entries = await pool.read(undefined, async (queries) => {
      return await readEntries(queries, {
        ...{ tenant, account, ...range, upTo, descending: false, limit: pageEntries },
        ...(after === undefined ? {} : { after }),
        withTransactions: true,
      })
    })
    after = entries.at(-1)?.place
    for (const entry of entries) yield lineOf(account, entry)
    if (entries.length < pageEntries) return
  }
}

function lineOf(
  account: HistoryAccount,
  { place, transaction, amount, balance, effectiveDate, counterAccount, about }: AccountEntry,
): StatementLine {
  return {
    position: `${place.stream}-${place.seq}`,
    side: amount > 0n ? 'debit' : 'credit',
    amount: amount > 0n ? amount : -amount,
    balanceAfter: onNormalSide(account, balance),
    recordedAtMs: place.timeMs,
    ...{ transaction, effectiveDate, counterAccount },
    ...about,
  }
}

/** Debits less credits, seen from the account's normal side. */
export function onNormalSide(
  { accountClass }: Pick<HistoryAccount, 'accountClass'>,
  balance: bigint,
): bigint {
  return isDebitNormal(accountClasses.indexOf(accountClass as AccountClass)) ? balance : -balance
}
