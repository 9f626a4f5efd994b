import { createHash } from 'node:crypto'
import { packr } from '../journal/record.js'
import { keyToBytes } from '../key.js'
import type { Book } from './book.js'

const modulus = 1n << 256n

/**
 * Digest of everything that the actors of a book are: per actor a SHA-256 over its state, added up
 * modulo 2^256, so that neither the order of rows nor the number of shards matters. Positions are
 * left out: they differ with the number of streams.
 */
export function bookDigest(book: Book): bigint {
  let sum = 0n
  for (let row = 0; row < book.accounts.count; row++) sum += accountDigest(book, row)
  for (let row = 0; row < book.transactions.count; row++) sum += transactionDigest(book, row)
  return sum % modulus
}

function accountDigest({ accounts }: Book, row: number): bigint {
  return digestOf([
    'account',
    accounts.keys.tenantOf(row),
    keyToBytes(accounts.keys.keyOf(row)),
    accounts.debitsPosted.get(row),
    accounts.creditsPosted.get(row),
    accounts.debitsPending.get(row),
    accounts.creditsPending.get(row),
    accounts.overdraftLimit.get(row),
    accounts.minimumBalance.get(row),
    accounts.version.get(row),
    accounts.createdAt.get(row),
    accounts.currencyOf(row).code,
    accounts.currencyOf(row).scale,
    accounts.accountClass.get(row),
    accounts.status.get(row),
    accounts.holds.get(row),
    accounts.fingerprintLow.get(row),
    accounts.fingerprintHigh.get(row),
    accounts.details.get(row) ?? null,
  ])
}

function transactionDigest({ transactions, holds, accounts }: Book, row: number): bigint {
  const hold = holds.get(row)
  return digestOf([
    'transaction',
    transactions.keys.tenantOf(row),
    keyToBytes(transactions.keys.keyOf(row)),
    transactions.state.get(row),
    transactions.fingerprintLow.get(row),
    transactions.fingerprintHigh.get(row),
    hold === undefined
      ? null
      : [
          Number.isFinite(hold.expiresAt) ? hold.expiresAt : null,
          hold.postings.map((posting) => [
            keyToBytes(accounts.keys.keyOf(posting.debit)),
            keyToBytes(accounts.keys.keyOf(posting.credit)),
            posting.remaining,
          ]),
        ],
  ])
}

function digestOf(state: unknown[]): bigint {
  const hash = createHash('sha256').update(packr.pack(state)).digest('hex')
  return BigInt(`0x${hash}`)
}
