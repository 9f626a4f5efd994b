import { Packr } from 'msgpackr'
import { type Key, keyFromWords, keyToBytes } from '../key.js'

/**
 * The journal's record: one mutation. Little-endian; every record starts at a multiple of 8 bytes
 * and is padded with zeros to one.
 *
 *      0 u8 kind   1 u8 version   2 u16 flags   4 u32 length without padding
 *      8 i64 time, ms since 1970
 *     16 u32 tenant   20 u32 principal
 *     24 correlation id   40 id of the transaction or account   56 fingerprint, 8 bytes
 *     64 body
 *
 * A plain posting has a fixed body; every other kind has one msgpack map:
 *
 *     64 debit   80 credit   96 i64 amount in minor units   104 currency, 8 ASCII bytes
 *    112 i32 effective date, days since 1970   116 u32 code   120
 *
 * What another stream's record asks of accounts here is an applied record: for a plain posting its
 * body and
 *
 *    120 u32 stream of the cause   124 u32 0   128 i64 seq of the cause   136 i64 message   144
 *
 * A command travels to its shard in the layout of the record that it will become
 * (actors/command.ts), so that accepting one is mostly a copy of words.
 */
export const recordVersion = 1

/** What a record did. The numbers are written to the journal and never change their meaning. */
export const RecordKind = {
  posting: 1,
  transaction: 2,
  holdPosted: 3,
  holdVoided: 4,
  holdExpired: 5,
  reversal: 6,
  accountCreated: 7,
  accountChanged: 8,
  /** The part of another stream's plain posting that concerns this stream. */
  postingApplied: 9,
  /** The part of any other record of another stream that concerns this stream. */
  applied: 10,
} as const
export type RecordKind = (typeof RecordKind)[keyof typeof RecordKind]

export const RecordFlag = {
  /** History as it happened: exempt from limits. */
  imported: 1,
  /** A hold: it reserves, and moves nothing yet. */
  pending: 2,
  /** The id lives in another stream: this record does not make it known here. */
  idElsewhere: 64,
  /** Other streams have to be told of this record (journal/applied-record.ts). */
  across: 128,
} as const

/**
 * Where one side of a posting takes effect, seen from the stream of the record. A plain posting
 * has both sides in its flags, every other record in `sides` of its body, per posting; all of them
 * are `here` where nothing is said.
 */
export const Side = {
  here: 0,
  /** In the stream that owns the account; a message tells it. */
  elsewhere: 1,
  /** Here, on this stream's part of a striped account. */
  striped: 2,
} as const
export type Side = (typeof Side)[keyof typeof Side]

/** Where the sides of a plain posting sit in the flags: four bits, as {@link packSides} packs them. */
export const sidesShift = 2

export function packSides(debit: Side, credit: Side): number {
  return debit | (credit << 2)
}

export function debitSide(sides: number): Side {
  return (sides & 3) as Side
}

export function creditSide(sides: number): Side {
  return ((sides >>> 2) & 3) as Side
}

/** Where the scale of a plain posting's currency sits in the flags. */
export const scaleShift = 12

/** Word offsets (4 bytes each) within a record. */
export const Word = {
  head: 0,
  length: 1,
  time: 2,
  tenant: 4,
  principal: 5,
  correlation: 6,
  id: 10,
  fingerprint: 14,
  body: 16,
  debit: 16,
  credit: 20,
  amount: 24,
  currency: 26,
  effectiveDate: 28,
  code: 29,
  causeStream: 30,
  causeSeq: 32,
  message: 34,
} as const

export const recordHeaderBytes = 64
export const plainPostingBytes = 120
export const postingAppliedBytes = 144

/** `length` rounded up to where the next record starts. */
export function paddedLength(length: number): number {
  return (length + 7) & ~7
}

/** A 64-bit value seen as two words, so that a bigint is written and read without arithmetic. */
const scratchBigint = new BigInt64Array(1)
const scratchWords = new Uint32Array(scratchBigint.buffer)

export function writeBigint(words: Uint32Array, index: number, value: bigint): void {
  scratchBigint[0] = value
  words[index] = scratchWords[0]
  words[index + 1] = scratchWords[1]
}

export function readBigint(words: Uint32Array, index: number): bigint {
  scratchWords[0] = words[index]
  scratchWords[1] = words[index + 1]
  return scratchBigint[0]
}

/** Writes a whole number of at most 53 bits (a time, a seq) as an i64. */
export function writeInteger(words: Uint32Array, index: number, value: number): void {
  words[index] = value >>> 0
  words[index + 1] = Math.floor(value / 2 ** 32)
}

export function readInteger(words: Uint32Array, index: number): number {
  return words[index] + (words[index + 1] | 0) * 2 ** 32
}

export function headWord(kind: number, flags: number): number {
  return (kind | (recordVersion << 8) | (flags << 16)) >>> 0
}

/** A currency code as the two words of its 8 zero-padded ASCII bytes. */
export function currencyWords(code: string): [number, number] {
  const bytes = Buffer.alloc(8)
  bytes.write(code, 'latin1')
  return [bytes.readUInt32LE(0), bytes.readUInt32LE(4)]
}

export function readCurrency(words: Uint32Array, index: number): string {
  const bytes = Buffer.from(words.buffer, words.byteOffset + index * 4, 8)
  let end = 8
  while (end > 0 && bytes[end - 1] === 0) end -= 1
  return bytes.toString('latin1', 0, end)
}

/**
 * msgpack without the record extension, so that any msgpack reader understands a body. 64-bit
 * integers come back as bigint: they are amounts and times.
 */
export const packr = new Packr({ useRecords: false, int64AsType: 'bigint', variableMapSize: true })

/** One posting inside a body: debit and credit key, minor units, currency code, scale. */
export type PostingBody = [
  debit: Uint8Array,
  credit: Uint8Array,
  amount: bigint,
  currency: string,
  scale: number,
]

/** What any transaction may carry besides its postings. */
export interface Attributes {
  name?: string
  code?: number
  reference?: string
  description?: string
  category?: string
  number?: string
  metadata?: Metadata
}

export type Metadata = Record<string, string | number | boolean>

export interface TransactionBody extends Attributes {
  postings: PostingBody[]
  /** Per posting, where its sides take effect; absent: all here. */
  sides?: number[]
  /** Days since 1970. */
  effectiveDate: number
  /** Milliseconds since 1970; holds only, absent for a hold that does not expire. */
  expiresAt?: bigint
}

/** Body of a hold's post, void and expiry, and of a reversal. */
export interface FollowUpBody extends Attributes {
  target: Uint8Array
  postings: PostingBody[]
  /**
   * Per posting of the hold or of the reversal, where its sides take effect; absent: all here.
   * Where it is given, `postings` names the accounts of every posting, with 0 where nothing moves.
   */
  sides?: number[]
  /** What the hold no longer reserves besides what was posted, per posting of the hold. */
  released?: bigint[]
  /** After a partial post: the hold goes on with the rest. */
  kept?: boolean
  effectiveDate: number
}

export interface AccountCreatedBody {
  name?: string
  currency: string
  scale: number
  class: string
  type?: string
  owner?: string
  number?: string
  /** Minor units; null: unlimited. */
  overdraftLimit: bigint | null
  minimumBalance: bigint
  /** Every shard keeps a part of its own, and the balance is their sum. */
  striped?: true
  metadata?: Metadata
}

export interface AccountChangedBody {
  /** The account is striped: every stream has the change. */
  striped?: true
  status?: string
  overdraftLimit?: bigint | null
  minimumBalance?: bigint
  metadata?: Metadata
}

/**
 * Body of an applied record: what the record of another stream asks for here. Postings without a
 * side here are left out, unless the transaction's id lives here: then it is the whole body.
 */
export type AppliedBody = Partial<
  Omit<TransactionBody & FollowUpBody & AccountCreatedBody & AccountChangedBody, 'postings'>
> & {
  /** Kind of the record that this one follows, and where it is. */
  of: RecordKind
  cause: [stream: number, seq: number]
  /** Number of the message from that stream to this one. */
  message: number
  postings?: PostingBody[]
  /** The hold has ended. */
  ended?: true
  /** Of a striped account: when it was created, in milliseconds since 1970. */
  createdAt?: bigint
}

/** A record's header and where its body lies; made for reading, not on the posting path. */
export interface RecordView {
  kind: RecordKind
  imported: boolean
  pending: boolean
  idElsewhere: boolean
  /** Milliseconds since 1970. */
  time: number
  tenant: number
  principal: number
  correlation: Key
  id: Key
  words: Uint32Array
  /** Word at which the record starts within `words`. */
  start: number
  length: number
}

/** Reads the header of the record at word `start`; throws on a kind or version that is not known. */
export function viewRecord(words: Uint32Array, start: number): RecordView {
  const head = words[start]
  const kind = head & 0xff
  const version = (head >>> 8) & 0xff
  if (version !== recordVersion || kind < 1 || kind > RecordKind.applied) {
    throw new RecordError(`record kind ${kind} version ${version} is not known to this program`)
  }
  const flags = head >>> 16
  return {
    kind: kind as RecordKind,
    imported: (flags & RecordFlag.imported) !== 0,
    pending: (flags & RecordFlag.pending) !== 0,
    idElsewhere: (flags & RecordFlag.idElsewhere) !== 0,
    time: readInteger(words, start + Word.time),
    tenant: words[start + Word.tenant],
    principal: words[start + Word.principal],
    correlation: keyFromWords(words, start + Word.correlation),
    id: keyFromWords(words, start + Word.id),
    words,
    start,
    length: words[start + Word.length],
  }
}

/** The msgpack body of a record that is not a plain posting. */
export function readBody<T>(words: Uint32Array, start: number): T {
  const from = words.byteOffset + start * 4
  const length = words[start + Word.length]
  return packr.unpack(
    Buffer.from(words.buffer, from + recordHeaderBytes, length - recordHeaderBytes),
  ) as T
}

/** The body of a plain posting in the shape of every other transaction's. */
export function plainPostingBody(words: Uint32Array, start: number): TransactionBody {
  const code = words[start + Word.code]
  const sides = plainSides(words, start)
  return {
    postings: [
      [
        keyToBytes(keyFromWords(words, start + Word.debit)),
        keyToBytes(keyFromWords(words, start + Word.credit)),
        readBigint(words, start + Word.amount),
        readCurrency(words, start + Word.currency),
        words[start] >>> (16 + scaleShift),
      ],
    ],
    effectiveDate: words[start + Word.effectiveDate] | 0,
    ...(code === 0 ? {} : { code }),
    ...(sides === 0 ? {} : { sides: [sides] }),
  }
}

/** The sides of a plain posting, or of the applied record of one. */
export function plainSides(words: Uint32Array, start: number): number {
  return (words[start] >>> (16 + sidesShift)) & 15
}

/** A record that cannot be read: damaged, or written by a newer program. */
class RecordError extends Error {
  readonly code = 'record_unreadable'
}
