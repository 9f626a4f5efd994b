import type { Static } from 'typebox'
import { type AccountClass, accountClasses } from '../actors/accounts.js'
import type { AccountSums, TrialBalanceSums } from '../history/trial-balance.js'
import type { GroupSums } from '../history/trial-balance-groups.js'
import { formatMinor } from '../money.js'
import type { TrialBalance } from './report-schemas.js'

type Shown = Static<typeof TrialBalance>['data']

/** Amounts as the report has them, in minor units. */
interface Columns {
  currency: string
  scale: number
  debits: bigint
  credits: bigint
  debitBalance: bigint
  creditBalance: bigint
}

/** Accounts, in the order given. */
export function shownAccounts(accounts: readonly AccountSums[]): Shown {
  const rows = accounts.map((account) => ({
    account: account.id,
    name: account.name ?? undefined,
    number: account.number ?? undefined,
    class: account.accountClass as AccountClass,
    type: account.type ?? undefined,
    ...shownColumns(columnsOf(account)),
  }))
  return { rows, totals: totalsOf(accounts) }
}

/** Kinds of accounts, by currency, class (as in a balance sheet) and type. */
export function shownGroups(groups: readonly GroupSums[]): Shown {
  const rows = groups.toSorted(inOrder).map((group) => ({
    class: (group.accountClass as AccountClass | null) ?? undefined,
    type: group.type ?? undefined,
    ...shownColumns(columnsOf(group)),
  }))
  return { rows, totals: totalsOf(groups) }
}

function totalsOf(sums: readonly TrialBalanceSums[]): Shown['totals'] {
  const totals = new Map<string, Columns>()
  for (const columns of sums.map(columnsOf)) {
    const name = `${columns.currency} ${columns.scale}`
    const total = totals.get(name)
    if (total === undefined) totals.set(name, columns)
    else {
      total.debits += columns.debits
      total.credits += columns.credits
      total.debitBalance += columns.debitBalance
      total.creditBalance += columns.creditBalance
    }
  }
  return [...totals.values()]
    .sort((one, other) => compareTexts(one.currency, other.currency))
    .map(shownColumns)
}

function columnsOf({ currency, scale, balance, debits }: TrialBalanceSums): Columns {
  return {
    ...{ currency, scale, debits },
    credits: debits - balance,
    debitBalance: balance > 0n ? balance : 0n,
    creditBalance: balance < 0n ? -balance : 0n,
  }
}

function shownColumns(columns: Columns): Shown['totals'][number] {
  const { currency, scale, debits, credits, debitBalance, creditBalance } = columns
  return {
    currency,
    debits: formatMinor(debits, scale),
    credits: formatMinor(credits, scale),
    debitBalance: formatMinor(debitBalance, scale),
    creditBalance: formatMinor(creditBalance, scale),
  }
}

function inOrder(one: GroupSums, other: GroupSums): number {
  return (
    compareTexts(one.currency, other.currency) ||
    one.scale - other.scale ||
    classOrder(one) - classOrder(other) ||
    compareTexts(one.type ?? '', other.type ?? '')
  )
}

function classOrder({ accountClass }: GroupSums): number {
  return accountClasses.indexOf(accountClass as AccountClass)
}

function compareTexts(one: string, other: string): number {
  if (one === other) return 0
  return one < other ? -1 : 1
}
