import { dayOf } from '../clock.js'
import { readBigint, readInteger, Word } from '../journal/record.js'
import { toMinor } from '../money.js'
import type { Book } from './book.js'
import { amountWords, Block, blockWords, FollowUpWord, keepRestOption, noDate } from './command.js'
import type { Draft } from './draft.js'
import type { Hold } from './holds.js'
import { refusalNumber } from './refusals.js'
import {
  type Decision,
  draftPostings,
  noIndex,
  resolvePosting,
  statusRefusal,
} from './transaction-decision.js'
import { TransactionState } from './transactions.js'

/**
 * Decides on the post of a hold: `decision.postings` become the amounts to post, one per posting
 * of the hold (0n where nothing is).
 */
export function decidePost(
  book: Book,
  words: Uint32Array,
  at: number,
  timeMs: number,
  decision: Decision,
): Decision {
  const hold = findHold(book, words, at, timeMs, decision)
  if (hold === undefined) return decision
  decideDate(words, at, timeMs, decision)
  if (decision.refusal !== 0) return decision
  for (let index = 0; index < hold.postings.length; index++) {
    const { debit, credit } = hold.postings[index]
    decision.restOn(book.accounts.touchedSeq.get(debit))
    decision.restOn(book.accounts.touchedSeq.get(credit))
    const refusal = statusRefusal(book, debit, credit)
    if (refusal !== 0) return decision.refuse(refusal, index)
  }
  return decideAmounts(book, hold, words, at, decision)
}

function decideAmounts(
  book: Book,
  hold: Hold,
  words: Uint32Array,
  at: number,
  decision: Decision,
): Decision {
  const amounts = words[at + FollowUpWord.amounts]
  if (amounts !== 0 && amounts !== hold.postings.length) {
    return decision.refuse(refusalNumber.amounts_mismatch)
  }
  for (let index = 0; index < hold.postings.length; index++) {
    const reserved = hold.postings[index]
    let amount: bigint | undefined = reserved.remaining
    if (amounts > 0) {
      const word = at + FollowUpWord.amountList + index * amountWords
      const mantissa = readBigint(words, word)
      amount = toMinor(
        { mantissa, decimals: words[word + 2] },
        book.accounts.currencyOf(reserved.debit).scale,
      )
      if (amount === undefined) return decision.refuse(refusalNumber.too_many_decimals, index)
      if (amount > reserved.remaining) return decision.refuse(refusalNumber.exceeds_hold, index)
    }
    const posting = decision.postings[decision.count]
    posting.debit = reserved.debit
    posting.credit = reserved.credit
    posting.amount = amount
    decision.count += 1
  }
  return decision
}

/** Whether an accepted post leaves the hold pending with what it did not post. */
export function keepsRest(hold: Hold, words: Uint32Array, at: number, decision: Decision): boolean {
  if ((words[at + FollowUpWord.options] & keepRestOption) === 0) return false
  return hold.postings.some((posting, index) => posting.remaining > decision.postings[index].amount)
}

/** Decides on the void of a hold. Voiding only releases, so no account can stand in its way. */
export function decideVoid(
  book: Book,
  words: Uint32Array,
  at: number,
  timeMs: number,
  decision: Decision,
): Decision {
  findHold(book, words, at, timeMs, decision)
  decideDate(words, at, timeMs, decision)
  return decision
}

/** Decides on a reversal; its postings are the original's with debit and credit swapped. */
export function decideReversal(
  book: Book,
  draft: Draft,
  words: Uint32Array,
  at: number,
  timeMs: number,
  decision: Decision,
): Decision {
  const { transactions } = book
  const row = findTarget(book, words, at)
  if (row < 0) return decision.refuse(refusalNumber.transaction_not_found)
  decision.restOn(transactions.touchedSeq.get(row))
  const state = transactions.state.get(row)
  if (state === TransactionState.reversed) {
    return decision.refuse(refusalNumber.already_reversed)
  }
  if (state !== TransactionState.posted && state !== TransactionState.holdPost) {
    return decision.refuse(refusalNumber.not_reversible)
  }
  decideDate(words, at, timeMs, decision)
  if (decision.effectiveDate < dayOf(timeMs)) {
    return decision.refuse(refusalNumber.effective_date_in_the_past)
  }
  const count = words[at + FollowUpWord.postings]
  for (let index = 0; index < count; index++) {
    const block = at + FollowUpWord.amountList + index * blockWords
    const refusal = resolvePosting(book, words, at, block, words[block + Block.decimals], decision)
    if (refusal !== 0) return decision.refuse(refusal, index)
  }
  return draftPostings(book, draft, { pending: false, imported: false }, decision)
}

/** Row of the transaction that a follow-up is about, or -1. */
export function findTarget(book: Book, words: Uint32Array, at: number): number {
  const word = at + FollowUpWord.target
  return book.transactions.keys.find(
    words[at + Word.tenant],
    words[word],
    words[word + 1],
    words[word + 2],
    words[word + 3],
  )
}

const endedHolds: Record<number, number> = {
  [TransactionState.holdPosted]: refusalNumber.hold_already_posted,
  [TransactionState.holdVoided]: refusalNumber.hold_already_voided,
  [TransactionState.holdExpired]: refusalNumber.hold_expired,
}

/** The pending hold that a follow-up is about, or undefined with the refusal in `decision`. */
function findHold(
  book: Book,
  words: Uint32Array,
  at: number,
  timeMs: number,
  decision: Decision,
): Hold | undefined {
  const row = findTarget(book, words, at)
  if (row < 0) {
    decision.refuse(refusalNumber.hold_not_found)
    return undefined
  }
  decision.restOn(book.transactions.touchedSeq.get(row))
  const hold = book.holds.get(row)
  if (hold === undefined) {
    const state = book.transactions.state.get(row)
    decision.refuse(endedHolds[state] ?? refusalNumber.hold_not_found)
    return undefined
  }
  if (hold.expiresAt <= timeMs) {
    decision.refuse(refusalNumber.hold_expired)
    return undefined
  }
  return hold
}

function decideDate(words: Uint32Array, at: number, timeMs: number, decision: Decision): void {
  const date = words[at + FollowUpWord.effectiveDate] | 0
  decision.effectiveDate = date === noDate ? dayOf(timeMs) : date
  if (decision.refusal === 0 && decision.effectiveDate < dayOf(timeMs)) {
    decision.refuse(refusalNumber.effective_date_in_the_past, noIndex)
  }
}

/** Milliseconds since 1970 of a transaction command's expiry; Infinity for none. */
export function expiryOf(words: Uint32Array, word: number): number {
  const expiresAt = readInteger(words, word)
  return expiresAt === 0 ? Number.POSITIVE_INFINITY : expiresAt
}
