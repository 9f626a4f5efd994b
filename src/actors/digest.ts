import { createHash } from 'node:crypto'
import { packr } from '../journal/record.js'
import { keyToBytes } from '../key.js'
import { countersOf } from './account-decision.js'
import type { Counters } from './accounts.js'
import type { Book } from './book.js'
import type { Positions } from './let-go.js'

const modulus = 1n << 256n

/**
 * Digest of everything that the actors of a whole book are, given the books of all its shards: per
 * actor a SHA-256 over its state, added up modulo 2^256, so that neither the order of rows nor the
 * number of shards matters. Of a striped account the parts are summed first. Positions are left
 * out: they differ with the number of streams. So are transactions up to `horizon`, other than
 * pending holds.
 */
export function bookDigest(books: readonly Book[], horizon = horizonOf(books)): bigint {
  let sum = 0n
  for (const book of books) {
    const { accounts, transactions } = book
    for (let row = 0; row < accounts.count; row++) {
      const own = { ...countersOf(book, row), holds: accounts.holds.get(row) }
      if (!accounts.isStriped(row)) sum += accountDigest(book, row, own)
      else if (book.owns(accounts.keys.keyOf(row))) {
        sum += accountDigest(book, row, sumOfParts(books, book, row))
      }
    }
    for (const row of transactions.keys.rows()) {
      if (!isBehind(book, row, horizon)) sum += transactionDigest(book, row)
    }
  }
  return sum % modulus
}

/** How far transactions may have been let go by any of the books. */
export function horizonOf(books: readonly Book[]): Positions {
  const horizon = new Map<number, number>()
  for (const { letGo } of books) {
    for (const [stream, seq] of letGo.horizon) {
      horizon.set(stream, Math.max(seq, horizon.get(stream) ?? 0))
    }
  }
  return horizon
}

/** Whether one book may have let go of a transaction that another one still has. */
function isBehind({ transactions, holds }: Book, row: number, horizon: Positions): boolean {
  if (horizon.size === 0 || holds.get(row) !== undefined) return false
  return transactions.seq.get(row) <= (horizon.get(transactions.stream.get(row)) ?? 0)
}

/**
 * Digest of some actors of one book, as it has them: of a striped account its own part. Added up as
 * `bookDigest` is.
 */
export function rowsDigest(
  book: Book,
  rows: { accounts: Iterable<number>; transactions: Iterable<number> },
  horizon: Positions,
): bigint {
  let sum = 0n
  for (const row of rows.accounts) {
    sum += accountDigest(book, row, {
      ...countersOf(book, row),
      holds: book.accounts.holds.get(row),
    })
  }
  for (const row of rows.transactions) {
    if (!isBehind(book, row, horizon)) sum += transactionDigest(book, row)
  }
  return sum % modulus
}

/** The counters of a striped account over all books; one that lacks it has an empty part. */
function sumOfParts(books: readonly Book[], { accounts }: Book, row: number): Totals {
  const sum = {
    debitsPosted: 0n,
    creditsPosted: 0n,
    debitsPending: 0n,
    creditsPending: 0n,
    holds: 0,
  }
  for (const book of books) {
    const part = book.accounts.find(accounts.keys.tenantOf(row), accounts.keys.keyOf(row))
    if (part < 0) continue
    const counters = countersOf(book, part)
    sum.debitsPosted += counters.debitsPosted
    sum.creditsPosted += counters.creditsPosted
    sum.debitsPending += counters.debitsPending
    sum.creditsPending += counters.creditsPending
    sum.holds += book.accounts.holds.get(part)
  }
  return sum
}

type Totals = Counters & { holds: number }

function accountDigest({ accounts }: Book, row: number, totals: Totals): bigint {
  return digestOf([
    'account',
    accounts.keys.tenantOf(row),
    keyToBytes(accounts.keys.keyOf(row)),
    totals.debitsPosted,
    totals.creditsPosted,
    totals.debitsPending,
    totals.creditsPending,
    accounts.overdraftLimit.get(row),
    accounts.minimumBalance.get(row),
    accounts.version.get(row),
    accounts.createdAt.get(row),
    accounts.currencyOf(row).code,
    accounts.currencyOf(row).scale,
    accounts.accountClass.get(row),
    accounts.status.get(row),
    accounts.striped.get(row),
    totals.holds,
    accounts.fingerprintLow.get(row),
    accounts.fingerprintHigh.get(row),
    accounts.details.get(row) ?? null,
  ])
}

function transactionDigest({ transactions, holds }: Book, row: number): bigint {
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
            keyToBytes(posting.debit),
            keyToBytes(posting.credit),
            posting.remaining,
          ]),
        ],
  ])
}

function digestOf(state: unknown[]): bigint {
  const hash = createHash('sha256').update(packr.pack(state)).digest('hex')
  return BigInt(`0x${hash}`)
}
