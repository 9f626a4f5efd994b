import { refusalOf } from '../../src/actors/refusals.js'
import type { Reply } from '../../src/actors/reply.js'
import { TransactionState } from '../../src/actors/transactions.js'
import {
  plainPostingBody,
  RecordKind,
  readBody,
  type TransactionBody,
  viewRecord,
} from '../../src/journal/record.js'
import { keyFromBytes } from '../../src/key.js'
import type { EngineNames } from './engine-names.js'
import type {
  AccountView,
  BalanceView,
  ItemAnswer,
  TransactionStatus,
  TransactionView,
} from './model.js'

/** What shards answer, as the model has it. */

export function transactionView(
  names: EngineNames,
  words: Uint32Array,
  state: number,
): TransactionView {
  const record = viewRecord(words, 0)
  const body: TransactionBody =
    record.kind === RecordKind.posting
      ? plainPostingBody(words, 0)
      : readBody<TransactionBody>(words, 0)
  const { code, reference, description, category, number, metadata } = body
  return {
    status: statusNames[state],
    // A void names the accounts of its hold, and moves nothing.
    postings: (record.kind === RecordKind.holdVoided ? [] : body.postings).map(
      ([debit, credit, amount, currency]) => ({
        debit: names.nameOf(keyFromBytes(debit, 0)),
        credit: names.nameOf(keyFromBytes(credit, 0)),
        amount,
        currency,
      }),
    ),
    effectiveDate: body.effectiveDate,
    recordedAt: record.time,
    expiresAt: body.expiresAt === undefined ? undefined : Number(body.expiresAt),
    imported: record.imported,
    ...{ code, reference, description, category, number, metadata },
  }
}

export function balancesOf(
  names: EngineNames,
  reply: Extract<Reply, { kind: 'accepted' }>,
): Record<string, BalanceView> {
  const balances: Record<string, BalanceView> = {}
  for (const { account, version, counters } of reply.balances) {
    balances[names.ofText(account)] = { version, ...counters }
  }
  return balances
}

const statusNames: Record<number, TransactionStatus> = {
  [TransactionState.posted]: 'posted',
  [TransactionState.pending]: 'pending',
  [TransactionState.holdPosted]: 'hold posted',
  [TransactionState.holdVoided]: 'hold voided',
  [TransactionState.holdExpired]: 'hold expired',
  [TransactionState.holdPost]: 'hold post',
  [TransactionState.holdVoid]: 'hold void',
  [TransactionState.reversal]: 'reversal',
  [TransactionState.reversed]: 'reversed',
}

export function accountView({ balance, body }: Extract<Reply, { kind: 'account' }>): AccountView {
  return {
    currency: balance.currency,
    class: balance.accountClass,
    status: balance.status,
    type: body.type,
    owner: body.owner,
    number: body.number,
    overdraftLimit: body.overdraftLimit,
    minimumBalance: body.minimumBalance,
    ...balance.counters,
    version: balance.version,
    createdAt: body.createdAt,
    metadata: body.metadata,
  }
}

export function itemsOf(bytes: Buffer): ItemAnswer[] {
  return Array.from({ length: bytes.length / 16 }, (_, index) => {
    const at = index * 16
    if (bytes[at] === 2) {
      return { outcome: 'refused', code: refusalOf(bytes.readUInt16LE(at + 2)).code }
    }
    const seq = Number(bytes.readBigUInt64LE(at + 8))
    return { outcome: bytes[at] === 0 ? 'accepted' : 'replayed', seq }
  })
}
