import {
  type AccountChangedBody,
  type AccountCreatedBody,
  type FollowUpBody,
  plainPostingBody,
  RecordKind,
  readBigint,
  readBody,
  readInteger,
  type TransactionBody,
  viewRecord,
  Word,
} from '../journal/record.js'
import { keyFromBytes, type keyFromWords } from '../key.js'
import { type AccountStatus, accountStatuses, unlimited } from './accounts.js'
import type { Book } from './book.js'
import type { Fingerprint } from './fingerprint.js'
import { TransactionState } from './transactions.js'

/**
 * Applies the record at word `at` to the book. The one way in which state changes: live, right
 * after the decision, and on replay. A record that does not fit the book means a damaged journal
 * or a broken invariant, and throws.
 */
export function applyRecord(book: Book, words: Uint32Array, at: number, seq: number): void {
  const kind = words[at] & 0xff
  if (kind === RecordKind.posting && ((words[at] >>> 8) & 0xff) === 1) {
    applyPlainPosting(book, words, at, seq)
    return
  }
  const record = viewRecord(words, at)
  const fingerprint = {
    low: words[at + Word.fingerprint],
    high: words[at + Word.fingerprint + 1],
  }
  const { tenant, id } = record
  switch (record.kind) {
    case RecordKind.posting:
      applyTransaction(
        book,
        { tenant, id, pending: false, fingerprint, seq },
        plainPostingBody(words, at),
      )
      break
    case RecordKind.transaction:
      applyTransaction(
        book,
        { tenant, id, pending: record.pending, fingerprint, seq },
        readBody<TransactionBody>(words, at),
      )
      break
    case RecordKind.holdPosted:
    case RecordKind.holdVoided:
    case RecordKind.holdExpired:
    case RecordKind.reversal:
      applyFollowUp(
        book,
        { kind: record.kind, tenant, id, fingerprint, seq },
        readBody<FollowUpBody>(words, at),
      )
      break
    case RecordKind.accountCreated: {
      const body = readBody<AccountCreatedBody>(words, at)
      const row = book.accounts.create(tenant, id, body, fingerprint, record.time)
      book.accounts.touch(row, seq)
      break
    }
    case RecordKind.accountChanged:
      applyChange(book, tenant, id, readBody<AccountChangedBody>(words, at), seq)
      break
    case RecordKind.postingApplied:
    case RecordKind.applied:
      throw new BookError('records of other streams cannot be applied yet')
    default:
      throw new BookError(`no way to apply a record of kind ${record.kind satisfies never}`)
  }
}

/** Time of the record at word `at`, in milliseconds since 1970. */
export function recordTime(words: Uint32Array, at: number): number {
  return readInteger(words, at + Word.time)
}

function applyPlainPosting(book: Book, words: Uint32Array, at: number, seq: number): void {
  const { accounts, transactions } = book
  const tenant = words[at + Word.tenant]
  const debit = findRow(book, tenant, words, at + Word.debit)
  const credit = findRow(book, tenant, words, at + Word.credit)
  const amount = readBigint(words, at + Word.amount)
  accounts.debitsPosted.set(debit, accounts.debitsPosted.get(debit) + amount)
  accounts.creditsPosted.set(credit, accounts.creditsPosted.get(credit) + amount)
  accounts.touch(debit, seq)
  accounts.touch(credit, seq)
  const row = transactions.keys.insert(
    tenant,
    words[at + Word.id],
    words[at + Word.id + 1],
    words[at + Word.id + 2],
    words[at + Word.id + 3],
  )
  transactions.seq.set(row, seq)
  transactions.touchedSeq.set(row, seq)
  transactions.state.set(row, TransactionState.posted)
  transactions.fingerprintLow.set(row, words[at + Word.fingerprint])
  transactions.fingerprintHigh.set(row, words[at + Word.fingerprint + 1])
}

function findRow(book: Book, tenant: number, words: Uint32Array, word: number): number {
  const row = book.accounts.keys.find(
    tenant,
    words[word],
    words[word + 1],
    words[word + 2],
    words[word + 3],
  )
  if (row < 0) throw new BookError('a posting names an account that the book does not have')
  return row
}

interface Applied {
  tenant: number
  id: ReturnType<typeof keyFromWords>
  fingerprint: Fingerprint
  seq: number
}

function applyTransaction(
  book: Book,
  applied: Applied & { pending: boolean },
  body: TransactionBody,
): void {
  const { tenant, id, pending, fingerprint, seq } = applied
  const state = pending ? TransactionState.pending : TransactionState.posted
  const row = book.transactions.add(tenant, id, state, fingerprint, seq)
  const postings = body.postings.map(([debit, credit, amount]) => ({
    debit: accountRow(book, tenant, debit),
    credit: accountRow(book, tenant, credit),
    remaining: amount,
  }))
  for (const { debit, credit, remaining } of postings) {
    if (pending) addPending(book, debit, credit, remaining)
    else addPosted(book, debit, credit, remaining)
    book.accounts.touch(debit, seq)
    book.accounts.touch(credit, seq)
  }
  if (!pending) return
  book.holds.add({
    row,
    postings,
    expiresAt: body.expiresAt === undefined ? Number.POSITIVE_INFINITY : Number(body.expiresAt),
  })
  countHold(book, postings, 1)
}

const statesAfter = {
  [RecordKind.holdPosted]: [TransactionState.holdPosted, TransactionState.holdPost],
  [RecordKind.holdVoided]: [TransactionState.holdVoided, TransactionState.holdVoid],
  [RecordKind.holdExpired]: [TransactionState.holdExpired, undefined],
  [RecordKind.reversal]: [TransactionState.reversed, TransactionState.reversal],
} as const

function applyFollowUp(
  book: Book,
  applied: Applied & { kind: keyof typeof statesAfter },
  body: FollowUpBody,
): void {
  const { kind, tenant, id, fingerprint, seq } = applied
  const target = book.transactions.find(tenant, keyFromBytes(body.target, 0))
  if (target < 0) throw new BookError('a record follows a transaction that the book does not have')
  const [targetState, ownState] = statesAfter[kind]
  if (kind === RecordKind.reversal) {
    for (const [debit, credit, amount] of body.postings) {
      const rows = {
        debit: accountRow(book, tenant, debit),
        credit: accountRow(book, tenant, credit),
      }
      addPosted(book, rows.debit, rows.credit, amount)
      book.accounts.touch(rows.debit, seq)
      book.accounts.touch(rows.credit, seq)
    }
    book.transactions.changeState(target, targetState, seq)
  } else {
    settleHold(book, target, body, targetState, seq)
  }
  if (ownState !== undefined) book.transactions.add(tenant, id, ownState, fingerprint, seq)
}

/** Moves what a hold's post, void or expiry posts and releases; ends the hold unless it goes on. */
function settleHold(
  book: Book,
  row: number,
  body: FollowUpBody,
  stateAfter: TransactionState,
  seq: number,
): void {
  const hold = book.holds.get(row)
  if (hold === undefined) throw new BookError('a record settles a hold that is not pending')
  for (const [index, posting] of hold.postings.entries()) {
    const posted = body.postings[index]?.[2] ?? 0n
    const released = body.released?.[index] ?? 0n
    posting.remaining -= posted + released
    addPending(book, posting.debit, posting.credit, -(posted + released))
    addPosted(book, posting.debit, posting.credit, posted)
    book.accounts.touch(posting.debit, seq)
    book.accounts.touch(posting.credit, seq)
  }
  if (body.kept === true) {
    book.transactions.changeState(row, TransactionState.pending, seq)
    return
  }
  book.transactions.changeState(row, stateAfter, seq)
  book.holds.remove(row)
  countHold(book, hold.postings, -1)
}

function applyChange(
  book: Book,
  tenant: number,
  id: ReturnType<typeof keyFromWords>,
  body: AccountChangedBody,
  seq: number,
): void {
  const { accounts } = book
  const row = accounts.find(tenant, id)
  if (row < 0) throw new BookError('a record changes an account that the book does not have')
  if (body.status !== undefined) {
    accounts.status.set(row, accountStatuses.indexOf(body.status as AccountStatus))
  }
  if (body.overdraftLimit !== undefined) {
    accounts.overdraftLimit.set(row, body.overdraftLimit ?? unlimited)
  }
  if (body.minimumBalance !== undefined) accounts.minimumBalance.set(row, body.minimumBalance)
  if (body.metadata !== undefined) {
    accounts.details.set(row, { ...accounts.details.get(row), metadata: body.metadata })
  }
  accounts.touch(row, seq)
}

function accountRow(book: Book, tenant: number, key: Uint8Array): number {
  const row = book.accounts.find(tenant, keyFromBytes(key, 0))
  if (row < 0) throw new BookError('a posting names an account that the book does not have')
  return row
}

function addPosted(book: Book, debit: number, credit: number, amount: bigint): void {
  const { debitsPosted, creditsPosted } = book.accounts
  debitsPosted.set(debit, debitsPosted.get(debit) + amount)
  creditsPosted.set(credit, creditsPosted.get(credit) + amount)
}

function addPending(book: Book, debit: number, credit: number, amount: bigint): void {
  const { debitsPending, creditsPending } = book.accounts
  debitsPending.set(debit, debitsPending.get(debit) + amount)
  creditsPending.set(credit, creditsPending.get(credit) + amount)
}

function countHold(
  book: Book,
  postings: readonly { debit: number; credit: number }[],
  change: number,
): void {
  const { holds } = book.accounts
  for (const { debit, credit } of postings) {
    holds.set(debit, holds.get(debit) + change)
    holds.set(credit, holds.get(credit) + change)
  }
}

/** A record does not fit the state it is applied to. Nothing can go on from here. */
export class BookError extends Error {
  readonly code = 'book_inconsistent'
}
