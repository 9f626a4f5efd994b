import { dayOf } from '../clock.js'
import { packSides, readBigint, readInteger, Side, Word } from '../journal/record.js'
import { writeKeyWords } from '../key.js'
import { toMinor } from '../money.js'
import { type Book, elsewhere } from './book.js'
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
 * of the hold (0n where nothing is). If the hold `crosses`, everything but the accounts is decided
 * by {@link decidePostAmounts} once the other shards have said what they know of them.
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
  locateHold(book, words[at + Word.tenant], hold, decision)
  if (decision.crosses) return decision
  for (let index = 0; index < decision.count; index++) {
    const { debit, credit } = decision.postings[index]
    const refusal = statusRefusal(book, debit, credit) || shutRefusal(book, debit, credit)
    if (refusal !== 0) return decision.refuse(refusal, index)
  }
  return decidePostAmounts(hold, words, at, decision)
}

/** Decides on the amounts of a post, for the located postings of its hold. */
export function decidePostAmounts(
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
    const { remaining, scale } = hold.postings[index]
    let amount: bigint | undefined = remaining
    if (amounts > 0) {
      const word = at + FollowUpWord.amountList + index * amountWords
      amount = toMinor({ mantissa: readBigint(words, word), decimals: words[word + 2] }, scale)
      if (amount === undefined) return decision.refuse(refusalNumber.too_many_decimals, index)
      if (amount > remaining) return decision.refuse(refusalNumber.exceeds_hold, index)
    }
    decision.postings[index].amount = amount
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
  const hold = findHold(book, words, at, timeMs, decision)
  decideDate(words, at, timeMs, decision)
  if (hold === undefined || decision.refusal !== 0) return decision
  locateHold(book, words[at + Word.tenant], hold, decision)
  return decision.crosses ? decision : refuseShut(book, decision)
}

/** The located postings of a hold whose time has come; refused while an account is shut. */
export function decideExpiry(book: Book, hold: Hold, decision: Decision): Decision {
  locateHold(book, book.transactions.keys.tenantOf(hold.row), hold, decision)
  return decision.crosses ? decision : refuseShut(book, decision)
}

function refuseShut(book: Book, decision: Decision): Decision {
  for (let index = 0; index < decision.count; index++) {
    const { debit, credit } = decision.postings[index]
    const refusal = shutRefusal(book, debit, credit)
    if (refusal !== 0) return decision.refuse(refusal, index)
  }
  return decision
}

/** Refusal of a touch of accounts that nothing may touch until something else is decided; or 0. */
function shutRefusal({ reservations }: Book, debit: number, credit: number): number {
  if (reservations.isEmpty) return 0
  return reservations.isShut(debit) || reservations.isShut(credit)
    ? refusalNumber.funds_reserved
    : 0
}

/** Makes the hold's postings those of the decision, with amounts of 0. */
function locateHold(book: Book, tenant: number, hold: Hold, decision: Decision): void {
  const { accounts } = book
  for (const { debit, credit, currency, scale } of hold.postings) {
    const posting = decision.postings[decision.count]
    posting.keys = new Uint32Array(8)
    posting.keysAt = 0
    writeKeyWords(posting.keys, 0, debit)
    writeKeyWords(posting.keys, 4, credit)
    posting.debit = book.locate(tenant, posting.keys, 0)
    posting.credit = book.locate(tenant, posting.keys, 4)
    posting.amount = 0n
    posting.currency = accounts.currencyOfCode(currency, scale)
    posting.sides = packSides(
      posting.debit === elsewhere ? Side.elsewhere : accounts.sideOf(posting.debit),
      posting.credit === elsewhere ? Side.elsewhere : accounts.sideOf(posting.credit),
    )
    if (posting.debit >= 0) decision.restOn(accounts.touchedSeq.get(posting.debit))
    if (posting.credit >= 0) decision.restOn(accounts.touchedSeq.get(posting.credit))
    decision.crosses ||= posting.debit === elsewhere || posting.credit === elsewhere
    decision.count += 1
  }
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
  if (decideReversible(book, words, at, timeMs, decision).refusal !== 0) return decision
  const count = words[at + FollowUpWord.postings]
  for (let index = 0; index < count; index++) {
    const block = at + FollowUpWord.amountList + index * blockWords
    const refusal = resolvePosting(book, words, at, block, words[block + Block.decimals], decision)
    if (decision.crosses) return decision
    if (refusal !== 0) return decision.refuse(refusal, index)
  }
  return draftPostings(book, draft, { pending: false, imported: false }, decision)
}

/** Decides whether the target of a reversal can be reversed, and on the effective date. */
export function decideReversible(
  book: Book,
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
  if (book.reversing.has(row)) return decision.refuse(refusalNumber.funds_reserved)
  decideDate(words, at, timeMs, decision)
  if (decision.effectiveDate < dayOf(timeMs)) {
    return decision.refuse(refusalNumber.effective_date_in_the_past)
  }
  return decision
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
export function findHold(
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
  if (hold.busy) {
    // What it reserves may be gone once the post or void under way is decided.
    decision.refuse(refusalNumber.funds_reserved)
    return undefined
  }
  return hold
}

export function decideDate(
  words: Uint32Array,
  at: number,
  timeMs: number,
  decision: Decision,
): void {
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
