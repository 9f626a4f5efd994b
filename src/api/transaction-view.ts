import type { Static } from 'typebox'
import { type BalanceView, formatBalance } from '../actors/balance-entry.js'
import { TransactionState } from '../actors/transactions.js'
import { formatDay } from '../clock.js'
import {
  type AppliedBody,
  type Attributes,
  type FollowUpBody,
  type PostingBody,
  plainPostingBody,
  RecordKind,
  readBody,
  type TransactionBody,
  viewRecord,
} from '../journal/record.js'
import { transactionType } from '../journal/transaction-type.js'
import { formatKey, keyFromBytes } from '../key.js'
import { formatMinor } from '../money.js'
import { formatPosition } from './position.js'
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
  const { kind, body } = recordedTransaction(words)
  const { name, code, reference, description, category, number, metadata }: Attributes = body
  const scales = body.postings.map((posting) => posting[4])
  return {
    id: formatKey(record.id),
    name,
    type: transactionType(kind, record.pending),
    status: shownStatus(state),
    target: body.target && formatKey(keyFromBytes(body.target, 0)),
    postings: shownPostings(kind, body).map(([debit, credit, amount, currency, scale]) => ({
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
      position: formatPosition(view.stream, view.seq),
      striped: view.striped || undefined,
      ...formatBalance(view),
    })),
  }
}

/** What a record says of a transaction, whichever kind of record has it. */
export interface RecordedTransaction {
  /** Kind of the record with which the transaction was decided. */
  kind: RecordKind
  body: TransactionBody & Partial<FollowUpBody>
}

/**
 * The transaction of the record at word 0 of `words`. That of an atomic batch may have been
 * decided in another stream: then the record is the one that follows it in the stream of the id,
 * with the same body.
 */
export function recordedTransaction(words: Uint32Array): RecordedTransaction {
  const { kind } = viewRecord(words, 0)
  switch (kind) {
    case RecordKind.posting:
    case RecordKind.postingApplied:
      return { kind: RecordKind.posting, body: plainPostingBody(words, 0) }
    case RecordKind.applied: {
      const body = readBody<AppliedBody>(words, 0)
      const { of, postings, effectiveDate } = body
      if (postings === undefined || effectiveDate === undefined) {
        throw new RangeError('an applied record does not hold the whole transaction')
      }
      return { kind: of, body: { ...body, postings, effectiveDate } }
    }
    default:
      return { kind, body: readBody<RecordedTransaction['body']>(words, 0) }
  }
}

/** A void moves nothing; across streams its record names the hold's postings all the same. */
function shownPostings(kind: RecordKind, body: TransactionBody): PostingBody[] {
  if (kind !== RecordKind.holdVoided) return body.postings
  return body.postings.filter(([, , amount]) => amount > 0n)
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

export function shownStatus(state: number): TransactionView['status'] {
  return statuses[state]
}
