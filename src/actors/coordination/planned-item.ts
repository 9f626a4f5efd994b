import { RecordFlag, readBigint, scaleShift, Word } from '../../journal/record.js'
import { type Book, elsewhere } from '../book.js'
import { Block, blockWords, CommandKind, FollowUpWord, TransactionWord } from '../command.js'
import type { Hold } from '../holds.js'
import {
  ClaimOutcome,
  importedEffectFlag,
  type ReservedPosting,
  ReserveEffect,
} from './peer-message.js'

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
export interface PlannedPosting extends ReservedPosting {
  debitShard: number
  creditShard: number
  /** Where a stated currency is in the keys' words; -1: none is stated. */
  currencyAt: number
}

export interface PlannedItem {
  item: CoordinatedItem
  kind: number
  postings: PlannedPosting[]
  /** Somebody asked for it under an id of its own; only an expiry comes from the shard itself. */
  hasId: boolean
  /** Shard of its id. */
  idShard: number
  /** What the shard of its id said of it. */
  claim: ClaimOutcome
}

/** Finds the shards of an item's id and accounts. */
export function planItem(book: Book, item: CoordinatedItem, index: number): PlannedItem {
  const { words, at, hold } = item
  const kind = words[at] & 0xff
  const planned: PlannedItem = {
    item,
    kind,
    postings: [],
    hasId: kind !== 0,
    idShard: book.shardOfWords(words, at + Word.id),
    claim: item.isReused ? ClaimOutcome.knownWithDifferentBody : ClaimOutcome.claimed,
  }
  if (hold === undefined) planPostings(book, planned, index)
  else planHold(book, planned, hold, index)
  return planned
}

function planHold(book: Book, planned: PlannedItem, hold: Hold, index: number): void {
  for (const { debit, credit } of hold.postings) {
    const keys = Uint32Array.of(
      ...[debit, credit].flatMap(({ w0, w1, w2, w3 }) => [w0, w1, w2, w3]),
    )
    addPosting(book, planned, { keys, keysAt: 0, mantissa: 0n, decimals: 0, item: index })
  }
}

function planPostings(book: Book, planned: PlannedItem, index: number): void {
  const { kind, item } = planned
  const { words, at } = item
  const plain = kind === CommandKind.posting
  const countWord = kind === CommandKind.reverse ? FollowUpWord.postings : TransactionWord.postings
  const count = plain ? 1 : words[at + countWord]
  const first = at + firstBlockOf(kind)
  for (let block = first; block < first + count * blockWords; block += blockWords) {
    addPosting(book, planned, {
      keys: words,
      keysAt: block,
      mantissa: readBigint(words, block + Block.amount),
      decimals: plain ? (words[at] >>> 16) >>> scaleShift : words[block + Block.decimals],
      item: index,
    })
  }
}

function firstBlockOf(kind: number): number {
  if (kind === CommandKind.posting) return Word.body
  return kind === CommandKind.reverse ? FollowUpWord.amountList : TransactionWord.blocks
}

function addPosting(
  book: Book,
  { kind, item, postings }: PlannedItem,
  posting: Omit<ReservedPosting, 'effect' | 'index'>,
): void {
  const tenant = item.words[item.at + Word.tenant]
  const { keys, keysAt } = posting
  // Field by field: spreading was the first line of the profile.
  postings.push({
    keys,
    keysAt,
    mantissa: posting.mantissa,
    decimals: posting.decimals,
    item: posting.item,
    effect: effectOf(kind, item),
    index: postings.length,
    debitShard: shardOfAccount(book, tenant, keys, keysAt),
    creditShard: shardOfAccount(book, tenant, keys, keysAt + 4),
    currencyAt: item.hold === undefined ? keysAt + Block.currency : -1,
  })
}

/** The own shard if it has the account, be it a part of a striped one; else the key's. */
export function shardOfAccount(book: Book, tenant: number, words: Uint32Array, at: number): number {
  const isElsewhere = book.locate(tenant, words, at) === elsewhere
  return isElsewhere ? book.shardOfWords(words, at) : book.place.shard
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
