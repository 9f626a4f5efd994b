import {
  type Attributes,
  headWord,
  packr,
  paddedLength,
  RecordFlag,
  recordHeaderBytes,
  scaleShift,
  Word,
  writeBigint,
  writeInteger,
} from '../journal/record.js'
import { type Key, writeKeyWords } from '../key.js'
import type { Decimal } from '../money.js'
import type { FrameWriter } from './frame.js'

/**
 * Commands as they travel to a shard: the header of the record that they will become
 * (journal/record.ts), with the number of the request where the record has its time.
 *
 * The body of a plain posting is one posting block:
 *
 *      0 debit   16 credit   32 i64 mantissa   40 currency (zeros: not stated)
 *     48 i32 effective date   52 u32 code                     (decimals are in the flags)
 *
 * A transaction: u32 postings, u32 conditions, i64 expires at (0: never), i32 effective date,
 * u32 0; a block per posting with u32 decimals in the place of the date; 24 bytes per condition
 * (key, i64 version); then its attributes as msgpack.
 *
 * A follow-up (post, void, reversal): key of its target, u32 amounts, u32 options, u32 postings,
 * i32 effective date; 16 bytes per amount (i64 mantissa, u32 decimals, u32 0); a block per posting
 * of a reversal; then its attributes as msgpack.
 *
 * An amount is in its normal form (money.ts), so that two ways of writing the same command have
 * the same fingerprint.
 */
export const CommandKind = {
  posting: 1,
  transaction: 2,
  postHold: 3,
  voidHold: 4,
  reverse: 6,
  createAccount: 7,
  changeAccount: 8,
  readAccount: 20,
  readTransaction: 21,
  /** Head of a batch: the commands that follow it in the frame belong to it. */
  batch: 22,
  /** Asks whether everything up to a position has happened, here and with all whom it concerns. */
  readPosition: 23,
} as const
export type CommandKind = (typeof CommandKind)[keyof typeof CommandKind]

/** Flag of a batch head: all items or none. */
export const batchAtomicFlag = 1
/** Flag of a batch: its items are carried out one after the other. */
export const batchOrderedFlag = 2

/** The effective date of a command that leaves it to the shard. */
export const noDate = -(2 ** 31)

/** Words of a posting block, and offsets within it. */
export const blockWords = 14
export const Block = {
  debit: 0,
  credit: 4,
  amount: 8,
  currency: 10,
  date: 12,
  decimals: 12,
} as const

/** Word offsets of a transaction's body. */
export const TransactionWord = {
  postings: Word.body,
  conditions: Word.body + 1,
  expiresAt: Word.body + 2,
  effectiveDate: Word.body + 4,
  blocks: Word.body + 6,
} as const
export const conditionWords = 6

/** Word offsets of a follow-up's body. */
export const FollowUpWord = {
  target: Word.body,
  amounts: Word.body + 4,
  options: Word.body + 5,
  postings: Word.body + 6,
  effectiveDate: Word.body + 7,
  amountList: Word.body + 8,
} as const
export const amountWords = 4
export const keepRestOption = 1

/** Word offset of a batch head's number of items; of a read's least seq. */
export const batchCountWord = Word.fingerprint
export const minSeqWord = Word.body

/** Who asks, and under which correlation id; the same for every command of a request. */
export interface RequestContext {
  tenant: number
  principal: number
  correlation: Key
}

export interface PostingInput {
  debit: Key
  credit: Key
  amount: Decimal
  /** Two words of the stated currency's code; absent: whatever the accounts have. */
  currency?: [number, number]
}

export interface TransactionInput {
  id: Key
  postings: PostingInput[]
  imported: boolean
  pending: boolean
  /** Milliseconds since 1970. */
  expiresAt?: number
  /** Days since 1970. */
  effectiveDate?: number
  conditions: { account: Key; version: number }[]
  attributes: Attributes
}

export interface FollowUpInput {
  kind: typeof CommandKind.postHold | typeof CommandKind.voidHold | typeof CommandKind.reverse
  /** Derived from target and id (key.ts). */
  id: Key
  target: Key
  /** Per posting of the hold; empty: all that it still reserves. */
  amounts: Decimal[]
  keepRest: boolean
  /** Postings of a reversal, as the original has them. */
  postings: PostingInput[]
  effectiveDate?: number
  attributes: Attributes
}

/** Writes a transaction in its shortest form. */
export function writeTransaction(
  frame: FrameWriter,
  context: RequestContext,
  request: number,
  input: TransactionInput,
): void {
  if (isPlain(input)) writePlainPosting(frame, context, request, input)
  else writeFullTransaction(frame, context, request, input)
}

function isPlain(input: TransactionInput): boolean {
  if (input.postings.length !== 1 || input.pending || input.conditions.length > 0) return false
  for (const name in input.attributes) if (name !== 'code') return false
  return true
}

function writePlainPosting(
  frame: FrameWriter,
  context: RequestContext,
  request: number,
  input: TransactionInput,
): void {
  const posting = input.postings[0]
  const length = recordHeaderBytes + blockWords * 4
  const at = frame.begin(length)
  const words = frame.words
  const flags = (input.imported ? RecordFlag.imported : 0) | (posting.amount.decimals << scaleShift)
  writeHeader(words, at, headWord(CommandKind.posting, flags), length, context, request, input.id)
  writeBlock(words, at + Word.body, posting)
  words[at + Word.effectiveDate] = input.effectiveDate ?? noDate
  words[at + Word.code] = input.attributes.code ?? 0
}

function writeFullTransaction(
  frame: FrameWriter,
  context: RequestContext,
  request: number,
  input: TransactionInput,
): void {
  const attributes = packAttributes(input.attributes)
  const blocks = TransactionWord.blocks
  const attributesAt =
    blocks + input.postings.length * blockWords + input.conditions.length * conditionWords
  const length = attributesAt * 4 + attributes.length
  const at = frame.begin(length)
  const words = frame.words
  const flags =
    (input.imported ? RecordFlag.imported : 0) | (input.pending ? RecordFlag.pending : 0)
  writeHeader(
    words,
    at,
    headWord(CommandKind.transaction, flags),
    length,
    context,
    request,
    input.id,
  )
  words[at + TransactionWord.postings] = input.postings.length
  words[at + TransactionWord.conditions] = input.conditions.length
  writeInteger(words, at + TransactionWord.expiresAt, input.expiresAt ?? 0)
  words[at + TransactionWord.effectiveDate] = input.effectiveDate ?? noDate
  words[at + TransactionWord.effectiveDate + 1] = 0
  let word = at + blocks
  for (const posting of input.postings) {
    writeBlock(words, word, posting)
    word += blockWords
  }
  for (const condition of input.conditions) {
    writeKeyWords(words, word, condition.account)
    writeInteger(words, word + 4, condition.version)
    word += conditionWords
  }
  frame.writeBytes(at + attributesAt, attributes)
}

/** Writes the post or void of a hold, or a reversal. */
export function writeFollowUp(
  frame: FrameWriter,
  context: RequestContext,
  request: number,
  input: FollowUpInput,
): void {
  const attributes = packAttributes(input.attributes)
  const attributesAt =
    FollowUpWord.amountList +
    input.amounts.length * amountWords +
    input.postings.length * blockWords
  const length = attributesAt * 4 + attributes.length
  const at = frame.begin(length)
  const words = frame.words
  writeHeader(words, at, headWord(input.kind, 0), length, context, request, input.id)
  writeKeyWords(words, at + FollowUpWord.target, input.target)
  words[at + FollowUpWord.amounts] = input.amounts.length
  words[at + FollowUpWord.options] = input.keepRest ? keepRestOption : 0
  words[at + FollowUpWord.postings] = input.postings.length
  words[at + FollowUpWord.effectiveDate] = input.effectiveDate ?? noDate
  let word = at + FollowUpWord.amountList
  for (const amount of input.amounts) {
    writeBigint(words, word, amount.mantissa)
    words[word + 2] = amount.decimals
    words[word + 3] = 0
    word += amountWords
  }
  for (const posting of input.postings) {
    writeBlock(words, word, posting)
    word += blockWords
  }
  frame.writeBytes(at + attributesAt, attributes)
}

/** Writes a command whose body is one msgpack map: creating or changing an account. */
export function writeAccountCommand(
  frame: FrameWriter,
  context: RequestContext,
  request: number,
  command: {
    kind: typeof CommandKind.createAccount | typeof CommandKind.changeAccount
    id: Key
    body: object
  },
): void {
  const body = packr.pack(command.body)
  const length = recordHeaderBytes + body.length
  const at = frame.begin(length)
  writeHeader(frame.words, at, headWord(command.kind, 0), length, context, request, command.id)
  frame.writeBytes(at + Word.body, body)
}

/** Writes a read; `minSeq` 0 asks for whatever is there. */
export function writeRead(
  frame: FrameWriter,
  context: RequestContext,
  request: number,
  read: {
    kind:
      | typeof CommandKind.readAccount
      | typeof CommandKind.readTransaction
      | typeof CommandKind.readPosition
    id: Key
    minSeq: number
  },
): void {
  const length = recordHeaderBytes + 8
  const at = frame.begin(length)
  writeHeader(frame.words, at, headWord(read.kind, 0), length, context, request, read.id)
  writeInteger(frame.words, at + minSeqWord, read.minSeq)
}

/** Writes the head of a batch; its `count` commands follow with the same request number. */
export function writeBatchHead(
  frame: FrameWriter,
  context: RequestContext,
  request: number,
  batch: { count: number; atomic: boolean; ordered?: boolean },
): void {
  const at = frame.begin(recordHeaderBytes)
  const flags = (batch.atomic ? batchAtomicFlag : 0) | (batch.ordered ? batchOrderedFlag : 0)
  const head = headWord(CommandKind.batch, flags)
  writeHeader(frame.words, at, head, recordHeaderBytes, context, request, nobody)
  frame.words[at + batchCountWord] = batch.count
}

const nobody: Key = { w0: 0, w1: 0, w2: 0, w3: 0 }

/** Bytes that a command takes in a frame. */
export function commandBytes(words: Uint32Array, at: number): number {
  return paddedLength(words[at + Word.length])
}

/** The command at word `at`, by itself: what waits for others must not keep its whole frame. */
export function commandAlone(words: Uint32Array, at: number): Uint32Array {
  return words.slice(at, at + commandBytes(words, at) / 4)
}

function writeHeader(
  words: Uint32Array,
  at: number,
  head: number,
  length: number,
  context: RequestContext,
  request: number,
  id: Key,
): void {
  words[at] = head
  words[at + Word.length] = length
  words[at + Word.time] = request
  words[at + Word.time + 1] = 0
  words[at + Word.tenant] = context.tenant
  words[at + Word.principal] = context.principal
  writeKeyWords(words, at + Word.correlation, context.correlation)
  writeKeyWords(words, at + Word.id, id)
  words[at + Word.fingerprint] = 0
  words[at + Word.fingerprint + 1] = 0
}

function writeBlock(words: Uint32Array, at: number, posting: PostingInput): void {
  writeKeyWords(words, at + Block.debit, posting.debit)
  writeKeyWords(words, at + Block.credit, posting.credit)
  writeBigint(words, at + Block.amount, posting.amount.mantissa)
  words[at + Block.currency] = posting.currency?.[0] ?? 0
  words[at + Block.currency + 1] = posting.currency?.[1] ?? 0
  words[at + Block.decimals] = posting.amount.decimals
  words[at + Block.decimals + 1] = 0
}

function packAttributes(attributes: Attributes): Buffer {
  return packr.pack(attributes)
}
