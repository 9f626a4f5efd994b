import { keyFromBytes, slotOf, slotOfWords } from '../key.js'
import type { Layout } from '../layout.js'
import {
  type AccountCreatedBody,
  type AppliedBody,
  creditSide,
  debitSide,
  type FollowUpBody,
  headWord,
  packr,
  packSides,
  plainPostingBytes,
  plainSides,
  postingAppliedBytes,
  RecordFlag,
  RecordKind,
  readBody,
  readInteger,
  recordHeaderBytes,
  Side,
  scaleShift,
  sidesShift,
  type TransactionBody,
  Word,
  writeInteger,
} from './record.js'

/**
 * From a record of one stream to those that other streams have to append because of it. Both are
 * pure, so that what is told while the process lives and what is made up for after a crash are the
 * same.
 *
 * A record that concerns other streams is flagged `across`. It is one message to each of them: to
 * the owners of accounts whose side is elsewhere, to the owner of an id that lives elsewhere, and
 * to all for a striped account.
 */
export interface Cause {
  words: Uint32Array
  /** Word at which the record starts. */
  at: number
  stream: number
  seq: number
}

/** Shards that must be told of the record at word `at`, which shard `own` has written; ascending. */
export function destinationsOf(
  words: Uint32Array,
  at: number,
  layout: Layout,
  own: number,
): readonly number[] {
  const flags = words[at] >>> 16
  if ((flags & RecordFlag.across) === 0) return nobody
  const shards = new Set<number>()
  if ((flags & RecordFlag.idElsewhere) !== 0) shards.add(shardOfWords(layout, words, at + Word.id))
  const kind = words[at] & 0xff
  if (kind === RecordKind.posting) {
    const sides = plainSides(words, at)
    if (debitSide(sides) === Side.elsewhere) {
      shards.add(shardOfWords(layout, words, at + Word.debit))
    }
    if (creditSide(sides) === Side.elsewhere) {
      shards.add(shardOfWords(layout, words, at + Word.credit))
    }
  } else if (kind === RecordKind.accountCreated || kind === RecordKind.accountChanged) {
    for (let shard = 0; shard < layout.shards; shard++) if (shard !== own) shards.add(shard)
  } else {
    const body = readBody<TransactionBody>(words, at)
    for (const [index, [debit, credit]] of body.postings.entries()) {
      const sides = body.sides?.[index] ?? 0
      if (debitSide(sides) === Side.elsewhere) shards.add(shardOfBytes(layout, debit))
      if (creditSide(sides) === Side.elsewhere) shards.add(shardOfBytes(layout, credit))
    }
  }
  return [...shards].sort((a, b) => a - b)
}

const nobody: readonly number[] = []

/** The record that shard `shard` has to append because of `cause`, as bytes without padding. */
export function appliedRecord(
  cause: Cause,
  to: { shard: number; layout: Layout; message: number; timeMs: number },
): Uint8Array {
  const { words, at } = cause
  if ((words[at] & 0xff) === RecordKind.posting) return appliedPosting(cause, to)
  const kind = (words[at] & 0xff) as RecordKind
  const body: AppliedBody = {
    ...partOf(cause, to),
    of: kind,
    cause: [cause.stream, cause.seq],
    message: to.message,
  }
  const packed = packr.pack(body)
  const record = new Uint8Array(recordHeaderBytes + packed.length)
  const header = new Uint32Array(record.buffer, 0, recordHeaderBytes / 4)
  header.set(words.subarray(at, at + Word.body))
  const flags = (words[at] >>> 16) & (RecordFlag.imported | RecordFlag.pending)
  header[0] = headWord(RecordKind.applied, flags | idFlag(cause, to))
  header[Word.length] = record.length
  writeInteger(header, Word.time, to.timeMs)
  record.set(packed, recordHeaderBytes)
  return record
}

function appliedPosting(
  { words, at, stream, seq }: Cause,
  to: { shard: number; layout: Layout; message: number; timeMs: number },
): Uint8Array {
  const out = new Uint32Array(postingAppliedBytes / 4)
  out.set(words.subarray(at, at + plainPostingBytes / 4))
  const sides = plainSides(words, at)
  const here = packSides(
    sideAt(debitSide(sides), shardOfWords(to.layout, words, at + Word.debit), to.shard),
    sideAt(creditSide(sides), shardOfWords(to.layout, words, at + Word.credit), to.shard),
  )
  const flags = words[at] >>> 16
  out[0] = headWord(
    RecordKind.postingApplied,
    (flags & RecordFlag.imported) |
      idFlag({ words, at }, to) |
      (here << sidesShift) |
      ((flags >>> scaleShift) << scaleShift),
  )
  out[Word.length] = postingAppliedBytes
  writeInteger(out, Word.time, to.timeMs)
  out[Word.causeStream] = stream
  writeInteger(out, Word.causeSeq, seq)
  writeInteger(out, Word.message, to.message)
  return new Uint8Array(out.buffer)
}

/** Whether the id of the cause lives with the shard that is told, as a flag of its record. */
function idFlag(
  { words, at }: Pick<Cause, 'words' | 'at'>,
  to: { shard: number; layout: Layout },
): number {
  const livesThere =
    ((words[at] >>> 16) & RecordFlag.idElsewhere) !== 0 &&
    shardOfWords(to.layout, words, at + Word.id) === to.shard
  return livesThere ? 0 : RecordFlag.idElsewhere
}

/** What of the cause's body concerns the shard. */
function partOf(cause: Cause, to: { shard: number; layout: Layout }): Partial<AppliedBody> {
  const { words, at } = cause
  const kind = words[at] & 0xff
  if (kind === RecordKind.accountCreated) {
    const createdAt = BigInt(readInteger(words, at + Word.time))
    return { ...readBody<AccountCreatedBody>(words, at), createdAt }
  }
  if (kind === RecordKind.accountChanged) return readBody(words, at)
  const body = readBody<TransactionBody & FollowUpBody>(words, at)
  const sides = body.postings.map(([debit, credit], index) => {
    const told = body.sides?.[index] ?? 0
    return packSides(
      sideAt(debitSide(told), shardOfBytes(to.layout, debit), to.shard),
      sideAt(creditSide(told), shardOfBytes(to.layout, credit), to.shard),
    )
  })
  if (idFlag(cause, to) === 0) return { ...body, sides }
  const concerned = sides.flatMap((side, index) => (side === allElsewhere ? [] : [index]))
  const endsHold =
    kind === RecordKind.holdVoided ||
    kind === RecordKind.holdExpired ||
    (kind === RecordKind.holdPosted && body.kept !== true)
  return {
    postings: concerned.map((index) => body.postings[index]),
    sides: concerned.map((index) => sides[index]),
    effectiveDate: body.effectiveDate,
    ...(body.code === undefined ? {} : { code: body.code }),
    ...(body.target === undefined ? {} : { target: body.target }),
    ...(body.released === undefined
      ? {}
      : { released: concerned.map((index) => body.released?.[index] ?? 0n) }),
    ...(endsHold ? { ended: true as const } : {}),
  }
}

const allElsewhere = packSides(Side.elsewhere, Side.elsewhere)

/** Where a side takes effect, seen from the shard that is told of it. */
function sideAt(side: Side, owner: number, shard: number): Side {
  return side === Side.elsewhere && owner === shard ? Side.here : Side.elsewhere
}

function shardOfWords(layout: Layout, words: Uint32Array, at: number): number {
  return layout.shardOf(slotOfWords(words[at], words[at + 1], words[at + 2], words[at + 3]))
}

function shardOfBytes(layout: Layout, key: Uint8Array): number {
  return layout.shardOf(slotOf(keyFromBytes(key, 0)))
}
