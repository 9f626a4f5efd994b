import type { Static } from 'typebox'
import { type BalanceView, formatBalance } from '../actors/reply.js'
import { TransactionState } from '../actors/transactions.js'
import { formatDay } from '../clock.js'
import {
  type Attributes,
  type FollowUpBody,
  plainPostingBody,
  RecordKind,
  readBody,
  type TransactionBody,
  viewRecord,
} from '../journal/record.js'
import { formatKey, keyFromBytes } from '../key.js'
import { formatMinor } from '../money.js'
import type { Transaction } from './schemas.js'

/** A transaction as the API shows it; made from its record and what has become of it since. */
export type TransactionView = Static<typeof Transaction>

/** Reads the record at word 0 of `words`. */
export function transactionView(
  words: Uint32Array,
  state: number,
  more: { remaining?: bigint[]; balances?: BalanceView[] },
): TransactionView {
  const record = viewRecord(words, 0)
  const body: TransactionBody & Partial<FollowUpBody> =
    record.kind === RecordKind.posting
      ? plainPostingBody(words, 0)
      : readBody<TransactionBody & Partial<FollowUpBody>>(words, 0)
  const { name, code, reference, description, category, number, metadata }: Attributes = body
  const scales = body.postings.map((posting) => posting[4])
  return {
    id: formatKey(record.id),
    name,
    type: typeOf(record.kind, record.pending),
    status: statusOf(state),
    target: body.target && formatKey(keyFromBytes(body.target, 0)),
    postings: body.postings.map(([debit, credit, amount, currency, scale]) => ({
      debit: formatKey(keyFromBytes(debit, 0)),
      credit: formatKey(keyFromBytes(credit, 0)),
      amount: formatMinor(amount, scale),
      currency,
    })),
    effectiveDate: formatDay(body.effectiveDate),
    expiresAt:
      body.expiresAt === undefined ? undefined : new Date(Number(body.expiresAt)).toISOString(),
    remaining: more.remaining?.map((amount, index) => formatMinor(amount, scales[index])),
    imported: record.imported || undefined,
    recordedAt: new Date(record.time).toISOString(),
    ...{ code, reference, description, category, number, metadata },
    balances: more.balances?.map((view) => ({
      account: view.account,
      currency: view.currency,
      version: view.version,
      ...formatBalance(view),
    })),
  }
}

function typeOf(kind: RecordKind, pending: boolean): TransactionView['type'] {
  switch (kind) {
    case RecordKind.posting:
      return 'transaction'
    case RecordKind.transaction:
      return pending ? 'hold' : 'transaction'
    case RecordKind.holdPosted:
      return 'post'
    case RecordKind.holdVoided:
      return 'void'
    case RecordKind.reversal:
      return 'reversal'
    default:
      throw new RangeError(`a record of kind ${kind} is not a transaction`)
  }
}

const statuses: Record<number, TransactionView['status']> = {
  [TransactionState.posted]: 'posted',
  [TransactionState.pending]: 'pending',
  [TransactionState.holdPosted]: 'posted',
  [TransactionState.holdVoided]: 'voided',
  [TransactionState.holdExpired]: 'expired',
  [TransactionState.holdPost]: 'posted',
  [TransactionState.holdVoid]: 'posted',
  [TransactionState.reversal]: 'posted',
  [TransactionState.reversed]: 'reversed',
}

function statusOf(state: number): TransactionView['status'] {
  return statuses[state]
}
