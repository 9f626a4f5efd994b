import { dayOf } from '../clock.js'
import {
  packSides,
  RecordFlag,
  readBigint,
  readInteger,
  scaleShift,
  Word,
} from '../journal/record.js'
import { timeOfKey } from '../key.js'
import { toMinor } from '../money.js'
import type { BookCurrency } from './accounts.js'
import { type Book, elsewhere } from './book.js'
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

/** What {@link resolvePosting} says when an account is another shard's: home must ask for it. */
const accountElsewhere = -1

/** A posting whose accounts have been found. */
export interface ResolvedPosting {
  /** Rows; negative where another shard has the account. */
  debit: number
  credit: number
  /** Minor units. */
  amount: bigint
  currency: BookCurrency
  /** Where its sides take effect (journal/record.ts). */
  sides: number
  /** The debited account's key is at this word, the credited one's after it. */
  keys: Uint32Array
  keysAt: number
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
  /** Nothing is decided: some account is another shard's. */
  crosses = false
  /** The id lives on another shard, for which an atomic batch has claimed it. */
  idElsewhere = false
  readonly postings: ResolvedPosting[] = Array.from({ length: postingsMax }, () => ({
    debit: 0,
    credit: 0,
    amount: 0n,
    currency: noCurrency,
    sides: 0,
    keys: noKeys,
    keysAt: 0,
  }))

  start(): void {
    this.refusal = 0
    this.index = noIndex
    this.restsOn = 0
    this.count = 0
    this.crosses = false
    this.idElsewhere = false
  }

  /** Whether another shard must be told. */
  get isAcross(): boolean {
    if (this.idElsewhere) return true
    for (let index = 0; index < this.count; index++) {
      const { debit, credit } = this.postings[index]
      if (debit < 0 || credit < 0) return true
    }
    return false
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

const noCurrency: BookCurrency = { code: '', scale: 0, words: [0, 0] }
const noKeys = new Uint32Array(8)

/**
 * Decides on a transaction whose id is new: accepted, with its postings resolved and put into the
 * draft, or one refusal; or nothing, if it `crosses` to accounts of other shards before there is
 * reason to refuse it. Pure: reads the book, the command and the time, and changes only `decision`
 * and `draft`.
 */
export function decideTransaction(
  book: Book,
  draft: Draft,
  words: Uint32Array,
  at: number,
  timeMs: number,
  decision: Decision,
): Decision {
  if (decideTerms(book, words, at, timeMs, decision).refusal !== 0) return decision
  const plain = (words[at] & 0xff) === CommandKind.posting
  const flags = words[at] >>> 16
  const count = plain ? 1 : words[at + TransactionWord.postings]
  const firstBlock = at + (plain ? Word.body : TransactionWord.blocks)
  for (let index = 0; index < count; index++) {
    const block = firstBlock + index * blockWords
    const decimals = plain ? flags >>> scaleShift : words[block + Block.decimals]
    const refusal = resolvePosting(book, words, at, block, decimals, decision)
    if (refusal === accountElsewhere) return decision
    if (refusal !== 0) return decision.refuse(refusal, index)
  }
  if (!plain) {
    const firstCondition = firstBlock + count * blockWords
    const refusal = checkConditions(book, draft, words, at, firstCondition, decision)
    if (refusal === accountElsewhere) return decision
    if (refusal !== 0) return decision.refuse(refusal)
  }
  return draftPostings(
    book,
    draft,
    {
      pending: (flags & RecordFlag.pending) !== 0,
      imported: (flags & RecordFlag.imported) !== 0,
    },
    decision,
  )
}

/** Decides what does not depend on accounts: the id's date, room for it, expiry, effective date. */
export function decideTerms(
  book: Book,
  words: Uint32Array,
  at: number,
  timeMs: number,
  decision: Decision,
): Decision {
  const plain = (words[at] & 0xff) === CommandKind.posting
  const imported = ((words[at] >>> 16) & RecordFlag.imported) !== 0
  const idTime = timeOfKey(words[at + Word.id], words[at + Word.id + 1])
  if (idTime !== undefined && idTime > timeMs + idSkewMsMax) {
    return decision.refuse(refusalNumber.id_in_the_future)
  }
  if (!decision.idElsewhere && !book.hasRoomFor(1)) {
    return decision.refuse(book.fullRefusal)
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
  return decision
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
    if (refusal !== 0) return decision.refuse(refusal & 0xffff, index)
  }
  draft.touch(decision.postings, decision.count)
  return decision
}

export const statusRefusals = [
  0,
  refusalNumber.account_dormant,
  refusalNumber.account_frozen,
  refusalNumber.account_closed,
]

/**
 * Finds the accounts of the posting block at word `block` and its amount in minor units (which may
 * exceed 64 bits: that is for the draft to refuse), and adds them to the decision. Returns 0, the
 * number of the refusal, or {@link accountElsewhere}.
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
  const debit = book.locate(tenant, words, block + Block.debit)
  const credit = book.locate(tenant, words, block + Block.credit)
  if (debit < 0 || credit < 0) {
    decision.crosses = debit === elsewhere || credit === elsewhere
    return decision.crosses ? accountElsewhere : refusalNumber.account_not_found
  }
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
  posting.currency = currency
  posting.sides = packSides(accounts.sideOf(debit), accounts.sideOf(credit))
  posting.keys = words
  posting.keysAt = block
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
    const row = book.locate(tenant, words, word)
    if (row < 0) {
      decision.crosses = row === elsewhere
      return decision.crosses ? accountElsewhere : refusalNumber.account_not_found
    }
    decision.restOn(book.accounts.touchedSeq.get(row))
    const version = book.accounts.version.get(row) + draft.entry(row).touches
    if (version !== readInteger(words, word + 4)) return refusalNumber.version_conflict
  }
  return 0
}

export function sameKey(words: Uint32Array, a: number, b: number): boolean {
  return (
    words[a] === words[b] &&
    words[a + 1] === words[b + 1] &&
    words[a + 2] === words[b + 2] &&
    words[a + 3] === words[b + 3]
  )
}
