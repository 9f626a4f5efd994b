import type { FollowUp, NewTransaction } from '../../actors/model.js'
import type { Transaction } from './committed-book.js'
import type { Names } from './refusal-check.js'

/** Whether a record is what the client meant. */
export function fits(
  transaction: Transaction,
  body: NewTransaction | FollowUp,
  names: Names,
): boolean {
  return 'kind' in body
    ? isFollowUp(transaction, body, names)
    : isTransaction(transaction, body, names)
}

function isFollowUp({ record, status }: Transaction, body: FollowUp, names: Names): boolean {
  const kinds = { post: 'hold post', void: 'hold void', reverse: 'reversal' } as const
  const isKind = status === kinds[body.kind] || (status === 'reversed' && body.kind === 'post')
  if (!isKind || record.target !== names.transactionId(body.target)) return false
  const { amounts, keepRest = false } = body
  const isNothingReleased = record.released.every((amount) => amount === 0n)
  switch (body.kind) {
    case 'reverse':
      return true
    case 'void':
      return record.postings.every(({ amount }) => amount === 0n)
    case 'post':
      // Without amounts all that is left is posted; the rest goes on only if somebody wants it to.
      return (
        (amounts === undefined || isEqual(record.postings, amounts)) &&
        (isNothingReleased || (amounts !== undefined && !keepRest)) &&
        (keepRest || !record.kept)
      )
  }
}

function isEqual(postings: readonly { amount: bigint }[], amounts: readonly string[]): boolean {
  return postings.map(({ amount }) => amount).join() === amounts.map(minorOf).join()
}

function isTransaction(
  { record, versions }: Transaction,
  body: NewTransaction,
  names: Names,
): boolean {
  return (
    record.pending === (body.pending === true) &&
    record.imported === (body.imported === true) &&
    record.expiresAt === body.expiresAt &&
    record.code === body.code &&
    record.postings.length === body.postings.length &&
    body.postings.every(({ debit, credit, amount }, index) => {
      const posting = record.postings[index]
      return (
        posting.debit === names.accountId(debit) &&
        posting.credit === names.accountId(credit) &&
        posting.amount === minorOf(amount)
      )
    }) &&
    (body.conditions ?? []).every(({ account, version }) => {
      // Of a striped account each stream has the version that it has come to.
      const found = versions.get(names.accountId(account))
      return found === undefined || found === version
    })
  )
}

function minorOf(amount: string): bigint {
  return BigInt(amount) * 100n
}
