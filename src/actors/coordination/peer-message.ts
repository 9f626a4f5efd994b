import { paddedLength, writeBigint, writeInteger } from '../../journal/record.js'
import { type Key, writeKeyWords } from '../../key.js'
import type { FrameWriter } from '../frame.js'

/**
 * Messages between shards, as entries of a frame. Home is the shard that owns a transaction's id
 * and decides on it; participants are the other shards that own its accounts.
 *
 *     home                          participant
 *      │ ── claim ──────────────────▶ │   ids of an atomic batch that live there
 *      │ ◀────────────────── claimed ─│
 *      │ ── reserve ────────────────▶ │   its sides of the postings
 *      │ ◀───────────────────── vote ─│   when all that it rests on is durable there
 *      │ (record committed)           │
 *      │ ── apply, numbered ────────▶ │   or release, if it was refused
 *      │ ◀────────────────── applied ─│   when its own record is durable, or released
 *      │ ── finished ───────────────▶ │   when all have applied it: to those whose ids were claimed
 *
 * Every entry starts with
 *
 *      0 u8 kind  1 u8 flags  2 u16 refusal   4 u32 length   8 u32 coordination   12 u32 from shard
 */
export const PeerKind = {
  claim: 1,
  claimed: 2,
  reserve: 3,
  vote: 4,
  release: 5,
  apply: 6,
  applied: 7,
  /** Keep a striped account from being posted to, and tell what its part holds. */
  shut: 8,
  /** What was reserved is free again. */
  released: 9,
  /** Everybody has applied what was decided: repeats of claimed ids may be answered. */
  finished: 10,
} as const
export type PeerKind = (typeof PeerKind)[keyof typeof PeerKind]

/** Words of an entry's header. */
export const Peer = { head: 0, length: 1, coordination: 2, from: 3, tenant: 4 } as const

/**
 * Reserve: u32 tenant, u32 postings, u32 conditions, u32 0; then the postings, then the
 * conditions. A posting: debit key, credit key, i64 mantissa, u8 decimals, u8 sides that are asked
 * for (1 debit, 2 credit), u8 effect, u8 posting within its item, u32 item. A condition: key,
 * i64 version, u32 item, u32 condition within its item.
 */
export const ReserveWord = { postings: 5, conditions: 6, list: 8 } as const
export const reservePostingWords = 12
export const reserveConditionWords = 8
export const ReservePosting = { debit: 0, credit: 4, amount: 8, detail: 10, item: 11 } as const

/** How a posting of a reserve message is going to touch its accounts. */
export const ReserveEffect = {
  posted: 0,
  pending: 1,
  /** Of a hold: all was reserved when it was placed. */
  settled: 2,
} as const
export const importedEffectFlag = 16

/**
 * Vote: u32 item and u32 rank of the refusal (0 in the header: none), u32 facts; then for each
 * posting and side that was asked for a fact: u8 1 if found, u8 status, u8 scale, u8 0, and
 * 8 bytes currency. After a refusal the facts may end early.
 */
export const VoteWord = { item: 4, rank: 5, facts: 6, list: 8 } as const
export const factWords = 4

/** Claim: u32 tenant, u32 count; per id its key, fingerprint and item. */
export const ClaimWord = { count: 5, list: 6 } as const
export const claimWords = 8

/** Claimed: u32 count; per id u32 outcome, u32 stream, i64 seq. */
export const ClaimedWord = { count: 4, list: 6 } as const
export const claimedWords = 4
export const ClaimOutcome = {
  /** The id is new, and held for the home that asked. */
  claimed: 0,
  /** It has taken effect with the same body. */
  known: 1,
  knownWithDifferentBody: 2,
  /** It is being decided elsewhere. */
  busy: 3,
  /** The shard remembers as many ids as it may. */
  full: 4,
  /** It may have been used long ago, and nobody can say so now. */
  notChecked: 5,
} as const
export type ClaimOutcome = (typeof ClaimOutcome)[keyof typeof ClaimOutcome]

/** Apply: u32 home stream, u32 0, i64 number, i64 seq; then home's record. */
export const ApplyWord = { stream: 4, number: 6, seq: 8, record: 10 } as const
export const ApplyFlag = {
  /** Nothing more comes for this coordination: what it reserved is free. */
  last: 1,
  /** The answer shall carry the balances. */
  balances: 2,
} as const

/** Applied: u32 balances; their entries follow (reply.ts). */
export const AppliedWord = { balances: 4, list: 6 } as const

/** Shut: u32 tenant, u32 0, key of the account. Its vote has the part's counters as facts. */
export const ShutWord = { key: 6 } as const

/** Begins an entry of `bytes` after the header; returns the word at which the entry starts. */
export function beginPeerMessage(
  frame: FrameWriter,
  message: {
    kind: PeerKind
    flags?: number
    refusal?: number
    coordination: number
    from: number
    bytes: number
  },
): number {
  const length = Peer.tenant * 4 + message.bytes
  const at = frame.begin(length)
  const { words } = frame
  words[at] = message.kind | ((message.flags ?? 0) << 8) | ((message.refusal ?? 0) << 16)
  words[at + Peer.length] = length
  words[at + Peer.coordination] = message.coordination
  words[at + Peer.from] = message.from
  return at
}

/** Word after the entry at word `at`. */
export function afterPeerMessage(words: Uint32Array, at: number): number {
  return at + (paddedLength(words[at + Peer.length]) >> 2)
}

export function writeReleased(frame: FrameWriter, coordination: number, from: number): void {
  beginPeerMessage(frame, { kind: PeerKind.released, coordination, from, bytes: 0 })
}

export function writeRelease(frame: FrameWriter, coordination: number, from: number): void {
  beginPeerMessage(frame, { kind: PeerKind.release, coordination, from, bytes: 0 })
}

export function writeFinished(frame: FrameWriter, coordination: number, from: number): void {
  beginPeerMessage(frame, { kind: PeerKind.finished, coordination, from, bytes: 0 })
}

/** Tells a shard of home's record; `number` counts the messages from that stream to the shard. */
export function writeApply(
  frame: FrameWriter,
  message: { coordination: number; from: number; flags: number; stream: number; number: number },
  record: Uint32Array,
  seq: number,
): void {
  const at = beginPeerMessage(frame, {
    kind: PeerKind.apply,
    flags: message.flags,
    coordination: message.coordination,
    from: message.from,
    bytes: (ApplyWord.record - Peer.tenant) * 4 + record.byteLength,
  })
  const { words } = frame
  words[at + ApplyWord.stream] = message.stream
  words[at + ApplyWord.stream + 1] = 0
  writeInteger(words, at + ApplyWord.number, message.number)
  writeInteger(words, at + ApplyWord.seq, seq)
  words.set(record, at + ApplyWord.record)
}

export function writeShut(
  frame: FrameWriter,
  message: { coordination: number; from: number; tenant: number; key: Key },
): void {
  const at = beginPeerMessage(frame, {
    kind: PeerKind.shut,
    coordination: message.coordination,
    from: message.from,
    bytes: (ShutWord.key + 4 - Peer.tenant) * 4,
  })
  const { words } = frame
  words[at + Peer.tenant] = message.tenant
  words[at + Peer.tenant + 1] = 0
  writeKeyWords(words, at + ShutWord.key, message.key)
}

/** One posting of a reserve message, written at word `at`. */
export interface ReservedPosting {
  /** Debit key, then credit key. */
  keys: Uint32Array
  keysAt: number
  mantissa: bigint
  decimals: number
  effect: number
  index: number
  item: number
}

export const askDebit = 1
export const askCredit = 2

export function writeReservePosting(
  words: Uint32Array,
  at: number,
  posting: ReservedPosting,
  sides: number,
): void {
  for (let word = 0; word < 8; word++) words[at + word] = posting.keys[posting.keysAt + word]
  writeBigint(words, at + ReservePosting.amount, posting.mantissa)
  words[at + ReservePosting.detail] =
    posting.decimals | (sides << 8) | (posting.effect << 16) | (posting.index << 24)
  words[at + ReservePosting.item] = posting.item
}
