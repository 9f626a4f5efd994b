import { balanceWords } from '../balance-entry.js'
import { FrameWriter } from '../frame.js'
import type { Workbench } from '../workbench.js'
import { Coordination, type CoordinationSteps, type ToldRecord } from './coordination.js'
import { Participant } from './participant.js'
import {
  AppliedWord,
  ApplyFlag,
  afterPeerMessage,
  factWords,
  Peer,
  PeerKind,
  VoteWord,
  writeApply,
  writeRelease,
  writeReleased,
} from './peer-message.js'
import type { Verdict } from './sides-judge.js'

const noShards = new Set<number>()

/**
 * What this shard, as home, decides together with other shards. A coordination lives in memory
 * only: until its record is committed nothing has happened, and afterwards the journal knows what
 * the others have to be told.
 *
 *     asking ──all votes──▶ decided ──record committed──▶ telling ──all applied──▶ finished
 *        └──────── refused ────────▶ released
 */
export class Coordinator {
  readonly participant: Participant
  /** Where home writes what it asks itself; used again each time. */
  readonly ownRequest = new FrameWriter()
  readonly #bench: Workbench
  readonly #itemsMax: number
  readonly #underWay = new Map<number, Coordination>()
  /** Decided, in the order of their records; their records are not all durable yet. */
  readonly #committing: Coordination[] = []
  /** Transactions, posts, voids, … that they consist of. */
  #items = 0
  #nextNumber = 1

  /** Beyond `itemsMax` items under way, commands wait in the mailbox. */
  constructor(bench: Workbench, itemsMax: number) {
    this.#bench = bench
    this.#itemsMax = itemsMax
    this.participant = new Participant(bench)
  }

  get count(): number {
    return this.#underWay.size
  }

  get isFull(): boolean {
    return this.#items >= this.#itemsMax
  }

  /** Nothing is under way, and nothing is kept for other homes. */
  get isIdle(): boolean {
    return this.#underWay.size === 0 && this.participant.count === 0
  }

  get #own(): number {
    return this.#bench.book.place.shard
  }

  begin(steps: CoordinationSteps): Coordination {
    const coordination = new Coordination(this.#nextNumber, steps)
    this.#nextNumber = coordination.number === 0xffffffff ? 1 : coordination.number + 1
    this.#underWay.set(coordination.number, coordination)
    this.#items += steps.weight
    return coordination
  }

  /** The frame for a message that rests on nothing, or on what is durable. */
  frameTo(shard: number): FrameWriter {
    return this.#bench.outputs.peerResting(shard, 0)
  }

  /** Takes home's own verdict as that of any other shard. */
  takeOwnVerdict(coordination: Coordination, verdict: Verdict): void {
    const party = coordination.party(this.#own)
    party.refusal = verdict.refusal
    party.item = verdict.item
    party.rank = verdict.rank
    party.facts = verdict.facts.slice(0, verdict.count * factWords)
    party.factCount = verdict.count
  }

  /** Goes on once the answers that were asked for are there; at once if none was. */
  await(coordination: Coordination, answers: number, timeMs: number): void {
    coordination.awaited = answers
    if (answers === 0) coordination.steps.decide(coordination, timeMs)
  }

  /** Takes an entry of a frame from another shard; returns the word after it. */
  receive(words: Uint32Array, at: number, timeMs: number): number {
    const kind = words[at] & 0xff
    switch (kind) {
      case PeerKind.reserve:
        this.participant.reserve(words, at)
        break
      case PeerKind.claim:
        this.participant.claim(words, at)
        break
      case PeerKind.shut:
        this.participant.shut(words, at)
        break
      case PeerKind.release:
        this.participant.release(words[at + Peer.from], words[at + Peer.coordination])
        writeReleased(this.frameTo(words[at + Peer.from]), words[at + Peer.coordination], this.#own)
        break
      case PeerKind.finished:
        this.participant.release(words[at + Peer.from], words[at + Peer.coordination])
        break
      case PeerKind.apply:
        this.participant.apply(words, at, timeMs)
        break
      case PeerKind.vote:
      case PeerKind.claimed:
      case PeerKind.applied:
      case PeerKind.released:
        this.#takeAnswer(kind, words, at, timeMs)
        break
      default:
        throw new RangeError(`a shard sent a message of the unknown kind ${kind}`)
    }
    return afterPeerMessage(words, at)
  }

  #takeAnswer(kind: PeerKind, words: Uint32Array, at: number, timeMs: number): void {
    const coordination = this.#underWay.get(words[at + Peer.coordination])
    if (coordination === undefined) throw new Error('a shard answered what nobody asked')
    const party = coordination.party(words[at + Peer.from])
    // By itself: a coordination that goes on must not keep the whole frame.
    const message = words.slice(at, afterPeerMessage(words, at))
    party.words = message
    if (kind === PeerKind.vote) {
      party.refusal = message[0] >>> 16
      party.item = message[VoteWord.item]
      party.rank = message[VoteWord.rank]
      party.facts = message.subarray(VoteWord.list)
      party.factCount = message[VoteWord.facts]
    } else if (kind === PeerKind.applied) {
      const { list, balances } = AppliedWord
      party.balances = message.subarray(list, list + message[balances] * balanceWords)
    }
    coordination.awaited -= 1
    if (coordination.awaited > 0) return
    if (kind === PeerKind.applied || kind === PeerKind.released) this.#finish(coordination)
    else coordination.steps.decide(coordination, timeMs)
  }

  /** A record of the coordination has joined the open batch; numbers its messages. */
  tell(coordination: Coordination, words: Uint32Array, seq: number): void {
    const { counts } = this.#bench
    const messages = counts.send(words, 0).map((shard) => ({ shard, number: counts.sent[shard] }))
    coordination.records.push({ words, seq, messages })
    if (coordination.firstSeq === 0) coordination.firstSeq = seq
    coordination.lastSeq = seq
  }

  /** Everything is decided and written: what home held is free, and when it is durable all learn. */
  commit(coordination: Coordination): void {
    this.participant.release(this.#own, coordination.number)
    // With nothing written there is no commit to wait for.
    if (coordination.records.length === 0) this.#tellAll(coordination)
    else this.#committing.push(coordination)
  }

  /**
   * Nothing came of it: everybody gives back what was reserved. Calls `then` when they have, so
   * that whoever hears of the refusal meets nothing that is left of it.
   */
  abandon(coordination: Coordination, then: () => void): void {
    this.participant.release(this.#own, coordination.number)
    coordination.abandoned = then
    coordination.awaited = this.#releaseParties(coordination, noShards)
    if (coordination.awaited === 0) this.#finish(coordination)
  }

  /** Tells all parties but those in `told` to give back what they hold; returns how many they are. */
  #releaseParties(coordination: Coordination, told: { has(shard: number): boolean }): number {
    let released = 0
    for (const { shard } of coordination.parties) {
      if (shard === this.#own || told.has(shard)) continue
      writeRelease(this.frameTo(shard), coordination.number, this.#own)
      released += 1
    }
    return released
  }

  /** Everything up to `seq` is durable: tells the others of what they have to apply. */
  onDurable(seq: number): void {
    let told = 0
    for (const coordination of this.#committing) {
      if (coordination.lastSeq > seq) break
      this.#tellAll(coordination)
      told += 1
    }
    this.#committing.splice(0, told)
  }

  #tellAll(coordination: Coordination): void {
    const flags = coordination.steps.wantsBalances ? ApplyFlag.balances : 0
    const last = new Map<number, ToldRecord>()
    for (const record of coordination.records) {
      for (const { shard } of record.messages) last.set(shard, record)
    }
    for (const record of coordination.records) {
      for (const { shard, number } of record.messages) {
        writeApply(
          this.frameTo(shard),
          {
            coordination: coordination.number,
            from: this.#own,
            flags: flags | (last.get(shard) === record ? ApplyFlag.last : 0),
            stream: this.#bench.stream,
            number,
          },
          record.words,
          record.seq,
        )
      }
    }
    coordination.awaited = last.size + this.#releaseParties(coordination, last)
    if (coordination.awaited === 0) this.#finish(coordination)
  }

  #finish(coordination: Coordination): void {
    this.#underWay.delete(coordination.number)
    this.#items -= coordination.steps.weight
    if (coordination.abandoned === undefined) coordination.steps.finish(coordination)
    else coordination.abandoned()
  }

  /** Whether every record up to `seq` has been applied by all whom it concerns. */
  isSettledUpTo(seq: number): boolean {
    for (const { firstSeq } of this.#underWay.values()) {
      if (firstSeq > 0 && firstSeq <= seq) return false
    }
    return true
  }
}
