import { readBigint, readInteger } from '../../journal/record.js'
import { keyFromWords } from '../../key.js'
import { toMinor } from '../../money.js'
import { elsewhere } from '../book.js'
import { postingChecks, tryPosting } from '../draft.js'
import { refusalNumber } from '../refusals.js'
import type { ReservedAmounts } from '../reservations.js'
import type { Workbench } from '../workbench.js'
import {
  askCredit,
  askDebit,
  factWords,
  importedEffectFlag,
  Peer,
  ReserveEffect,
  ReservePosting,
  ReserveWord,
  reserveConditionWords,
  reservePostingWords,
} from './peer-message.js'

/** What a shard has found out about its sides of the postings that a home asked for. */
export interface Verdict {
  /** 0: they can be reserved, unless the facts say that home must refuse. */
  refusal: number
  /** Item of an atomic batch that is refused, and how early in its checks: the least one counts. */
  item: number
  rank: number
  facts: Uint32Array
  /** Facts in use. */
  count: number
  /** Greatest seq of the records that the verdict rests on. */
  restsOn: number
  /** What is to be reserved of each account; of nothing if it is refused. */
  amounts: ReservedAmounts[]
}

/** Rank of a posting's first check; conditions come before. */
export const firstPostingRank = 1 << 20

interface ResolvedSides {
  debit: number
  credit: number
  amount: bigint
  effect: number
  index: number
}

/**
 * Judges what a home asks a shard to reserve. The checks are those of a transaction on one shard,
 * as far as this shard knows the accounts.
 */
export class SidesJudge {
  readonly #bench: Workbench
  #facts = new Uint32Array(64)
  readonly #resolved: ResolvedSides[] = []

  constructor(bench: Workbench) {
    this.#bench = bench
  }

  /** Judges the postings of a reserve message. The facts are valid until the next judgement. */
  judge(words: Uint32Array, at: number): Verdict {
    const { draft } = this.#bench
    const verdict: Verdict = {
      refusal: 0,
      item: 0,
      rank: 0,
      facts: this.#facts,
      count: 0,
      restsOn: 0,
      amounts: [],
    }
    draft.reset()
    const tenant = words[at + Peer.tenant]
    const conditionsAt =
      at + ReserveWord.list + words[at + ReserveWord.postings] * reservePostingWords
    const end = conditionsAt + words[at + ReserveWord.conditions] * reserveConditionWords
    let posting = at + ReserveWord.list
    let condition = conditionsAt
    while (posting < conditionsAt || condition < end) {
      const item = Math.min(
        posting < conditionsAt ? words[posting + ReservePosting.item] : noItem,
        condition < end ? words[condition + 6] : noItem,
      )
      const last = this.#resolve(tenant, words, { posting, end: conditionsAt, item }, verdict)
      if (last < 0) return verdict
      posting = last
      while (condition < end && words[condition + 6] === item) {
        const refusal = this.#conditionRefusal(tenant, words, condition, verdict)
        if (refusal !== 0) return refuse(verdict, refusal, item, words[condition + 7])
        condition += reserveConditionWords
      }
      if (!this.#draft(item, verdict)) return verdict
    }
    verdict.amounts = draft.amounts()
    return verdict
  }

  /**
   * Finds the accounts of an item's postings and writes down what home must know of them; returns
   * the word after them, or -1 once home has reason enough to refuse.
   */
  #resolve(
    tenant: number,
    words: Uint32Array,
    range: { posting: number; end: number; item: number },
    verdict: Verdict,
  ): number {
    const { accounts } = this.#bench.book
    this.#resolved.length = 0
    let at = range.posting
    while (at < range.end && words[at + ReservePosting.item] === range.item) {
      const detail = words[at + ReservePosting.detail]
      const sides = (detail >>> 8) & 0xff
      const effect = (detail >>> 16) & 0xff
      const debit = (sides & askDebit) === 0 ? elsewhere : this.#fact(tenant, words, at, verdict)
      const credit =
        (sides & askCredit) === 0
          ? elsewhere
          : this.#fact(tenant, words, at + ReservePosting.credit, verdict)
      if (debit === notFound || credit === notFound) return -1
      const isSettled = (effect & 15) === ReserveEffect.settled
      const status = Math.max(
        debit < 0 ? 0 : accounts.status.get(debit),
        credit < 0 ? 0 : accounts.status.get(credit),
      )
      if (status !== 0 && !isSettled) return -1
      let amount: bigint | undefined = 0n
      if (!isSettled) {
        const decimal = {
          mantissa: readBigint(words, at + ReservePosting.amount),
          decimals: detail & 0xff,
        }
        amount = toMinor(decimal, accounts.currencyOf(Math.max(debit, credit)).scale)
      }
      if (amount === undefined) return -1
      this.#resolved.push({ debit, credit, amount, effect, index: detail >>> 24 })
      at += reservePostingWords
    }
    return at
  }

  #fact(tenant: number, words: Uint32Array, at: number, verdict: Verdict): number {
    const { accounts } = this.#bench.book
    const row = accounts.keys.find(tenant, words[at], words[at + 1], words[at + 2], words[at + 3])
    const word = verdict.count * factWords
    if (word + factWords > this.#facts.length) {
      const facts = new Uint32Array(this.#facts.length * 2)
      facts.set(this.#facts)
      this.#facts = facts
      verdict.facts = facts
    }
    verdict.count += 1
    if (row < 0) {
      this.#facts.fill(0, word, word + factWords)
      return notFound
    }
    verdict.restsOn = Math.max(verdict.restsOn, accounts.touchedSeq.get(row))
    const currency = accounts.currencyOf(row)
    this.#facts[word] = 1 | (accounts.status.get(row) << 8) | (currency.scale << 16)
    this.#facts[word + 1] = currency.words[0]
    this.#facts[word + 2] = currency.words[1]
    this.#facts[word + 3] = 0
    return row
  }

  #conditionRefusal(tenant: number, words: Uint32Array, at: number, verdict: Verdict): number {
    const { book, draft } = this.#bench
    const row = book.accounts.find(tenant, keyFromWords(words, at))
    if (row < 0) return refusalNumber.account_not_found
    verdict.restsOn = Math.max(verdict.restsOn, book.accounts.touchedSeq.get(row))
    const entry = draft.entry(row)
    if (book.accounts.version.get(row) + entry.touches !== readInteger(words, at + 4)) {
      return refusalNumber.version_conflict
    }
    if (entry.isShut) return refusalNumber.funds_reserved
    // Postings do not move the version of a striped account; changes wait for reservations.
    if (book.accounts.isStriped(row)) return 0
    if (entry.isReserved) return refusalNumber.funds_reserved
    entry.holdsVersion = true
    return 0
  }

  /** Puts the resolved postings of an item into the draft; false if one was refused. */
  #draft(item: number, verdict: Verdict): boolean {
    const { draft } = this.#bench
    for (const posting of this.#resolved) {
      const outcome = this.#tryPosting(posting)
      if (outcome !== 0) {
        const rank = firstPostingRank + posting.index * postingChecks + (outcome >>> 16)
        refuse(verdict, outcome & 0xffff, item, rank)
        return false
      }
    }
    draft.touch(this.#resolved, this.#resolved.length)
    return true
  }

  #tryPosting(posting: ResolvedSides): number {
    const { draft, book } = this.#bench
    const effect = posting.effect & 15
    if (effect !== ReserveEffect.settled) {
      return tryPosting(book.accounts, draft, posting, {
        pending: effect === ReserveEffect.pending,
        imported: (posting.effect & importedEffectFlag) !== 0,
      })
    }
    for (const row of [posting.debit, posting.credit]) {
      if (row >= 0 && draft.entry(row).isShut) return refusalNumber.funds_reserved
    }
    return 0
  }
}

const notFound = -1
const noItem = 0xffffffff

function refuse(verdict: Verdict, refusal: number, item: number, rank: number): Verdict {
  verdict.refusal = refusal
  verdict.item = item
  verdict.rank = rank
  return verdict
}
