import { appliedRecord } from '../journal/applied-record.js'
import {
  type AppliedBody,
  creditSide,
  debitSide,
  plainSides,
  RecordKind,
  readBigint,
  readBody,
  readInteger,
  Side,
  Word,
  writeInteger,
} from '../journal/record.js'
import { keyFromBytes, keyFromWords } from '../key.js'
import { toMinor } from '../money.js'
import { elsewhere } from './book.js'
import { postingChecks, tryPosting } from './draft.js'
import {
  AppliedWord,
  ApplyFlag,
  ApplyWord,
  askCredit,
  askDebit,
  beginPeerMessage,
  ClaimedWord,
  ClaimOutcome,
  ClaimWord,
  claimedWords,
  claimWords,
  factWords,
  importedEffectFlag,
  Peer,
  PeerKind,
  ReserveEffect,
  ReservePosting,
  ReserveWord,
  reserveConditionWords,
  reservePostingWords,
  ShutWord,
  VoteWord,
} from './peer-message.js'
import { refusalNumber } from './refusals.js'
import { balanceWords } from './reply.js'
import type { ReservedAmounts } from './reservations.js'
import type { Workbench } from './workbench.js'

/** What a shard has found out about its sides of the postings that a home asked for. */
export interface Verdict {
  /** 0: they are reserved, unless the facts say that home must refuse. */
  refusal: number
  /** Item of an atomic batch that is refused, and how early in its checks: the least one counts. */
  item: number
  rank: number
  facts: Uint32Array
  /** Facts in use. */
  count: number
  /** Greatest seq of the records that the verdict rests on. */
  restsOn: number
}

/** Rank of a posting's first check; conditions come before. */
export const firstPostingRank = 1 << 20

/** What a shard keeps for one coordination of one home. */
interface Held {
  amounts: ReservedAmounts[]
  /** Ids that it claimed: tenant and key. */
  claims: { tenant: number; key: Uint32Array }[]
  /** Row of an account that is shut for a change, or -1. */
  shut: number
}

interface ResolvedSides {
  debit: number
  credit: number
  amount: bigint
  effect: number
  index: number
}

/**
 * A shard's part in transactions that another shard, or it itself, is home of: it judges and
 * reserves, gives back what was refused, and applies what was decided. What was decided is never
 * refused, nor does it wait.
 */
export class Participant {
  readonly #bench: Workbench
  readonly #held = new Map<number, Held>()
  #facts = new Uint32Array(64)
  readonly #resolved: ResolvedSides[] = []

  constructor(bench: Workbench) {
    this.#bench = bench
  }

  /** Coordinations for which something is kept. */
  get count(): number {
    return this.#held.size
  }

  /** Answers a reserve message with a vote, which leaves when all that it rests on is durable. */
  reserve(words: Uint32Array, at: number): void {
    this.#sendVote(words, at, this.judge(words, at))
  }

  /**
   * Judges the postings of a reserve message and, unless one is refused, reserves them. The checks
   * are those of a transaction on one shard, as far as this shard knows the accounts.
   */
  judge(words: Uint32Array, at: number): Verdict {
    const { draft, book } = this.#bench
    const verdict: Verdict = {
      refusal: 0,
      item: 0,
      rank: 0,
      facts: this.#facts,
      count: 0,
      restsOn: 0,
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
    const amounts = draft.amounts()
    book.reservations.add(amounts)
    this.#holdingOf(words, at).amounts = amounts
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

  #sendVote(words: Uint32Array, at: number, verdict: Verdict): void {
    const from = words[at + Peer.from]
    const frame = this.#bench.outputs.peerResting(from, verdict.restsOn)
    const vote = beginPeerMessage(frame, {
      kind: PeerKind.vote,
      refusal: verdict.refusal,
      coordination: words[at + Peer.coordination],
      from: this.#bench.book.place.shard,
      bytes: (VoteWord.list - Peer.tenant + verdict.count * factWords) * 4,
    })
    const out = frame.words
    out[vote + VoteWord.item] = verdict.item
    out[vote + VoteWord.rank] = verdict.rank
    out[vote + VoteWord.facts] = verdict.count
    out[vote + VoteWord.facts + 1] = 0
    out.set(verdict.facts.subarray(0, verdict.count * factWords), vote + VoteWord.list)
  }

  /** Claims ids for an atomic batch whose home is another shard. */
  claim(words: Uint32Array, at: number): void {
    const tenant = words[at + Peer.tenant]
    const count = words[at + ClaimWord.count]
    const outcomes = new Uint32Array(count * claimedWords)
    let restsOn = 0
    for (let index = 0; index < count; index++) {
      const word = at + ClaimWord.list + index * claimWords
      const claim = this.#claimId(tenant, words, word)
      restsOn = Math.max(restsOn, claim.restsOn)
      outcomes[index * claimedWords] = claim.outcome
      outcomes[index * claimedWords + 1] = claim.stream
      writeInteger(outcomes, index * claimedWords + 2, claim.seq)
      if (claim.outcome !== ClaimOutcome.claimed) continue
      this.#bench.underWay.begin(tenant, words, word)
      this.#holdingOf(words, at).claims.push({ tenant, key: words.slice(word, word + 4) })
    }
    const frame = this.#bench.outputs.peerResting(words[at + Peer.from], restsOn)
    const claimed = beginPeerMessage(frame, {
      kind: PeerKind.claimed,
      coordination: words[at + Peer.coordination],
      from: this.#bench.book.place.shard,
      bytes: (ClaimedWord.list - Peer.tenant) * 4 + outcomes.byteLength,
    })
    frame.words[claimed + ClaimedWord.count] = count
    frame.words[claimed + ClaimedWord.count + 1] = 0
    frame.words.set(outcomes, claimed + ClaimedWord.list)
  }

  #claimId(
    tenant: number,
    words: Uint32Array,
    at: number,
  ): { outcome: number; stream: number; seq: number; restsOn: number } {
    const { book, underWay } = this.#bench
    const { transactions } = book
    if (underWay.has(tenant, words, at)) {
      return { outcome: ClaimOutcome.busy, stream: 0, seq: 0, restsOn: 0 }
    }
    const row = transactions.find(tenant, keyFromWords(words, at))
    if (row < 0) return { outcome: ClaimOutcome.claimed, stream: 0, seq: 0, restsOn: 0 }
    const same =
      transactions.fingerprintLow.get(row) === words[at + 4] &&
      transactions.fingerprintHigh.get(row) === words[at + 5]
    return {
      outcome: same ? ClaimOutcome.known : ClaimOutcome.knownWithDifferentBody,
      stream: transactions.stream.get(row),
      seq: transactions.seq.get(row),
      restsOn: transactions.touchedSeq.get(row),
    }
  }

  /** Shuts a striped account for a change, once it is free, and votes with its part's counters. */
  shut(words: Uint32Array, at: number): void {
    const { book, outputs } = this.#bench
    const row = book.accounts.find(words[at + Peer.tenant], keyFromWords(words, at + ShutWord.key))
    if (row < 0) throw new Error('a shard was asked to shut an account that it does not have')
    book.reservations.whenFree(row, () => {
      book.reservations.close(row)
      this.#holdingOf(words, at).shut = row
      const frame = outputs.peerResting(words[at + Peer.from], book.accounts.touchedSeq.get(row))
      const vote = beginPeerMessage(frame, {
        kind: PeerKind.vote,
        coordination: words[at + Peer.coordination],
        from: book.place.shard,
        bytes: (VoteWord.list - Peer.tenant + balanceWords) * 4,
      })
      const out = frame.words
      out[vote + VoteWord.item] = 0
      out[vote + VoteWord.rank] = book.accounts.holds.get(row)
      out[vote + VoteWord.facts] = 0
      out[vote + VoteWord.facts + 1] = 0
      this.#bench.replies.writeBalance(out, vote + VoteWord.list, row)
    })
  }

  /** Gives back what is held for a coordination. */
  release(from: number, coordination: number): void {
    const name = nameOf(from, coordination)
    const held = this.#held.get(name)
    if (held === undefined) return
    this.#held.delete(name)
    const { book, underWay } = this.#bench
    if (held.shut >= 0) book.reservations.open(held.shut)
    book.reservations.release(held.amounts)
    for (const { tenant, key } of held.claims) underWay.end(tenant, key, 0)
  }

  /** Appends and applies this shard's part of home's record, and tells home once it is durable. */
  apply(words: Uint32Array, at: number, timeMs: number): void {
    const { outputs, records, book, counts } = this.#bench
    const from = words[at + Peer.from]
    const recordAt = at + ApplyWord.record
    const stream = words[at + ApplyWord.stream]
    const message = readInteger(words, at + ApplyWord.number)
    const record = records.applied(
      appliedRecord(
        { words, at: recordAt, stream, seq: readInteger(words, at + ApplyWord.seq) },
        {
          shard: book.place.shard,
          layout: counts.layout,
          message,
          timeMs: Math.max(timeMs, records.lastTimeMs, readInteger(words, recordAt + Word.time)),
        },
      ),
    )
    counts.apply(stream, message, record.seq)
    const flags = (words[at] >>> 8) & 0xff
    if ((flags & ApplyFlag.last) === 0) return
    const rows = (flags & ApplyFlag.balances) === 0 ? [] : this.#rowsOf(record.words, record.at)
    const frame = outputs.peerResting(from, record.seq)
    const applied = beginPeerMessage(frame, {
      kind: PeerKind.applied,
      coordination: words[at + Peer.coordination],
      from: book.place.shard,
      bytes: (AppliedWord.list - Peer.tenant + rows.length * balanceWords) * 4,
    })
    frame.words[applied + AppliedWord.balances] = rows.length
    frame.words[applied + AppliedWord.balances + 1] = 0
    for (const [index, row] of rows.entries()) {
      const word = applied + AppliedWord.list + index * balanceWords
      this.#bench.replies.writeBalance(frame.words, word, row)
    }
    this.release(from, words[at + Peer.coordination])
  }

  /** Rows of the accounts that an applied record has touched here. */
  #rowsOf(words: Uint32Array, at: number): number[] {
    const { accounts } = this.#bench.book
    const tenant = words[at + Word.tenant]
    const rows = new Set<number>()
    if ((words[at] & 0xff) === RecordKind.postingApplied) {
      const sides = plainSides(words, at)
      if (debitSide(sides) === Side.here) {
        rows.add(accounts.find(tenant, keyFromWords(words, at + Word.debit)))
      }
      if (creditSide(sides) === Side.here) {
        rows.add(accounts.find(tenant, keyFromWords(words, at + Word.credit)))
      }
      return [...rows]
    }
    const { postings = [], sides = [] } = readBody<AppliedBody>(words, at)
    for (const [index, [debit, credit]] of postings.entries()) {
      if (debitSide(sides[index]) === Side.here) {
        rows.add(accounts.find(tenant, keyFromBytes(debit, 0)))
      }
      if (creditSide(sides[index]) === Side.here) {
        rows.add(accounts.find(tenant, keyFromBytes(credit, 0)))
      }
    }
    return [...rows]
  }

  #holdingOf(words: Uint32Array, at: number): Held {
    const name = nameOf(words[at + Peer.from], words[at + Peer.coordination])
    let held = this.#held.get(name)
    if (held === undefined) {
      held = { amounts: [], claims: [], shut: -1 }
      this.#held.set(name, held)
    }
    return held
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

function nameOf(from: number, coordination: number): number {
  return from * 2 ** 32 + coordination
}
