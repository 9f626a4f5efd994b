import { Type } from 'typebox'
import { accountClasses, accountStatuses } from '../actors/accounts.js'
import { currencyCodePattern } from '../currency.js'
import { keyTextPattern } from '../key.js'
import { batchItemsMax } from './binary-batch.js'

/**
 * What the API takes and gives. The same schemas validate the requests and become openapi.json.
 * `format: text` is well-formed Unicode without NUL; it is defined in server.ts.
 */
export const strict = { additionalProperties: false }

export const boundedText = (maxLength: number, description: string) =>
  Type.String({ minLength: 1, maxLength, format: 'text', description })

export const KeyText = Type.String({
  pattern: keyTextPattern,
  description: 'A UUID, or a name of 1 to 64 characters A-Z a-z 0-9 . _ : -',
})

/** 19 digits, a point, and 8 decimals: longer text is not even looked at. */
const decimalLengthMax = 28

const Amount = Type.String({
  maxLength: decimalLengthMax,
  pattern: '^(?=.*[1-9])\\d{1,19}(\\.\\d{1,8})?$',
  description: 'A decimal string greater than zero in the currency\'s own scale, such as "125.50"',
})

/** Zero is allowed: a limit, or a part of a hold that is not posted. */
const AmountOrZero = Type.String({
  maxLength: decimalLengthMax,
  pattern: '^\\d{1,19}(\\.\\d{1,8})?$',
  description: 'A decimal string such as "125.50" or "0"',
})

export const Money = Type.String({ description: "A decimal string in the currency's own scale" })

export const CurrencyCode = Type.String({
  pattern: currencyCodePattern,
  description: 'An ISO 4217 code, or a currency of the configuration',
})

export const Metadata = Type.Record(
  Type.String(),
  Type.Union([
    Type.String({ maxLength: 4096, format: 'text' }),
    Type.Boolean(),
    Type.Integer({ minimum: Number.MIN_SAFE_INTEGER, maximum: Number.MAX_SAFE_INTEGER }),
  ]),
  {
    maxProperties: 64,
    propertyNames: {
      minLength: 1,
      maxLength: 64,
      format: 'text',
      // msgpackr writes the second when it reads the first.
      not: { enum: ['__proto__', '__proto_'] },
    },
    description: 'Strings, booleans and whole numbers by name; at most 4,096 bytes as JSON',
  },
)

export const DayText = Type.String({
  pattern: '^\\d{4}-\\d{2}-\\d{2}$',
  description: 'A date, YYYY-MM-DD',
})

const OverdraftLimit = Type.Union([AmountOrZero, Type.Literal('unlimited')], {
  description: 'How far below zero the account may go: a decimal string, or "unlimited"',
})

export const oneOf = <T extends readonly string[]>(values: T, description: string) =>
  Type.Enum(values as unknown as [T[number], ...T[number][]], { description })

export const NewAccount = Type.Object(
  {
    id: Type.Optional(KeyText),
    currency: CurrencyCode,
    class: oneOf(accountClasses, 'Decides the normal side: debit for asset and expense'),
    type: Type.Optional(boundedText(64, 'What kind of account it is to you')),
    owner: Type.Optional(boundedText(128, 'Who it belongs to')),
    number: Type.Optional(boundedText(64, 'Its number on paper')),
    overdraftLimit: Type.Optional(OverdraftLimit),
    minimumBalance: Type.Optional(AmountOrZero),
    striped: Type.Optional(
      Type.Boolean({
        description:
          'For an account that everybody posts to, such as cash, fees or clearing: every shard ' +
          'keeps a part of it, and the balance is their sum. It has no limits. Fixed for ever',
      }),
    ),
    metadata: Type.Optional(Metadata),
  },
  {
    ...strict,
    title: 'NewAccount',
    examples: [
      { id: 'customer:ada', currency: 'EUR', class: 'liability', overdraftLimit: '100.00' },
      { id: 'fees', currency: 'EUR', class: 'income', striped: true },
    ],
  },
)

export const AccountChanges = Type.Object(
  {
    status: Type.Optional(oneOf(accountStatuses, 'Closing is final')),
    overdraftLimit: Type.Optional(OverdraftLimit),
    minimumBalance: Type.Optional(AmountOrZero),
    metadata: Type.Optional(Metadata),
    version: Type.Optional(
      Type.Integer({
        minimum: 1,
        maximum: Number.MAX_SAFE_INTEGER,
        description: 'Refuse the change unless this is the version of the account',
      }),
    ),
  },
  {
    ...strict,
    title: 'AccountChanges',
    minProperties: 1,
    examples: [{ status: 'frozen', version: 3 }],
  },
)

const balanceFields = {
  debitsPosted: Money,
  creditsPosted: Money,
  debitsPending: Money,
  creditsPending: Money,
  balance: Money,
  available: Money,
}

export const MinPosition = Type.String({
  pattern: '^\\d{1,9}-\\d{1,15}$',
  description:
    'A position that an answer has given, such as "1-17": the read shows at least what was there',
})

const AccountPosition = Type.String({
  description: 'Of the last record that touched the account; seq 0: it is of an earlier generation',
})

const Striped = Type.Optional(
  Type.Boolean({
    description: 'The account is striped: counters and balance are sums of its parts',
  }),
)

export const Account = Type.Object(
  {
    id: Type.String({ format: 'uuid' }),
    name: Type.Optional(Type.String()),
    currency: CurrencyCode,
    class: oneOf(accountClasses, 'Class'),
    normalSide: oneOf(['debit', 'credit'] as const, 'The side on which the balance grows'),
    type: Type.Optional(Type.String()),
    owner: Type.Optional(Type.String()),
    number: Type.Optional(Type.String()),
    status: oneOf(accountStatuses, 'Status'),
    overdraftLimit: OverdraftLimit,
    minimumBalance: Money,
    striped: Striped,
    balances: Type.Object(balanceFields),
    version: Type.Integer(),
    position: AccountPosition,
    createdAt: Type.String({ format: 'date-time' }),
    metadata: Type.Optional(Metadata),
  },
  { title: 'Account' },
)

const flatPosting = {
  debit: KeyText,
  credit: KeyText,
  amount: Amount,
  currency: Type.Optional(CurrencyCode),
}

const PostingInput = Type.Object(flatPosting, { ...strict, title: 'NewPosting' })

const attributes = {
  reference: Type.Optional(boundedText(128, 'A reference of yours')),
  description: Type.Optional(boundedText(512, 'For people to read')),
  category: Type.Optional(boundedText(64, 'What kind of transaction it is to you')),
  number: Type.Optional(boundedText(64, 'The number of the transaction on paper')),
  code: Type.Optional(
    Type.Integer({ minimum: 0, maximum: 4_294_967_295, description: 'A code of yours' }),
  ),
  metadata: Type.Optional(Metadata),
}

export const NewTransaction = Type.Object(
  {
    id: Type.Optional(KeyText),
    debit: Type.Optional(KeyText),
    credit: Type.Optional(KeyText),
    amount: Type.Optional(Amount),
    currency: Type.Optional(CurrencyCode),
    postings: Type.Optional(
      Type.Array(PostingInput, {
        minItems: 1,
        maxItems: 64,
        description: 'Postings in order, all or none; or one given flat as debit, credit, amount',
      }),
    ),
    pending: Type.Optional(
      Type.Boolean({ description: 'A hold: it reserves, to be posted or voided later' }),
    ),
    expiresAt: Type.Optional(
      Type.String({
        pattern: '^\\d{4}-\\d{2}-\\d{2}T\\d{2}:\\d{2}:\\d{2}(\\.\\d{1,3})?(Z|[+-]\\d{2}:\\d{2})$',
        description: 'When a hold ends by itself, such as 2030-01-31T12:00:00Z',
      }),
    ),
    effectiveDate: Type.Optional(DayText),
    conditions: Type.Optional(
      Type.Array(
        Type.Object(
          {
            account: KeyText,
            version: Type.Integer({ minimum: 1, maximum: Number.MAX_SAFE_INTEGER }),
          },
          strict,
        ),
        { maxItems: 64, description: 'Refuse unless each account has this version' },
      ),
    ),
    imported: Type.Optional(
      Type.Boolean({ description: 'History as it happened: no limits, any effective date' }),
    ),
    ...attributes,
  },
  {
    ...strict,
    title: 'NewTransaction',
    examples: [
      { id: 'deposit:1', debit: 'cash:till-1', credit: 'customer:ada', amount: '125.50' },
      {
        postings: [
          { debit: 'customer:ada', credit: 'customer:ben', amount: '20.00' },
          { debit: 'customer:ada', credit: 'fees', amount: '0.35' },
        ],
        pending: true,
        expiresAt: '2030-01-31T12:00:00Z',
      },
    ],
  },
)

export const NewBatch = Type.Object(
  {
    transactions: Type.Array(NewTransaction, { minItems: 1, maxItems: batchItemsMax }),
    atomic: Type.Optional(Type.Boolean({ description: 'All or none' })),
    ordered: Type.Optional(
      Type.Boolean({
        description: 'One after the other, as if each were sent once the one before is answered',
      }),
    ),
  },
  {
    ...strict,
    title: 'NewBatch',
    examples: [
      {
        transactions: [
          { id: 'pay:1', debit: 'customer:ada', credit: 'customer:ben', amount: '5.00' },
          { id: 'pay:2', debit: 'customer:ben', credit: 'customer:eve', amount: '5.00' },
        ],
        atomic: true,
      },
    ],
  },
)

export const HoldPost = Type.Object(
  {
    id: Type.Optional(KeyText),
    amount: Type.Optional(Amount),
    amounts: Type.Optional(
      Type.Array(AmountOrZero, {
        minItems: 1,
        maxItems: 64,
        description: 'One per posting of the hold; absent: all that it reserves',
      }),
    ),
    keepRest: Type.Optional(
      Type.Boolean({ description: 'The hold goes on with what is not posted' }),
    ),
    effectiveDate: Type.Optional(DayText),
    ...attributes,
  },
  { ...strict, title: 'HoldPost', examples: [{ amount: '12.00', keepRest: true }] },
)

export const FollowUp = Type.Object(
  { id: Type.Optional(KeyText), effectiveDate: Type.Optional(DayText), ...attributes },
  { ...strict, title: 'FollowUp', examples: [{ reference: 'cancelled by the customer' }] },
)

export const Transaction = Type.Object(
  {
    id: Type.String({ format: 'uuid' }),
    name: Type.Optional(Type.String()),
    type: oneOf(['transaction', 'hold', 'post', 'void', 'reversal'] as const, 'Type'),
    status: oneOf(['posted', 'pending', 'voided', 'expired', 'reversed'] as const, 'Status'),
    target: Type.Optional(Type.String({ format: 'uuid' })),
    postings: Type.Array(
      Type.Object({
        debit: Type.String({ format: 'uuid' }),
        credit: Type.String({ format: 'uuid' }),
        amount: Money,
        currency: CurrencyCode,
      }),
    ),
    effectiveDate: Type.String(),
    expiresAt: Type.Optional(Type.String({ format: 'date-time' })),
    remaining: Type.Optional(Type.Array(Money)),
    imported: Type.Optional(Type.Boolean()),
    recordedAt: Type.String({ format: 'date-time' }),
    ...attributes,
    balances: Type.Optional(
      Type.Array(
        Type.Object({
          account: Type.String({ format: 'uuid' }),
          currency: CurrencyCode,
          version: Type.Integer(),
          position: AccountPosition,
          striped: Striped,
          ...balanceFields,
        }),
        {
          description:
            'The accounts after this commit; only in the answer to the first request. A striped ' +
            'account is left out while not all of its parts are known here',
        },
      ),
    ),
  },
  { title: 'Transaction' },
)
