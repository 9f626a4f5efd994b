import { Type } from 'typebox'
import { accountClasses, accountStatuses } from '../actors/accounts.js'
import { feedEventTypes } from '../history/feed/feed-event.js'
import { feedPositionPattern } from '../history/feed/feed-position.js'
import {
  type StatementFormatName,
  statementFormats,
} from '../history/statements/statement-formats.js'
import {
  boundedText,
  CurrencyCode,
  DayText,
  KeyText,
  Metadata,
  MinPosition,
  Money,
  oneOf,
  strict,
  Transaction,
} from './schemas.js'
import { fieldsParameter } from './sparse-fields.js'

/** What the routes over the read models take and give. */
const limitMax = 1000
const limitDefault = 100
/** Of a cursor: what has been asked for and a place, in base64url. */
const cursorLengthMax = 8192

/** A moment: a day begins at 00:00 UTC. */
const Moment = Type.String({
  pattern: '^\\d{4}-\\d{2}-\\d{2}(T\\d{2}:\\d{2}:\\d{2}(\\.\\d{1,3})?(Z|[+-]\\d{2}:\\d{2}))?$',
  description: 'A date, or a date and time such as 2026-01-31T12:00:00Z',
})

/** Query strings carry text: the number is read from it. */
export const Limit = Type.String({
  pattern: '^[1-9]\\d{0,3}$',
  description: `How many at most: 1 to ${limitMax}; ${limitDefault} if it is not given`,
})

export const Cursor = Type.String({
  minLength: 1,
  maxLength: cursorLengthMax,
  pattern: '^[A-Za-z0-9_-]+$',
  description: 'Of an earlier answer: goes on after its last row, with all that was asked there',
})

const Order = oneOf(['asc', 'desc'] as const, 'By when they were recorded; newest first: desc')

export const paging = {
  limit: Type.Optional(Limit),
  cursor: Type.Optional(Cursor),
  minPosition: Type.Optional(MinPosition),
}

export const Entry = Type.Object(
  {
    position: Type.String({ description: 'Of the record that moved it' }),
    transaction: Type.String({ format: 'uuid' }),
    counterAccount: Type.String({ format: 'uuid' }),
    side: oneOf(['debit', 'credit'] as const, 'Which side of the posting the account is on'),
    amount: Money,
    currency: CurrencyCode,
    balance: Type.String({ description: 'On the normal side, after this entry' }),
    effectiveDate: Type.String(),
    recordedAt: Type.String({ format: 'date-time' }),
    type: Type.Optional(Type.String({ description: 'Of the transaction' })),
    reference: Type.Optional(Type.String()),
    description: Type.Optional(Type.String()),
    category: Type.Optional(Type.String()),
    number: Type.Optional(Type.String()),
    code: Type.Optional(Type.Integer()),
  },
  { title: 'Entry' },
)

export const AccountRow = Type.Object(
  {
    id: Type.String({ format: 'uuid' }),
    name: Type.Optional(Type.String()),
    currency: CurrencyCode,
    class: oneOf(accountClasses, 'Class'),
    type: Type.Optional(Type.String()),
    owner: Type.Optional(Type.String()),
    number: Type.Optional(Type.String()),
    status: oneOf(accountStatuses, 'Status'),
    striped: Type.Optional(Type.Boolean()),
    overdraftLimit: Type.String({ description: 'A decimal string, or "unlimited"' }),
    minimumBalance: Money,
    balance: Type.String({ description: 'On the normal side, as far as `positions` say' }),
    createdAt: Type.String({ format: 'date-time' }),
    metadata: Type.Optional(Metadata),
  },
  { title: 'ListedAccount' },
)

/** What a row of each list is found again by. */
export const alwaysShown = { entry: ['position'], account: ['id'], transaction: ['id'] } as const

export const EntriesQuery = Type.Object(
  {
    from: Type.Optional(Moment),
    to: Type.Optional(Moment),
    order: Type.Optional(Order),
    fields: Type.Optional(fieldsParameter(Entry, alwaysShown.entry)),
    ...paging,
  },
  strict,
)

export const BalanceQuery = Type.Object(
  {
    at: Moment,
    minPosition: Type.Optional(MinPosition),
  },
  strict,
)

export const StatementQuery = Type.Object(
  {
    from: DayText,
    to: DayText,
    format: Type.Optional(
      oneOf(Object.keys(statementFormats) as StatementFormatName[], 'json if it is not given'),
    ),
    minPosition: Type.Optional(MinPosition),
  },
  strict,
)

/** Balances are only in the answer to the first request. */
export const ListedTransaction = Type.Omit(Transaction, ['balances'])

/** Of the feed: repeated, or several in one with commas between them. */
const listOf = (most: number, item: string, description: string) => {
  const text = Type.String({ pattern: `^${item}(,${item})*$`, description })
  return Type.Union([text, Type.Array(text, { maxItems: most })], { description })
}

export const feedAccountsMax = 256

export const FeedQuery = Type.Object(
  {
    after: Type.Optional(
      Type.String({
        pattern: feedPositionPattern,
        description:
          'A position, the id of an event: what follows it is sent. 0: from the beginning. ' +
          'Absent: what happens from now on',
      }),
    ),
    account: Type.Optional(
      listOf(
        feedAccountsMax,
        '[A-Za-z0-9._:-]{1,64}',
        `Only what takes effect on one of these accounts, ${feedAccountsMax} at most; repeated, or with commas`,
      ),
    ),
    type: Type.Optional(
      listOf(
        feedEventTypes.length,
        `(${feedEventTypes.map((type) => type.replace('.', '\\.')).join('|')})`,
        `Only events of these types: ${feedEventTypes.join(', ')}; repeated, or with commas`,
      ),
    ),
  },
  strict,
)

const filterFields = {
  account: Type.Optional(KeyText),
  reference: Type.Optional(boundedText(128, 'Exactly this reference')),
  category: Type.Optional(boundedText(64, 'Exactly this category')),
  number: Type.Optional(boundedText(64, 'Exactly this number')),
  from: Type.Optional(Moment),
  to: Type.Optional(Moment),
  effectiveFrom: Type.Optional(DayText),
  effectiveTo: Type.Optional(DayText),
  status: Type.Optional(
    oneOf(['posted', 'pending', 'voided', 'expired', 'reversed'] as const, 'Status'),
  ),
  type: Type.Optional(oneOf(['transaction', 'hold', 'post', 'void', 'reversal'] as const, 'Type')),
  fields: Type.Optional(fieldsParameter(ListedTransaction, alwaysShown.transaction)),
}

export const TransactionsQuery = Type.Object(
  {
    ...filterFields,
    code: Type.Optional(Type.String({ pattern: '^\\d{1,10}$', description: 'Exactly this code' })),
    ...paging,
  },
  strict,
)

const FilterAmount = Type.String({
  maxLength: 28,
  pattern: '^\\d{1,19}(\\.\\d{1,8})?$',
  description: 'A decimal string in the scale of `currency`',
})

/** What a search takes in its body: JSON has numbers, and room for metadata. */
const searchFields = {
  metadata: Type.Optional(
    Type.Intersect([Metadata], { description: 'Has at least these, with these values' }),
  ),
  limit: Type.Optional(
    Type.Integer({
      minimum: 1,
      maximum: limitMax,
      description: `${limitDefault} if it is not given`,
    }),
  ),
  cursor: Type.Optional(Cursor),
  minPosition: Type.Optional(MinPosition),
}

export const TransactionSearch = Type.Object(
  {
    ...filterFields,
    code: Type.Optional(
      Type.Integer({ minimum: 0, maximum: 4_294_967_295, description: 'Exactly this code' }),
    ),
    currency: Type.Optional(CurrencyCode),
    amountFrom: Type.Optional(FilterAmount),
    amountTo: Type.Optional(FilterAmount),
    ...searchFields,
  },
  {
    ...strict,
    title: 'TransactionSearch',
    examples: [{ account: 'customer:ada', status: 'posted', currency: 'EUR', amountFrom: '100' }],
  },
)

const accountFilterFields = {
  owner: Type.Optional(boundedText(128, 'Exactly this owner')),
  number: Type.Optional(boundedText(64, 'Exactly this number')),
  type: Type.Optional(boundedText(64, 'Exactly this type')),
  namePrefix: Type.Optional(
    Type.String({
      pattern: '^[A-Za-z0-9._:-]{1,64}$',
      description: 'How its name begins, such as `customer:`',
    }),
  ),
  status: Type.Optional(oneOf(accountStatuses, 'Status')),
  class: Type.Optional(oneOf(accountClasses, 'Class')),
  currency: Type.Optional(CurrencyCode),
  from: Type.Optional(Moment),
  to: Type.Optional(Moment),
  fields: Type.Optional(fieldsParameter(AccountRow, alwaysShown.account)),
}

export const AccountsQuery = Type.Object({ ...accountFilterFields, ...paging }, strict)

export const AccountSearch = Type.Object(
  { ...accountFilterFields, ...searchFields },
  {
    ...strict,
    title: 'AccountSearch',
    examples: [{ type: 'current', status: 'active', metadata: { branch: 'Brno' } }],
  },
)

export const ListMeta = Type.Object({
  positions: Type.Array(Type.String(), {
    description: 'Per stream, the last record that the answer rests on',
  }),
  cursor: Type.Optional(
    Type.String({ description: 'There are more: ask again with it. Absent: this was the end' }),
  ),
})

export const EntryList = Type.Object(
  { data: Type.Array(Entry), meta: ListMeta },
  { title: 'EntryList' },
)

export const AccountList = Type.Object(
  { data: Type.Array(AccountRow), meta: ListMeta },
  { title: 'AccountList' },
)

export const BalanceAnswer = Type.Object(
  {
    data: Type.Object({
      account: Type.String({ format: 'uuid' }),
      class: oneOf(accountClasses, 'Class'),
      currency: CurrencyCode,
      balance: Type.String({ description: 'On the normal side' }),
      at: Type.String(),
      by: oneOf(
        ['effective', 'recorded'] as const,
        'A date means all that is effective up to and with it; a moment, all recorded by then',
      ),
    }),
    meta: ListMeta,
  },
  { title: 'BalanceAnswer' },
)

export const TransactionList = Type.Object(
  { data: Type.Array(Transaction), meta: ListMeta },
  { title: 'TransactionList' },
)

export function limitOf(given: string | number | undefined): number {
  return Math.min(given === undefined ? limitDefault : Number(given), limitMax)
}
