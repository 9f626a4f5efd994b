import { appliedRecord } from '../../journal/applied-record.js'
import {
  type AppliedBody,
  creditSide,
  debitSide,
  plainSides,
  RecordKind,
  readBody,
  readInteger,
  Side,
  Word,
  writeInteger,
} from '../../journal/record.js'
import { keyFromBytes, keyFromWords } from '../../key.js'
import { balanceWords } from '../balance-entry.js'
import type { ReservedAmounts } from '../reservations.js'
import type { Workbench } from '../workbench.js'
import {
  AppliedWord,
  ApplyFlag,
  ApplyWord,
  afterPeerMessage,
  beginPeerMessage,
  ClaimedWord,
  ClaimOutcome,
  ClaimWord,
  claimedWords,
  claimWords,
  factWords,
  Peer,
  PeerKind,
  ShutWord,
  VoteWord,
} from './peer-message.js'
import { SidesJudge, type Verdict } from './sides-judge.js'

/** What a shard keeps for one coordination of one home. */
interface Held {
  amounts: ReservedAmounts[]
  /** Ids that it claimed: tenant and key. They stay claimed until all shards have applied it. */
  claims: { tenant: number; key: Uint32Array }[]
  /** Claimed ids that are not remembered yet. */
  claimsOpen: number
  /** Row of an account that is shut for a change, or -1. */
  shut: number
}

const notChecked = { outcome: ClaimOutcome.notChecked, stream: 0, seq: 0, restsOn: 0 }

/**
 * A shard's part in transactions that another shard, or it itself, is home of: it judges and
 * reserves, gives back what was refused, and applies what was decided. What was decided is never
 * refused, nor does it wait.
 */
export class Participant {
  readonly #bench: Workbench
  readonly #held = new Map<number, Held>()
  readonly #judge: SidesJudge

  constructor(bench: Workbench) {
    this.#bench = bench
    this.#judge = new SidesJudge(bench)
  }

  /** Coordinations for which something is kept. */
  get count(): number {
    return this.#held.size
  }

  /** Answers a reserve message with a vote, which leaves when all that it rests on is durable. */
  reserve(words: Uint32Array, at: number): void {
    this.#sendVote(words, at, this.judge(words, at))
  }

  /** Judges the postings of a reserve message and, unless one is refused, reserves them. */
  judge(words: Uint32Array, at: number): Verdict {
    const verdict = this.#judge.judge(words, at)
    if (verdict.amounts.length > 0) {
      this.#bench.book.reservations.add(verdict.amounts)
      this.#holdingOf(words, at).amounts = verdict.amounts
    }
    return verdict
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

  /** Claims ids for an atomic batch whose home is another shard, once it is known which are new. */
  claim(words: Uint32Array, at: number): void {
    const { recalls, book } = this.#bench
    if (book.letGo.isEmpty) {
      this.#claimAll(words, at)
      return
    }
    const message = words.slice(at, afterPeerMessage(words, at))
    const ids = Array.from({ length: message[ClaimWord.count] }, (_, index) => ({
      words: message,
      at: ClaimWord.list + index * claimWords,
    }))
    const go = () => this.#claimAll(message, 0)
    if (!recalls.holdsUp(message[Peer.tenant], ids, go, ids.length)) go()
  }

  #claimAll(words: Uint32Array, at: number): void {
    const tenant = words[at + Peer.tenant]
    const count = words[at + ClaimWord.count]
    const outcomes = new Uint32Array(count * claimedWords)
    let restsOn = 0
    for (let index = 0; index < count; index++) {
      const word = at + ClaimWord.list + index * claimWords
      // Also where all were looked for: many ids are asked for in parts, and one may have been let
      // go again since its part came.
      const claim = this.#bench.recalls.isSettled(tenant, words, word)
        ? this.#claimId(tenant, words, word)
        : notChecked
      restsOn = Math.max(restsOn, claim.restsOn)
      outcomes[index * claimedWords] = claim.outcome
      outcomes[index * claimedWords + 1] = claim.stream
      writeInteger(outcomes, index * claimedWords + 2, claim.seq)
      if (claim.outcome !== ClaimOutcome.claimed) continue
      this.#bench.underWay.begin(tenant, words, word)
      this.#bench.book.transactions.claimed += 1
      const held = this.#holdingOf(words, at)
      held.claims.push({ tenant, key: words.slice(word, word + 4) })
      held.claimsOpen += 1
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
    const { book, underWay, outputs } = this.#bench
    const { transactions } = book
    if (underWay.has(tenant, words, at)) {
      return { outcome: ClaimOutcome.busy, stream: 0, seq: 0, restsOn: 0 }
    }
    const row = transactions.find(tenant, keyFromWords(words, at))
    if (row < 0) {
      return book.hasRoomFor(1)
        ? { outcome: ClaimOutcome.claimed, stream: 0, seq: 0, restsOn: 0 }
        : { outcome: ClaimOutcome.full, stream: 0, seq: 0, restsOn: outputs.lastSeq() }
    }
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
      this.#bench.replies.balance(out, vote + VoteWord.list, row)
    })
  }

  /** Gives back all that is held for a coordination. */
  release(from: number, coordination: number): void {
    const held = this.#held.get(nameOf(from, coordination))
    if (held === undefined) return
    this.#held.delete(nameOf(from, coordination))
    this.#releaseAmounts(held)
    const { underWay } = this.#bench
    for (const { tenant, key } of held.claims) underWay.end(tenant, key, 0)
  }

  /** What was decided has been applied here. Who repeats an id waits until all have applied it. */
  #settle(from: number, coordination: number): void {
    const held = this.#held.get(nameOf(from, coordination))
    if (held === undefined) return
    if (held.claims.length === 0) this.release(from, coordination)
    else this.#releaseAmounts(held)
  }

  #releaseAmounts(held: Held): void {
    const { reservations, transactions } = this.#bench.book
    if (held.shut >= 0) reservations.open(held.shut)
    reservations.release(held.amounts)
    transactions.claimed -= held.claimsOpen
    held.shut = -1
    held.amounts = []
    held.claimsOpen = 0
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
      this.#bench.replies.balance(frame.words, word, row)
    }
    this.#settle(from, words[at + Peer.coordination])
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
      held = { amounts: [], claims: [], claimsOpen: 0, shut: -1 }
      this.#held.set(name, held)
    }
    return held
  }
}

function nameOf(from: number, coordination: number): number {
  return from * 2 ** 32 + coordination
}
