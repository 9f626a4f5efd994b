import { dayOf } from '../clock.js'
import { RecordFlag, readBigint, readInteger, scaleShift, Word } from '../journal/record.js'
import { timeOfKey } from '../key.js'
import { toMinor } from '../money.js'
import type { Book } from './book.js'
import {
  Block,
  blockWords,
  CommandKind,
  conditionWords,
  noDate,
  TransactionWord,
} from './command.js'
import { type Draft, tryPosting } from './draft.js'
import { refusalNumber } from './refusals.js'

/** The largest number of postings in a transaction. */
const postingsMax = 64

/** How far a client's clock may be ahead of ours: later ids cannot be forgotten in order (§7). */
const idSkewMsMax = 600_000

/** Index of the posting that a refusal is about, when it is about none. */
export const noIndex = 0xffffffff

/** A posting whose accounts have been found. Rows, and minor units. */
export interface ResolvedPosting {
  debit: number
  credit: number
  amount: bigint
}

/**
 * What has been decided on one command. One object is used again and again: the posting path makes
 * no garbage.
 */
export class Decision {
  /** 0: accepted. */
  refusal = 0
  /** Posting that the refusal is about. */
  index = noIndex
  /** Greatest seq of the records that the decision rests on. */
  restsOn = 0
  /** Number of `postings` in use. */
  count = 0
  effectiveDate = 0
  readonly postings: ResolvedPosting[] = Array.from({ length: postingsMax }, () => ({
    debit: 0,
    credit: 0,
    amount: 0n,
  }))

  start(): void {
    this.refusal = 0
    this.index = noIndex
    this.restsOn = 0
    this.count = 0
  }

  refuse(refusal: number, index = noIndex): Decision {
    this.refusal = refusal
    this.index = index
    return this
  }

  restOn(seq: number): void {
    if (seq > this.restsOn) this.restsOn = seq
  }
}

/**
 * Decides on a transaction whose id is new: accepted, with its postings resolved and put into the
 * draft, or one refusal. Pure: reads the book, the command and the time, and changes only
 * `decision` and `draft`.
 */
export function decideTransaction(
  book: Book,
  draft: Draft,
  words: Uint32Array,
  at: number,
  timeMs: number,
  decision: Decision,
): Decision {
  const plain = (words[at] & 0xff) === CommandKind.posting
  const flags = words[at] >>> 16
  const imported = (flags & RecordFlag.imported) !== 0
  const pending = (flags & RecordFlag.pending) !== 0
  const idTime = timeOfKey(words[at + Word.id], words[at + Word.id + 1])
  if (idTime !== undefined && idTime > timeMs + idSkewMsMax) {
    return decision.refuse(refusalNumber.id_in_the_future)
  }
  if (book.transactions.count >= book.limits.transactionsMax) {
    return decision.refuse(refusalNumber.memory_limit_reached)
  }
  if (!plain) {
    const expiresAt = readInteger(words, at + TransactionWord.expiresAt)
    if (expiresAt !== 0 && expiresAt <= timeMs) {
      return decision.refuse(refusalNumber.expiry_in_the_past)
    }
  }
  const today = dayOf(timeMs)
  const date = words[at + (plain ? Word.effectiveDate : TransactionWord.effectiveDate)] | 0
  decision.effectiveDate = date === noDate ? today : date
  if (decision.effectiveDate < today && !imported) {
    return decision.refuse(refusalNumber.effective_date_in_the_past)
  }

  const count = plain ? 1 : words[at + TransactionWord.postings]
  const firstBlock = at + (plain ? Word.body : TransactionWord.blocks)
  for (let index = 0; index < count; index++) {
    const block = firstBlock + index * blockWords
    const decimals = plain ? flags >>> scaleShift : words[block + Block.decimals]
    const refusal = resolvePosting(book, words, at, block, decimals, decision)
    if (refusal !== 0) return decision.refuse(refusal, index)
  }
  if (!plain) {
    const refusal = checkConditions(
      book,
      draft,
      words,
      at,
      firstBlock + count * blockWords,
      decision,
    )
    if (refusal !== 0) return decision.refuse(refusal)
  }
  return draftPostings(book, draft, { pending, imported }, decision)
}

/** Puts the resolved postings into the draft, one after the other. */
export function draftPostings(
  book: Book,
  draft: Draft,
  effect: { pending: boolean; imported: boolean },
  decision: Decision,
): Decision {
  for (let index = 0; index < decision.count; index++) {
    const refusal = tryPosting(book.accounts, draft, decision.postings[index], effect)
    if (refusal !== 0) return decision.refuse(refusal, index)
  }
  draft.touch(decision.postings, decision.count)
  return decision
}

const statusRefusals = [
  0,
  refusalNumber.account_dormant,
  refusalNumber.account_frozen,
  refusalNumber.account_closed,
]

/**
 * Finds the accounts of the posting block at word `block` and its amount in minor units (which may
 * exceed 64 bits: that is for the draft to refuse), and adds them to the decision. Returns 0, or
 * the number of the refusal.
 */
export function resolvePosting(
  book: Book,
  words: Uint32Array,
  at: number,
  block: number,
  decimals: number,
  decision: Decision,
): number {
  const { accounts } = book
  const tenant = words[at + Word.tenant]
  if (sameKey(words, block + Block.debit, block + Block.credit)) return refusalNumber.same_account
  const debit = findAccount(book, tenant, words, block + Block.debit)
  const credit = findAccount(book, tenant, words, block + Block.credit)
  if (debit < 0 || credit < 0) return refusalNumber.account_not_found
  decision.restOn(accounts.touchedSeq.get(debit))
  decision.restOn(accounts.touchedSeq.get(credit))
  const status = statusRefusal(book, debit, credit)
  if (status !== 0) return status
  if (accounts.currency.get(debit) !== accounts.currency.get(credit)) {
    return refusalNumber.currency_mismatch
  }
  const currency = accounts.currencyOf(debit)
  const stated = words[block + Block.currency]
  if (
    stated !== 0 &&
    (stated !== currency.words[0] || words[block + Block.currency + 1] !== currency.words[1])
  ) {
    return refusalNumber.currency_mismatch
  }
  const mantissa = readBigint(words, block + Block.amount)
  const amount =
    decimals === currency.scale ? mantissa : toMinor({ mantissa, decimals }, currency.scale)
  if (amount === undefined) return refusalNumber.too_many_decimals
  const posting = decision.postings[decision.count]
  posting.debit = debit
  posting.credit = credit
  posting.amount = amount
  decision.count += 1
  return 0
}

/** Refusal of a posting between accounts of which one is closed, frozen or dormant; or 0. */
export function statusRefusal(book: Book, debit: number, credit: number): number {
  const worst = Math.max(book.accounts.status.get(debit), book.accounts.status.get(credit))
  if (worst === 0) return 0
  // Closed before frozen before dormant, whichever side it is on.
  return statusRefusals[worst]
}

function checkConditions(
  book: Book,
  draft: Draft,
  words: Uint32Array,
  at: number,
  firstCondition: number,
  decision: Decision,
): number {
  const tenant = words[at + Word.tenant]
  const count = words[at + TransactionWord.conditions]
  for (let index = 0; index < count; index++) {
    const word = firstCondition + index * conditionWords
    const row = findAccount(book, tenant, words, word)
    if (row < 0) return refusalNumber.account_not_found
    decision.restOn(book.accounts.touchedSeq.get(row))
    const version = book.accounts.version.get(row) + draft.entry(row).touches
    if (version !== readInteger(words, word + 4)) return refusalNumber.version_conflict
  }
  return 0
}

function findAccount(book: Book, tenant: number, words: Uint32Array, word: number): number {
  return book.accounts.keys.find(
    tenant,
    words[word],
    words[word + 1],
    words[word + 2],
    words[word + 3],
  )
}

function sameKey(words: Uint32Array, a: number, b: number): boolean {
  return (
    words[a] === words[b] &&
    words[a + 1] === words[b + 1] &&
    words[a + 2] === words[b + 2] &&
    words[a + 3] === words[b + 3]
  )
}
