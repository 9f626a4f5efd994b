import type { AccountChangedBody, AccountCreatedBody, RecordView } from '../journal/record.js'
import { Word } from '../journal/record.js'
import { type AccountStatus, accountStatuses, unlimited } from './accounts.js'
import type { Book } from './book.js'
import { BookError } from './book-error.js'

/** Adds an account; one that is striped is added on every shard. */
export function applyCreation(
  book: Book,
  record: RecordView,
  body: AccountCreatedBody,
  at: { time: number; seq: number },
): void {
  const { tenant, id, words, start } = record
  if (book.rebuild !== undefined && body.striped !== true && !book.owns(id)) return
  const fingerprint = {
    low: words[start + Word.fingerprint],
    high: words[start + Word.fingerprint + 1],
  }
  const row = book.accounts.create(tenant, id, body, fingerprint, at.time)
  book.accounts.noteChange(row, at.seq)
}

export function applyChange(
  book: Book,
  record: RecordView,
  body: AccountChangedBody,
  seq: number,
): void {
  const { accounts } = book
  const row = accounts.find(record.tenant, record.id)
  if (row < 0) {
    if (book.rebuild !== undefined && !book.owns(record.id)) return
    throw new BookError('a record changes an account that the book does not have')
  }
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
  accounts.noteChange(row, seq)
}
