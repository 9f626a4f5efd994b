import {
  packSides,
  paddedLength,
  RecordFlag,
  readBigint,
  readInteger,
  Side,
  scaleShift,
  Word,
} from '../journal/record.js'
import { keyFromWords } from '../key.js'
import { toMinor } from '../money.js'
import { elsewhere } from './book.js'
import { BookError } from './book-error.js'
import {
  Block,
  blockWords,
  CommandKind,
  conditionWords,
  FollowUpWord,
  TransactionWord,
} from './command.js'
import type { Coordination, CoordinationSteps, Coordinator, Party } from './coordinator.js'
import { postingChecks } from './draft.js'
import { fingerprintOf } from './fingerprint.js'
import { FrameWriter, frameHeaderWords } from './frame.js'
import {
  decideDate,
  decidePostAmounts,
  decideReversible,
  findHold,
  findTarget,
} from './hold-decision.js'
import type { Hold } from './holds.js'
import { firstPostingRank } from './participant.js'
import {
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
  type ReservedPosting,
  ReserveEffect,
  ReserveWord,
  reserveConditionWords,
  reservePostingWords,
  writeReservePosting,
} from './peer-message.js'
import { refusalNumber } from './refusals.js'
import { balanceWords } from './reply.js'
import { decideTerms, noIndex, sameKey, statusRefusals } from './transaction-decision.js'
import type { TransactionExecutor } from './transaction-executor.js'
import type { Workbench } from './workbench.js'

/** Who is told what came of a coordinated command. */
export interface CoordinatedAnswer {
  readonly wantsBalances: boolean
  refused(refusal: { refusal: number; index: number; item: number; restsOn: number }): void
  /** Everything has been applied everywhere; what the items rest on is durable. */
  accepted(items: readonly CoordinatedItem[]): void
}

/** One command of a coordination: it stands alone, or in an atomic batch. */
export interface CoordinatedItem {
  words: Uint32Array
  at: number
  /** Of the post, void or expiry of a hold. */
  hold?: Hold
  /** Position of the record, written now or, if it is `known`, long ago. */
  stream: number
  seq: number
  known: boolean
  /** The id has taken effect, on this shard, with another body. */
  isReused: boolean
  /** What its transaction had become when the record was written. */
  state: number
  /** The record, and the balance entries of the accounts that it touched. */
  record: Uint32Array
  balances: Uint32Array
}

export function coordinatedItem(words: Uint32Array, at: number, hold?: Hold): CoordinatedItem {
  const none = new Uint32Array(0)
  return {
    words,
    at,
    ...(hold === undefined ? {} : { hold }),
    stream: 0,
    seq: 0,
    known: false,
    isReused: false,
    state: 0,
    record: none,
    balances: none,
  }
}

/** A posting of an item, with the shards of its accounts. */
interface PlannedPosting extends ReservedPosting {
  debitShard: number
  creditShard: number
  /** Where a stated currency is in the keys' words; -1: none is stated. */
  currencyAt: number
}

interface PlannedItem {
  item: CoordinatedItem
  kind: number
  postings: PlannedPosting[]
  /** Shard of its id. */
  idShard: number
  /** What the shard of its id said of it. */
  claim: number
}

interface Asked {
  postings: { posting: PlannedPosting; sides: number }[]
  conditions: { words: Uint32Array; at: number; item: number; index: number }[]
}

/**
 * A transaction, a follow-up or an atomic batch whose accounts, or ids, are on several shards. It
 * comes to the same as on one shard: the checks are made in the same order, each where its account
 * is known, and the first that refuses is the answer.
 */
export class TransactionCoordination implements CoordinationSteps {
  readonly wantsBalances: boolean
  readonly #bench: Workbench
  readonly #coordinator: Coordinator
  readonly #executor: TransactionExecutor
  readonly #items: PlannedItem[]
  readonly #answer: CoordinatedAnswer
  #phase: 'claiming' | 'reserving' | 'writing' = 'claiming'
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
    this.#items = items.map((item, index) => this.#plan(item, index))
  }

  start(timeMs: number): void {
    const coordination = this.#coordinator.begin(this)
    for (const planned of this.#items) this.#occupy(planned)
    const claims = new Map<number, PlannedItem[]>()
    for (const planned of this.#items) {
      if (planned.idShard === this.#own || planned.item.known) continue
      const list = claims.get(planned.idShard)
      if (list === undefined) claims.set(planned.idShard, [planned])
      else list.push(planned)
    }
    for (const [shard, list] of claims) this.#writeClaims(coordination, shard, list)
    this.#coordinator.await(coordination, claims.size, timeMs)
  }

  decide(coordination: Coordination, timeMs: number): void {
    if (this.#phase === 'claiming') {
      this.#takeClaims(coordination)
      this.#phase = 'reserving'
      this.#reserve(coordination, timeMs)
      return
    }
    for (const { item } of this.#items) if (item.hold !== undefined) item.hold.busy = false
    for (const planned of this.#items) this.#leaveReversal(planned)
    const single = this.#items.length === 1
    for (const [index, planned] of this.#items.entries()) {
      if (planned.item.known) continue
      if (!this.#judge(coordination, planned, index, timeMs)) {
        this.#refuse(coordination, index)
        return
      }
      if (single) this.#write(coordination, planned, timeMs)
    }
    if (!single) this.#writeAll(coordination, timeMs)
    this.#resumeHolds()
    this.#coordinator.commit(coordination)
  }

  finish(coordination: Coordination): void {
    const items = this.#items.map(({ item }) => item)
    if (this.wantsBalances) {
      for (const party of coordination.parties) fillBalances(items[0].balances, party.balances)
    }
    this.#answer.accepted(items)
    this.#leaveIds()
  }

  get #own(): number {
    return this.#bench.book.place.shard
  }

  #refuse(coordination: Coordination, item: number): void {
    const { decision } = this.#bench
    const { refusal, index } = decision
    const restsOn = Math.max(this.#restsOn, this.#bench.restsOn(decision))
    this.#resumeHolds()
    this.#coordinator.abandon(coordination, () => {
      this.#answer.refused({ refusal, index, item, restsOn })
      this.#leaveIds()
    })
  }

  #plan(item: CoordinatedItem, index: number): PlannedItem {
    const { book } = this.#bench
    const { words, at, hold } = item
    const kind = words[at] & 0xff
    const planned: PlannedItem = {
      item,
      kind,
      postings: [],
      idShard: book.shardOfWords(words, at + Word.id),
      claim: item.isReused ? ClaimOutcome.knownWithDifferentBody : ClaimOutcome.claimed,
    }
    if (hold !== undefined) {
      for (const posting of hold.postings) {
        const keys = Uint32Array.of(
          ...[posting.debit, posting.credit].flatMap(({ w0, w1, w2, w3 }) => [w0, w1, w2, w3]),
        )
        planned.postings.push(
          this.#planned(planned, { keys, keysAt: 0, mantissa: 0n, decimals: 0, item: index }),
        )
      }
      return planned
    }
    const flags = words[at] >>> 16
    const plain = kind === CommandKind.posting
    const count = plain
      ? 1
      : words[
          at + (kind === CommandKind.reverse ? FollowUpWord.postings : TransactionWord.postings)
        ]
    const first = at + firstBlockOf(kind)
    for (let block = first; block < first + count * blockWords; block += blockWords) {
      planned.postings.push(
        this.#planned(planned, {
          keys: words,
          keysAt: block,
          mantissa: readBigint(words, block + Block.amount),
          decimals: plain ? flags >>> scaleShift : words[block + Block.decimals],
          item: index,
        }),
      )
    }
    return planned
  }

  #planned(
    { kind, item, postings }: PlannedItem,
    posting: Omit<ReservedPosting, 'effect' | 'index'>,
  ): PlannedPosting {
    const { book } = this.#bench
    const tenant = item.words[item.at + Word.tenant]
    const { keys, keysAt } = posting
    return {
      ...posting,
      effect: effectOf(kind, item),
      index: postings.length,
      debitShard:
        book.locate(tenant, keys, keysAt) === elsewhere
          ? book.shardOfWords(keys, keysAt)
          : this.#own,
      creditShard:
        book.locate(tenant, keys, keysAt + 4) === elsewhere
          ? book.shardOfWords(keys, keysAt + 4)
          : this.#own,
      currencyAt: item.hold === undefined ? keysAt + Block.currency : -1,
    }
  }

  /** From here on the item's id and its target belong to this coordination. */
  #occupy({ item, kind, idShard, claim }: PlannedItem): void {
    const { words, at, hold } = item
    const { book, underWay } = this.#bench
    if (hold !== undefined) hold.busy = true
    if (kind === CommandKind.reverse) book.reversing.add(findTarget(book, words, at))
    const isNew = claim === ClaimOutcome.claimed && !item.known
    if (isNew && idShard === this.#own && isCommand(kind)) {
      underWay.begin(words[at + Word.tenant], words, at + Word.id)
    }
  }

  #leaveReversal({ item, kind }: PlannedItem): void {
    if (kind !== CommandKind.reverse) return
    const { book } = this.#bench
    book.reversing.delete(findTarget(book, item.words, item.at))
  }

  #leaveIds(): void {
    for (const { item, kind, idShard, claim } of this.#items) {
      const isOwn = idShard === this.#own && isCommand(kind)
      if (item.known || !isOwn || claim !== ClaimOutcome.claimed) continue
      const { words, at } = item
      this.#bench.underWay.end(words[at + Word.tenant], words, at + Word.id)
    }
  }

  #resumeHolds(): void {
    for (const { item } of this.#items) {
      if (item.hold !== undefined) this.#bench.book.holds.resume(item.hold, item.hold.expiresAt)
    }
  }

  #writeClaims(coordination: Coordination, shard: number, items: readonly PlannedItem[]): void {
    const frame = this.#coordinator.frameTo(shard)
    const at = beginPeerMessage(frame, {
      kind: PeerKind.claim,
      coordination: coordination.number,
      from: this.#own,
      bytes: (ClaimWord.list - Peer.tenant + items.length * claimWords) * 4,
    })
    const { words } = frame
    words[at + Peer.tenant] = items[0].item.words[items[0].item.at + Word.tenant]
    words[at + ClaimWord.count] = items.length
    const fingerprint = { low: 0, high: 0 }
    for (const [index, { item }] of items.entries()) {
      const word = at + ClaimWord.list + index * claimWords
      for (let part = 0; part < 4; part++) {
        words[word + part] = item.words[item.at + Word.id + part]
      }
      fingerprintOf(item.words, item.at, fingerprint)
      words[word + 4] = fingerprint.low
      words[word + 5] = fingerprint.high
      words[word + 6] = 0
      words[word + 7] = 0
    }
    coordination.party(shard)
  }

  #takeClaims(coordination: Coordination): void {
    const taken = new Map<number, number>()
    for (const planned of this.#items) {
      const { idShard, item } = planned
      if (idShard === this.#own || item.known) continue
      const { words, at } = coordination.party(idShard)
      const index = taken.get(idShard) ?? 0
      taken.set(idShard, index + 1)
      const word = at + ClaimedWord.list + index * claimedWords
      planned.claim = words[word]
      if (planned.claim !== ClaimOutcome.known) continue
      item.known = true
      item.stream = words[word + 1]
      item.seq = readInteger(words, word + 2)
    }
  }

  /** Asks every shard for its sides of the postings, and for its conditions. */
  #reserve(coordination: Coordination, timeMs: number): void {
    const asked = new Map<number, Asked>()
    for (const [index, planned] of this.#items.entries()) {
      if (planned.item.known || planned.claim !== ClaimOutcome.claimed) continue
      for (const posting of planned.postings) {
        const { debitShard, creditShard } = posting
        if (debitShard === creditShard) {
          askedOf(asked, debitShard).postings.push({ posting, sides: askDebit | askCredit })
          continue
        }
        askedOf(asked, debitShard).postings.push({ posting, sides: askDebit })
        askedOf(asked, creditShard).postings.push({ posting, sides: askCredit })
      }
      this.#askConditions(asked, planned, index)
    }
    let answers = 0
    for (const [shard, { postings, conditions }] of asked) {
      if (shard === this.#own) continue
      coordination.party(shard)
      this.#writeReserve(this.#coordinator.frameTo(shard), coordination, postings, conditions)
      answers += 1
    }
    const own = asked.get(this.#own)
    if (own !== undefined) {
      const frame = new FrameWriter()
      this.#writeReserve(frame, coordination, own.postings, own.conditions)
      const verdict = this.#coordinator.participant.judge(frame.words, frameHeaderWords)
      this.#restsOn = verdict.restsOn
      this.#coordinator.takeOwnVerdict(coordination, verdict)
    }
    this.#coordinator.await(coordination, answers, timeMs)
  }

  #askConditions(asked: Map<number, Asked>, { item, kind }: PlannedItem, index: number): void {
    if (kind !== CommandKind.transaction) return
    const { book } = this.#bench
    const { words, at } = item
    const tenant = words[at + Word.tenant]
    const first = at + TransactionWord.blocks + words[at + TransactionWord.postings] * blockWords
    const count = words[at + TransactionWord.conditions]
    for (let condition = 0; condition < count; condition++) {
      const word = first + condition * conditionWords
      const isElsewhere = book.locate(tenant, words, word) === elsewhere
      const shard = isElsewhere ? book.shardOfWords(words, word) : this.#own
      askedOf(asked, shard).conditions.push({ words, at: word, item: index, index: condition })
    }
  }

  #writeReserve(
    frame: FrameWriter,
    coordination: Coordination,
    postings: Asked['postings'],
    conditions: Asked['conditions'],
  ): void {
    const at = beginPeerMessage(frame, {
      kind: PeerKind.reserve,
      coordination: coordination.number,
      from: this.#own,
      bytes:
        (ReserveWord.list -
          Peer.tenant +
          postings.length * reservePostingWords +
          conditions.length * reserveConditionWords) *
        4,
    })
    const { words } = frame
    const first = this.#items[0].item
    words[at + Peer.tenant] = first.words[first.at + Word.tenant]
    words[at + ReserveWord.postings] = postings.length
    words[at + ReserveWord.conditions] = conditions.length
    words[at + ReserveWord.conditions + 1] = 0
    let word = at + ReserveWord.list
    for (const { posting, sides } of postings) {
      writeReservePosting(words, word, posting, sides)
      word += reservePostingWords
    }
    for (const condition of conditions) {
      for (let part = 0; part < conditionWords; part++) {
        words[word + part] = condition.words[condition.at + part]
      }
      words[word + 6] = condition.item
      words[word + 7] = condition.index
      word += reserveConditionWords
    }
  }

  /**
   * Decides on an item with what all shards have said: it becomes the bench's decision, accepted
   * (true) or refused.
   */
  #judge(coordination: Coordination, planned: PlannedItem, index: number, timeMs: number): boolean {
    const { decision } = this.#bench
    decision.start()
    decision.idElsewhere = planned.idShard !== this.#own && isCommand(planned.kind)
    decision.restOn(this.#restsOn)
    if (planned.claim === ClaimOutcome.knownWithDifferentBody) {
      decision.refuse(refusalNumber.id_reused_with_different_body)
    } else if (planned.claim === ClaimOutcome.busy) {
      decision.refuse(refusalNumber.funds_reserved)
    } else {
      this.#judgeTerms(planned, timeMs)
    }
    if (decision.refusal !== 0) return false
    if (!this.#judgeFacts(coordination, planned)) return false
    const { kind, item } = planned
    if (kind === CommandKind.postHold && item.hold !== undefined) {
      decidePostAmounts(item.hold, item.words, item.at, decision)
      if (decision.refusal !== 0) return false
    }
    const refused = leastOf(coordination.parties)
    if (refused === undefined) return true
    if (refused.item !== index) {
      if (refused.item > index) return true
      throw new BookError('a shard refused an item that was accepted')
    }
    const posting = Math.floor((refused.rank - firstPostingRank) / postingChecks)
    decision.refuse(refused.refusal, posting < 0 ? noIndex : posting)
    return false
  }

  #judgeTerms({ kind, item }: PlannedItem, timeMs: number): void {
    const { book, decision } = this.#bench
    const { words, at } = item
    const room = book.limits.transactionsMax - book.transactions.count
    if (this.#phase === 'reserving' && room < this.#items.length) {
      if (isCommand(kind)) {
        decision.refuse(refusalNumber.memory_limit_reached)
        return
      }
    }
    switch (kind) {
      case CommandKind.posting:
      case CommandKind.transaction:
        decideTerms(book, words, at, timeMs, decision)
        return
      case CommandKind.reverse:
        decideReversible(book, words, at, timeMs, decision)
        return
      case CommandKind.postHold:
      case CommandKind.voidHold:
        if (findHold(book, words, at, timeMs, decision) !== undefined) {
          decideDate(words, at, timeMs, decision)
        }
        return
      default:
        // The expiry of a hold: nobody asked for it, and nothing but its accounts can refuse it.
        return
    }
  }

  /** Checks what the shards know of the accounts, posting by posting, as one shard would. */
  #judgeFacts(coordination: Coordination, { item, kind, postings }: PlannedItem): boolean {
    const { book, decision } = this.#bench
    const tenant = item.words[item.at + Word.tenant]
    for (const planned of postings) {
      const { keys, keysAt, index } = planned
      if (sameKey(keys, keysAt, keysAt + 4)) {
        decision.refuse(refusalNumber.same_account, index)
        return false
      }
      const debit = nextFact(coordination.party(planned.debitShard))
      const credit = nextFact(coordination.party(planned.creditShard))
      const refusal =
        !debit.found || !credit.found
          ? refusalNumber.account_not_found
          : factRefusal(kind, planned, debit, credit)
      if (refusal !== 0) {
        decision.refuse(refusal, index)
        return false
      }
      const amount =
        item.hold === undefined
          ? toMinor({ mantissa: planned.mantissa, decimals: planned.decimals }, debit.scale)
          : 0n
      if (amount === undefined) {
        decision.refuse(refusalNumber.too_many_decimals, index)
        return false
      }
      const posting = decision.postings[decision.count]
      posting.debit = rowOf(book.locate(tenant, keys, keysAt), planned.debitShard === this.#own)
      posting.credit = rowOf(
        book.locate(tenant, keys, keysAt + 4),
        planned.creditShard === this.#own,
      )
      posting.amount = amount
      posting.currency = book.accounts.currencyOfWords(debit.word0, debit.word1, debit.scale)
      posting.sides = packSides(
        posting.debit < 0 ? Side.elsewhere : book.accounts.sideOf(posting.debit),
        posting.credit < 0 ? Side.elsewhere : book.accounts.sideOf(posting.credit),
      )
      posting.keys = keys
      posting.keysAt = keysAt
      decision.count += 1
    }
    return true
  }

  /** All items of an atomic batch are accepted: writes their records, which one commit will carry. */
  #writeAll(coordination: Coordination, timeMs: number): void {
    this.#phase = 'writing'
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
    const written = this.#executor.writeDecided(item.words, item.at, timeMs, item.hold)
    const { words, at, seq } = written
    item.record = words.slice(at, at + paddedLength(words[at + Word.length]) / 4)
    item.stream = this.#bench.stream
    item.seq = seq
    item.state = this.#stateOf(item.record)
    if (this.wantsBalances) item.balances = this.#ownBalances()
    this.#coordinator.tell(coordination, item.record, seq)
  }

  #stateOf(record: Uint32Array): number {
    const { transactions } = this.#bench.book
    const row = transactions.find(record[Word.tenant], keyFromWords(record, Word.id))
    return row < 0 ? 0 : transactions.state.get(row)
  }

  /** Balance entries of the decided accounts in order; of other shards' the keys alone. */
  #ownBalances(): Uint32Array {
    const { decision, replies } = this.#bench
    const balances = new Uint32Array(decision.count * 2 * balanceWords)
    let end = 0
    for (let index = 0; index < decision.count; index++) {
      const { debit, credit, keys, keysAt } = decision.postings[index]
      for (const [row, word] of [
        [debit, keysAt],
        [credit, keysAt + 4],
      ]) {
        if (findBalance(balances, end, keys, word) >= 0) continue
        if (row >= 0) replies.writeBalance(balances, end, row)
        else for (let part = 0; part < 4; part++) balances[end + part] = keys[word + part]
        end += balanceWords
      }
    }
    return balances.subarray(0, end)
  }
}

function firstBlockOf(kind: number): number {
  if (kind === CommandKind.posting) return Word.body
  return kind === CommandKind.reverse ? FollowUpWord.amountList : TransactionWord.blocks
}

/** Whether somebody asked for it under an id of its own; only an expiry comes from the shard. */
function isCommand(kind: number): boolean {
  return kind !== 0
}

function effectOf(kind: number, { words, at, hold }: CoordinatedItem): number {
  if (hold !== undefined) return ReserveEffect.settled
  if (kind === CommandKind.reverse) return ReserveEffect.posted
  const flags = words[at] >>> 16
  return (
    ((flags & RecordFlag.pending) === 0 ? ReserveEffect.posted : ReserveEffect.pending) |
    ((flags & RecordFlag.imported) === 0 ? 0 : importedEffectFlag)
  )
}

function askedOf(asked: Map<number, Asked>, shard: number): Asked {
  let entry = asked.get(shard)
  if (entry === undefined) {
    entry = { postings: [], conditions: [] }
    asked.set(shard, entry)
  }
  return entry
}

interface Fact {
  found: boolean
  status: number
  scale: number
  word0: number
  word1: number
}

/** The next fact of a shard, in the order in which the sides were asked for. */
function nextFact(party: Party): Fact {
  const { facts, factsAt, factsRead, factCount } = party
  if (factsRead >= factCount) {
    throw new BookError('a shard said less of its accounts than it was asked for')
  }
  party.factsRead += 1
  const at = factsAt + factsRead * factWords
  const head = facts[at]
  return {
    found: (head & 1) !== 0,
    status: (head >>> 8) & 0xff,
    scale: (head >>> 16) & 0xff,
    word0: facts[at + 1],
    word1: facts[at + 2],
  }
}

function factRefusal(kind: number, planned: PlannedPosting, debit: Fact, credit: Fact): number {
  const isHold = planned.currencyAt < 0
  // Voiding and expiry only release, so no status stands in their way.
  if (!isHold || kind === CommandKind.postHold) {
    const worst = Math.max(debit.status, credit.status)
    if (worst !== 0) return statusRefusals[worst]
  }
  if (isHold) return 0
  if (
    debit.word0 !== credit.word0 ||
    debit.word1 !== credit.word1 ||
    debit.scale !== credit.scale
  ) {
    return refusalNumber.currency_mismatch
  }
  const stated0 = planned.keys[planned.currencyAt]
  const stated1 = planned.keys[planned.currencyAt + 1]
  return stated0 !== 0 && (stated0 !== debit.word0 || stated1 !== debit.word1)
    ? refusalNumber.currency_mismatch
    : 0
}

/** The refusal that comes first in the order of the checks, if any shard refused. */
function leastOf(parties: readonly Party[]): Party | undefined {
  let least: Party | undefined
  for (const party of parties) {
    if (party.refusal === 0) continue
    if (
      least === undefined ||
      party.item < least.item ||
      (party.item === least.item && party.rank < least.rank)
    ) {
      least = party
    }
  }
  return least
}

/** A row that is home's to write; one that has become known since the shards were asked is not. */
function rowOf(row: number, isOwn: boolean): number {
  return isOwn ? row : elsewhere
}

function findBalance(balances: Uint32Array, end: number, keys: Uint32Array, word: number): number {
  for (let at = 0; at < end; at += balanceWords) {
    let part = 0
    while (part < 4 && balances[at + part] === keys[word + part]) part += 1
    if (part === 4) return at
  }
  return -1
}

/** Puts the balances that another shard sent into the places that were left for them. */
function fillBalances(balances: Uint32Array, sent: Uint32Array): void {
  for (let at = 0; at < sent.length; at += balanceWords) {
    const place = findBalance(balances, balances.length, sent, at)
    if (place >= 0) balances.set(sent.subarray(at, at + balanceWords), place)
  }
}
