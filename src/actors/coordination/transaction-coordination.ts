import { paddedLength, Word } from '../../journal/record.js'
import { keyFromWords } from '../../key.js'
import { BookError } from '../book-error.js'
import { CommandKind } from '../command.js'
import { frameHeaderWords } from '../frame.js'
import { findTarget } from '../hold-decision.js'
import type { TransactionExecutor } from '../transaction-executor.js'
import type { Workbench } from '../workbench.js'
import { balancesOf, fillBalances } from './balance-list.js'
import { itemsToClaim, takeClaims, writeClaims } from './claims.js'
import type { Coordination, CoordinationSteps } from './coordination.js'
import type { Coordinator } from './coordinator.js'
import { judgeItem } from './item-judge.js'
import { ClaimOutcome, writeFinished } from './peer-message.js'
import { type CoordinatedItem, type PlannedItem, planItem } from './planned-item.js'
import { ReserveRequests, writeReserve } from './reserve-request.js'

/** Who is told what came of a coordinated command. */
export interface CoordinatedAnswer {
  readonly wantsBalances: boolean
  refused(refusal: { refusal: number; index: number; item: number; restsOn: number }): void
  /** Everything has been applied everywhere; what the items rest on is durable. */
  accepted(items: readonly CoordinatedItem[]): void
}

/**
 * A transaction, a follow-up or an atomic batch whose accounts, or ids, are on several shards. It
 * comes to the same as on one shard: the checks are made in the same order, each where its account
 * is known, and the first that refuses is the answer.
 *
 *     claiming ──ids are ours──▶ reserving ──all have voted──▶ written, or refused
 */
export class TransactionCoordination implements CoordinationSteps {
  readonly wantsBalances: boolean
  readonly #bench: Workbench
  readonly #coordinator: Coordinator
  readonly #executor: TransactionExecutor
  readonly #items: PlannedItem[]
  readonly #answer: CoordinatedAnswer
  #phase: 'claiming' | 'reserving' = 'claiming'
  #restsOn = 0

  constructor(
    parts: { bench: Workbench; coordinator: Coordinator; executor: TransactionExecutor },
    items: readonly CoordinatedItem[],
    answer: CoordinatedAnswer,
  ) {
    this.#bench = parts.bench
    this.#coordinator = parts.coordinator
    this.#executor = parts.executor
    this.#answer = answer
    this.wantsBalances = answer.wantsBalances
    this.#items = items.map((item, index) => planItem(this.#bench.book, item, index))
  }

  get weight(): number {
    return this.#items.length
  }

  start(timeMs: number): void {
    const coordination = this.#coordinator.begin(this)
    for (const planned of this.#items) this.#occupy(planned)
    const claims = itemsToClaim(this.#items, this.#own)
    for (const [shard, items] of claims) {
      const message = { coordination: coordination.number, from: this.#own }
      writeClaims(this.#coordinator.frameTo(shard), message, items)
      coordination.party(shard)
    }
    this.#coordinator.await(coordination, claims.size, timeMs)
  }

  decide(coordination: Coordination, timeMs: number): void {
    if (this.#phase === 'claiming') {
      takeClaims(coordination, this.#items, this.#own)
      this.#phase = 'reserving'
      this.#reserve(coordination, timeMs)
      return
    }
    this.#leaveTargets()
    const refused = this.#firstRefused(coordination, timeMs)
    if (refused === undefined) {
      this.#writeAll(coordination, timeMs)
      this.#resumeHolds()
      this.#coordinator.commit(coordination)
    } else {
      this.#refuse(coordination, refused)
    }
  }

  finish(coordination: Coordination): void {
    const items = this.#items.map(({ item }) => item)
    if (this.wantsBalances) {
      for (const party of coordination.parties) fillBalances(items[0].balances, party.balances)
    }
    this.#answer.accepted(items)
    for (const shard of this.#claimants()) {
      writeFinished(this.#coordinator.frameTo(shard), coordination.number, this.#own)
    }
    this.#leaveIds()
  }

  get #own(): number {
    return this.#bench.book.place.shard
  }

  /** The other shards that have claimed ids for this. */
  #claimants(): Set<number> {
    const claimed = this.#items.filter(
      ({ idShard, claim }) => idShard !== this.#own && claim === ClaimOutcome.claimed,
    )
    return new Set(claimed.map(({ idShard }) => idShard))
  }

  /** Asks every shard for its sides of the postings, and for its conditions. */
  #reserve(coordination: Coordination, timeMs: number): void {
    const requests = new ReserveRequests(this.#bench.book)
    for (const [index, planned] of this.#items.entries()) {
      const isOpen = !planned.item.known && planned.claim === ClaimOutcome.claimed
      if (isOpen) requests.add(planned, index)
    }
    const { words, at } = this.#items[0].item
    const message = {
      coordination: coordination.number,
      from: this.#own,
      tenant: words[at + Word.tenant],
    }
    let answers = 0
    for (const [shard, request] of requests.byShard) {
      if (shard === this.#own) continue
      coordination.party(shard)
      writeReserve(this.#coordinator.frameTo(shard), message, request)
      answers += 1
    }
    const own = requests.byShard.get(this.#own)
    if (own !== undefined) {
      const { ownRequest } = this.#coordinator
      ownRequest.clear()
      writeReserve(ownRequest, message, own)
      const verdict = this.#coordinator.participant.judge(ownRequest.words, frameHeaderWords)
      this.#restsOn = verdict.restsOn
      this.#coordinator.takeOwnVerdict(coordination, verdict)
    }
    this.#coordinator.await(coordination, answers, timeMs)
  }

  /** Index of the first item that is refused, with the bench's decision; undefined if none is. */
  #firstRefused(coordination: Coordination, timeMs: number): number | undefined {
    const { book, decision } = this.#bench
    const newHere = this.#items.filter((planned) => this.#isNewHere(planned)).length
    if (newHere > 0 && !book.hasRoomFor(newHere)) {
      decision.start()
      decision.refuse(book.fullRefusal)
      return 0
    }
    const refused = this.#items.findIndex(
      (planned, index) => !planned.item.known && !this.#judge(coordination, planned, index, timeMs),
    )
    return refused < 0 ? undefined : refused
  }

  #judge(coordination: Coordination, planned: PlannedItem, index: number, timeMs: number): boolean {
    const restsOn = this.#restsOn
    return judgeItem(this.#bench, coordination, planned, { index, timeMs, restsOn })
  }

  /** All items are accepted: writes their records, which one commit will carry. */
  #writeAll(coordination: Coordination, timeMs: number): void {
    if (this.#items.length === 1) {
      // The decision on it is still on the bench.
      if (!this.#items[0].item.known) this.#write(coordination, this.#items[0], timeMs)
      return
    }
    for (const party of coordination.parties) party.factsRead = 0
    for (const [index, planned] of this.#items.entries()) {
      if (planned.item.known) continue
      if (!this.#judge(coordination, planned, index, timeMs)) {
        throw new BookError('an item of an accepted atomic batch was refused')
      }
      this.#write(coordination, planned, timeMs)
    }
  }

  #write(coordination: Coordination, { item }: PlannedItem, timeMs: number): void {
    const { decision, replies, stream } = this.#bench
    const written = this.#executor.writeDecided(item.words, item.at, timeMs, item.hold)
    const { words, at, seq } = written
    item.record = words.slice(at, at + paddedLength(words[at + Word.length]) / 4)
    item.stream = stream
    item.seq = seq
    item.state = this.#stateOf(item.record)
    if (this.wantsBalances) item.balances = balancesOf(decision, replies)
    this.#coordinator.tell(coordination, item.record, seq)
  }

  #stateOf(record: Uint32Array): number {
    const { transactions } = this.#bench.book
    const row = transactions.find(record[Word.tenant], keyFromWords(record, Word.id))
    return row < 0 ? 0 : transactions.state.get(row)
  }

  #refuse(coordination: Coordination, item: number): void {
    const { decision } = this.#bench
    const { refusal, index } = decision
    const restsOn = Math.max(this.#restsOn, this.#bench.restsOn(decision))
    for (const { item: refused, hasId } of this.#items) {
      // An expiry stays busy until its answer says when it is to be tried again.
      if (refused.hold !== undefined && !hasId) refused.hold.busy = true
    }
    this.#resumeHolds()
    this.#coordinator.abandon(coordination, () => {
      this.#answer.refused({ refusal, index, item, restsOn })
      this.#leaveIds()
    })
  }

  /** From here on the item's id and its target belong to this coordination. */
  #occupy(planned: PlannedItem): void {
    const { item, kind } = planned
    const { words, at, hold } = item
    const { book, underWay } = this.#bench
    if (hold !== undefined) hold.busy = true
    if (kind === CommandKind.reverse) book.reversing.add(findTarget(book, words, at))
    if (this.#isNewHere(planned)) underWay.begin(words[at + Word.tenant], words, at + Word.id)
  }

  #leaveTargets(): void {
    const { book } = this.#bench
    for (const { item, kind } of this.#items) {
      if (item.hold !== undefined) item.hold.busy = false
      if (kind === CommandKind.reverse) book.reversing.delete(findTarget(book, item.words, item.at))
    }
  }

  #leaveIds(): void {
    for (const planned of this.#items) {
      if (!this.#isNewHere(planned)) continue
      const { words, at } = planned.item
      this.#bench.underWay.end(words[at + Word.tenant], words, at + Word.id)
    }
  }

  #resumeHolds(): void {
    for (const { item } of this.#items) {
      const { hold } = item
      if (hold !== undefined && !hold.busy) this.#bench.book.holds.resume(hold)
    }
  }

  /** Whether the item's id is new, and this shard remembers it. */
  #isNewHere({ item, hasId, idShard, claim }: PlannedItem): boolean {
    return !item.known && hasId && idShard === this.#own && claim === ClaimOutcome.claimed
  }
}
