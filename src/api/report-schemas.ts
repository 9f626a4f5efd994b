import { Type } from 'typebox'
import { accountClasses } from '../actors/accounts.js'
import { ListMeta, paging } from './history-schemas.js'
import { CurrencyCode, DayText, MinPosition, Money, oneOf, strict } from './schemas.js'

/** What the reports take and give. */
const { limit, cursor } = paging

export const TrialBalanceQuery = Type.Object(
  {
    at: Type.Optional(
      Type.String({
        minLength: 1,
        maxLength: 2048,
        pattern:
          '^(\\d{1,9}-\\d{1,15}(,\\d{1,9}-\\d{1,15})*|\\d{4}-\\d{2}-\\d{2}T\\d{2}:\\d{2}:\\d{2}(\\.\\d{1,3})?(Z|[+-]\\d{2}:\\d{2}))$',
        description:
          'A book position such as 1-500,2-300, as an answer has given it, or a moment such as ' +
          '2026-01-31T23:59:59.999Z: what was recorded by then',
      }),
    ),
    by: Type.Optional(
      oneOf(
        ['account', 'type', 'class', 'currency'] as const,
        'What a row is; account, page by page, if it is not given',
      ),
    ),
    limit,
    cursor,
  },
  strict,
)

/** Ten years, with their leap days. */
export const daysMax = 3660

export const DailyBalancesQuery = Type.Object(
  {
    from: DayText,
    to: DayText,
    every: Type.Optional(
      oneOf(
        ['day', 'movement'] as const,
        'Each day, as without it; or only those on which something took effect',
      ),
    ),
    minPosition: Type.Optional(MinPosition),
  },
  strict,
)

export const DailyBalances = Type.Object(
  {
    data: Type.Object({
      account: Type.String({ format: 'uuid' }),
      class: oneOf(accountClasses, 'Class'),
      currency: CurrencyCode,
      openingBalance: Type.String({ description: 'On the normal side, before the first day' }),
      days: Type.Array(
        Type.Object({
          date: Type.String(),
          debits: Money,
          credits: Money,
          balance: Type.String({ description: 'On the normal side, at the end of the day' }),
        }),
        { maxItems: daysMax },
      ),
    }),
    meta: ListMeta,
  },
  { title: 'DailyBalances' },
)

const sums = {
  currency: CurrencyCode,
  debits: Type.String({ description: 'All debits up to the position' }),
  credits: Type.String({ description: 'All credits up to the position' }),
  debitBalance: Type.String({ description: 'Debits less credits, if they are more; else zero' }),
  creditBalance: Type.String({ description: 'Credits less debits, if they are more; else zero' }),
}

const TrialBalanceRow = Type.Object(
  {
    account: Type.Optional(Type.String({ format: 'uuid' })),
    name: Type.Optional(Type.String()),
    number: Type.Optional(Type.String()),
    class: Type.Optional(oneOf(accountClasses, 'Class')),
    type: Type.Optional(Type.String({ description: 'Absent: of accounts without one' })),
    ...sums,
  },
  { title: 'TrialBalanceRow' },
)

export const TrialBalance = Type.Object(
  {
    data: Type.Object({
      rows: Type.Array(TrialBalanceRow),
      totals: Type.Array(Type.Object(sums), {
        description:
          'Per currency, of the rows of this answer. Unless it is a page of many, debits are ' +
          'equal to credits, and so are the balances',
      }),
    }),
    meta: Type.Object({
      position: Type.String({
        description: 'Of the book: given as `at`, it gives the same answer for ever',
      }),
      cursor: Type.Optional(
        Type.String({ description: 'There are more: ask again with it. Absent: this was the end' }),
      ),
    }),
  },
  { title: 'TrialBalance' },
)
