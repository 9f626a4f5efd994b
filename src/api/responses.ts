import type { Readable } from 'node:stream'
import { type TSchema, Type } from 'typebox'
import { statementFormats } from '../history/statements/statement-formats.js'
import { AccountList, BalanceAnswer, EntryList, TransactionList } from './history-schemas.js'
import { DailyBalances, TrialBalance } from './report-schemas.js'
import { Account, oneOf, Transaction } from './schemas.js'
import { type ErrorCode, errorKinds, wantsRetryAfter } from './statuses.js'

/** What each route answers: its success, and every failure that it can have, by status. */
const Meta = Type.Object({
  position: Type.String({ description: 'Stream and seq of the record, such as "1-17"' }),
})

const Result = Type.Object(
  {
    id: Type.String({ format: 'uuid' }),
    outcome: oneOf(['accepted', 'replayed', 'refused'] as const, 'What became of the item'),
    position: Type.Optional(Type.String({ description: 'Of its record; absent if refused' })),
    error: Type.Optional(
      Type.Object({
        code: Type.String(),
        message: Type.String(),
        transient: Type.Boolean({ description: 'It may be accepted later as it is' }),
      }),
    ),
  },
  { title: 'BatchItemResult' },
)

const BatchResult = Type.Object(
  {
    results: Type.Array(Result, { description: 'One per transaction, in their order' }),
    counts: Type.Object({
      accepted: Type.Integer(),
      replayed: Type.Integer(),
      refused: Type.Integer(),
    }),
  },
  { title: 'BatchResult' },
)

const Failure = Type.Object(
  {
    error: Type.Object({
      code: oneOf(Object.keys(errorKinds) as ErrorCode[], 'Stable; see docs/api-errors.md'),
      message: Type.String({ description: 'For people; may change' }),
      details: Type.Record(Type.String(), Type.Unknown(), {
        description: 'Such as `field`, `transient`, `posting` (its index), `index` (of an item)',
      }),
      timestamp: Type.String({ format: 'date-time' }),
      path: Type.String(),
      correlationId: Type.String(),
    }),
  },
  { title: 'Failure' },
)

const anyRequest: ErrorCode[] = [
  'invalid_request',
  'host_not_allowed',
  'request_timeout',
  'headers_too_large',
  'overloaded',
  'internal_error',
]
export const bodyFailures: ErrorCode[] = [
  'malformed_json',
  'malformed_body',
  'duplicate_field',
  'body_too_large',
  'unsupported_media_type',
]
const shard: ErrorCode[] = ['not_ready', 'journal_unavailable']
const read: ErrorCode[] = [...shard, 'position_not_reached']
const write: ErrorCode[] = [
  ...bodyFailures,
  ...shard,
  'outcome_unknown',
  'memory_limit_reached',
  'id_reused_with_different_body',
]
const writeTransaction: ErrorCode[] = [...write, 'old_id_not_checked', 'projections_behind']
const history: ErrorCode[] = ['not_ready', 'history_unavailable', 'history_behind']
const accounts: ErrorCode[] = [
  'account_not_found',
  'account_closed',
  'account_frozen',
  'account_dormant',
]
const movement: ErrorCode[] = [
  ...accounts,
  'effective_date_in_the_past',
  'amount_overflow',
  'insufficient_funds',
  'limit_exceeded',
  'funds_reserved',
]
const transaction: ErrorCode[] = [
  ...movement,
  'id_in_the_future',
  'expiry_in_the_past',
  'same_account',
  'currency_mismatch',
  'too_many_decimals',
  'version_conflict',
]
const holdStates: ErrorCode[] = [
  'hold_not_found',
  'hold_already_posted',
  'hold_already_voided',
  'hold_expired',
]

export const described = <T extends TSchema>(
  schema: T,
  description: string,
  headers?: object,
): T => ({
  ...schema,
  'x-response-description': description,
  ...(headers && { headers }),
})

const retryAfter = {
  'Retry-After': { type: 'integer', description: 'Seconds after which to try again' },
}
export const replayedHeader = {
  'Idempotent-Replayed': { type: 'string', enum: ['true'], description: 'Nothing was done now' },
}

/**
 * The failures of a route under their statuses, each with its codes. To the types they are `4xx`
 * and `5xx`, as handlers throw them and never return them.
 */
export function failures(codes: ErrorCode[]): { '4xx': typeof Failure; '5xx': typeof Failure } {
  const byStatus = new Map<number, ErrorCode[]>()
  for (const code of [...anyRequest, ...codes]) {
    const { status } = errorKinds[code]
    byStatus.set(status, [...(byStatus.get(status) ?? []), code])
  }
  const responses = [...byStatus].map(([status, statusCodes]) => [
    status,
    described(Failure, statusCodes.join(', '), wantsRetryAfter(status) ? retryAfter : undefined),
  ])
  return Object.fromEntries(responses)
}

const AccountAnswer = Type.Object({ data: Account, meta: Meta }, { title: 'AccountAnswer' })
const TransactionAnswer = Type.Object(
  { data: Transaction, meta: Meta },
  { title: 'TransactionAnswer' },
)
const BatchMeta = Type.Object({
  positions: Type.Array(Type.String(), {
    description: 'Per stream, in their order, the last record that the results rest on',
  }),
})
const BatchAnswer = Type.Object({ data: BatchResult, meta: BatchMeta }, { title: 'BatchAnswer' })

function created<T extends TSchema>(answer: T, noun: string): { 200: T; 201: T } {
  return {
    200: described(answer, `A repeat: the ${noun} of this id as it is now`, replayedHeader),
    201: described(answer, `The new ${noun}, durable`),
  }
}

export const accountCreated = {
  ...created(AccountAnswer, 'account'),
  ...failures([...write, 'currency_mismatch', 'too_many_decimals']),
}

export const accountRead = {
  200: described(AccountAnswer, 'The account'),
  ...failures([...read, 'account_not_found']),
}

export const accountChanged = {
  200: described(AccountAnswer, 'The account with its changes, durable'),
  ...failures([
    ...bodyFailures,
    ...shard,
    'outcome_unknown',
    'account_not_found',
    'account_closed',
    'version_conflict',
    'too_many_decimals',
    'amount_overflow',
    'limit_exceeded',
    'holds_pending',
    'striped_without_limits',
    'balance_not_zero',
    'funds_reserved',
  ]),
}

export const transactionPosted = {
  ...created(TransactionAnswer, 'transaction'),
  ...failures([...writeTransaction, ...transaction]),
}

export const transactionRead = {
  200: described(TransactionAnswer, 'The transaction'),
  ...failures([...read, 'transaction_not_found', 'old_id_not_checked']),
}

export const holdPosted = {
  ...created(TransactionAnswer, 'transaction'),
  ...failures([
    ...writeTransaction,
    ...holdStates,
    ...accounts,
    'effective_date_in_the_past',
    'too_many_decimals',
    'amounts_mismatch',
    'exceeds_hold',
  ]),
}

export const holdVoided = {
  ...created(TransactionAnswer, 'transaction'),
  ...failures([...writeTransaction, ...holdStates, 'effective_date_in_the_past']),
}

export const transactionReversed = {
  ...created(TransactionAnswer, 'transaction'),
  ...failures([
    ...writeTransaction,
    ...movement,
    'transaction_not_found',
    'not_reversible',
    'already_reversed',
  ]),
}

export const batchPosted = {
  200: described(BatchAnswer, 'A result for each; of an atomic batch, all accepted or replayed'),
  ...failures([...writeTransaction, ...transaction, 'duplicate_id']),
}

export const entriesRead = {
  200: described(EntryList, 'A page of entries'),
  ...failures([...history, 'account_not_found']),
}

export const balanceAt = {
  200: described(BalanceAnswer, 'The balance then'),
  ...failures([...history, 'account_not_found']),
}

const accountsPage = described(AccountList, 'A page of accounts')

export const accountsListed = { 200: accountsPage, ...failures(history) }

export const accountsFound = { 200: accountsPage, ...failures([...bodyFailures, ...history]) }

export const statementRead = {
  200: described(
    Type.Unsafe<Readable>({
      content: Object.fromEntries(
        Object.values(statementFormats).map(({ contentType }) => [
          contentType.split(';')[0],
          { schema: { type: 'string' } },
        ]),
      ),
    }),
    'The statement',
  ),
  ...failures([...history, 'account_not_found']),
}

export const dailyBalancesRead = {
  200: described(DailyBalances, 'The days'),
  ...failures([...history, 'account_not_found']),
}

export const trialBalanceRead = {
  200: described(TrialBalance, 'The trial balance, or a page of its accounts'),
  ...failures([...history, 'position_not_reached', 'journal_unavailable']),
}

export const feedHeard = {
  200: described(
    Type.Unsafe<Readable>({ content: { 'text/event-stream': { schema: { type: 'string' } } } }),
    'Server-sent events, until one of the two sides ends them; see docs/feed.md',
  ),
  ...failures([
    ...shard,
    'too_many_listeners',
    'position_unknown',
    'position_gone',
    'journal_damaged',
  ]),
}

const transactionsPage = described(TransactionList, 'A page of transactions')

export const transactionsListed = { 200: transactionsPage, ...failures(history) }

export const transactionsFound = {
  200: transactionsPage,
  ...failures([...bodyFailures, ...history, 'too_many_decimals']),
}

const Phase = Type.Object({
  ready: Type.Boolean(),
  phase: Type.String({ description: 'Where the start has got to, such as `warming_up`' }),
  rowsDone: Type.Integer({ description: 'Rows of the snapshot loaded so far' }),
  rowsTotal: Type.Integer(),
  recordsDone: Type.Integer({ description: 'Records of the journal replayed so far' }),
  recordsTotal: Type.Integer(),
  secondsLeft: Type.Union([Type.Integer(), Type.Null()], {
    description: 'A guess at what the step at hand still takes',
  }),
  shards: Type.Array(
    Type.Object({
      shard: Type.Integer(),
      step: Type.Union([Type.Literal('snapshot'), Type.Literal('journal')]),
      stream: Type.Integer({ description: 'That is being read' }),
      done: Type.Integer({ description: 'Rows of the snapshot, or records of the journal' }),
      total: Type.Integer(),
    }),
    { description: 'How far each shard has come' },
  ),
})

export const systemResponses = {
  health: {
    200: described(Type.Object({ status: Type.Literal('ok') }), 'The process is alive'),
    ...failures([]),
  },
  ready: {
    ...failures([]),
    200: described(Phase, 'Serving'),
    503: described(Phase, 'Starting or stopping'),
  },
  digest: {
    200: described(
      Type.Object({
        data: Type.Object({
          stream: Type.Integer(),
          seq: Type.Integer({ description: 'Last record that the digest takes into account' }),
          digest: Type.String({ description: '256 bits in hexadecimal digits' }),
          horizon: Type.Array(Type.Object({ stream: Type.Integer(), seq: Type.Integer() }), {
            description:
              'Transactions made up to these records may have been let go; they are left out unless they are pending holds',
          }),
        }),
      }),
      'The digest',
    ),
    ...failures(['invalid_request', 'not_ready']),
  },
  metrics: {
    200: described(Type.String(), 'Prometheus text format'),
    ...failures([]),
  },
}
