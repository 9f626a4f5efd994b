import { packSides, Side, Word } from '../../journal/record.js'
import { toMinor } from '../../money.js'
import { elsewhere } from '../book.js'
import { BookError } from '../book-error.js'
import { CommandKind } from '../command.js'
import { postingChecks } from '../draft.js'
import { decideDate, decidePostAmounts, decideReversible, findHold } from '../hold-decision.js'
import { refusalNumber } from '../refusals.js'
import { decideTerms, noIndex, sameKey, statusRefusals } from '../transaction-decision.js'
import type { Workbench } from '../workbench.js'
import type { Coordination, Party } from './coordination.js'
import { ClaimOutcome, factWords } from './peer-message.js'
import type { PlannedItem, PlannedPosting } from './planned-item.js'
import { firstPostingRank } from './sides-judge.js'

const claimRefusals = {
  [ClaimOutcome.claimed]: 0,
  [ClaimOutcome.known]: 0,
  [ClaimOutcome.knownWithDifferentBody]: refusalNumber.id_reused_with_different_body,
  [ClaimOutcome.busy]: refusalNumber.funds_reserved,
  [ClaimOutcome.notChecked]: refusalNumber.old_id_not_checked,
} as const

/**
 * Home's decision on one item with what all shards have said: it becomes the bench's decision,
 * accepted (true) or refused. The checks come in the order in which one shard would make them.
 */
export function judgeItem(
  bench: Workbench,
  coordination: Coordination,
  planned: PlannedItem,
  at: { index: number; timeMs: number; restsOn: number },
): boolean {
  const { decision, book } = bench
  decision.start()
  decision.idElsewhere = planned.idShard !== book.place.shard && planned.hasId
  decision.restOn(at.restsOn)
  const { claim } = planned
  const claimRefusal = claim === ClaimOutcome.full ? book.fullRefusal : claimRefusals[claim]
  if (claimRefusal !== 0) decision.refuse(claimRefusal)
  else judgeTerms(bench, planned, at.timeMs)
  if (decision.refusal !== 0) return false
  if (!judgeFacts(bench, coordination, planned)) return false
  const { kind, item } = planned
  if (kind === CommandKind.postHold && item.hold !== undefined) {
    decidePostAmounts(item.hold, item.words, item.at, decision)
    if (decision.refusal !== 0) return false
  }
  return judgeVotes(bench, coordination, at.index)
}

/** Decides what rests on home alone. */
function judgeTerms(bench: Workbench, { kind, item }: PlannedItem, timeMs: number): void {
  const { book, decision } = bench
  const { words, at } = item
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
      if (item.hold === undefined || book.holds.get(item.hold.row) !== item.hold) {
        throw new BookError('a hold that has ended expires')
      }
      return
  }
}

/** Checks what the shards know of the accounts, posting by posting. */
function judgeFacts(
  { decision, book }: Workbench,
  coordination: Coordination,
  { item, kind, postings }: PlannedItem,
): boolean {
  const own = book.place.shard
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
    // A row that has become known since the shards were asked is not home's to write.
    const posting = decision.postings[decision.count]
    posting.debit = planned.debitShard === own ? book.locate(tenant, keys, keysAt) : elsewhere
    posting.credit = planned.creditShard === own ? book.locate(tenant, keys, keysAt + 4) : elsewhere
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

interface Fact {
  found: boolean
  status: number
  scale: number
  word0: number
  word1: number
}

/** The next fact of a shard, in the order in which the sides were asked for. */
function nextFact(party: Party): Fact {
  const { facts, factsRead, factCount } = party
  if (factsRead >= factCount) {
    throw new BookError('a shard said less of its accounts than it was asked for')
  }
  party.factsRead += 1
  const at = factsRead * factWords
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

/** Whether no shard refused the item; of several refusals the first in the order counts. */
function judgeVotes({ decision }: Workbench, { parties }: Coordination, index: number): boolean {
  const refused = leastOf(parties)
  if (refused === undefined || refused.item > index) return true
  if (refused.item < index) throw new BookError('a shard refused an item that was accepted')
  const posting = Math.floor((refused.rank - firstPostingRank) / postingChecks)
  decision.refuse(refused.refusal, posting < 0 ? noIndex : posting)
  return false
}

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
