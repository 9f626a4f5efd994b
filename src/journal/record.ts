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
} as const
export type RecordKind = (typeof RecordKind)[keyof typeof RecordKind]

export const RecordFlag = {
  /** History as it happened: exempt from limits. */
  imported: 1,
  /** A hold: it reserves, and moves nothing yet. */
  pending: 2,
} as const

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
} as const

export const recordHeaderBytes = 64
export const plainPostingBytes = 120

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
  /** Days since 1970. */
  effectiveDate: number
  /** Milliseconds since 1970; holds only, absent for a hold that does not expire. */
  expiresAt?: bigint
}

/** Body of a hold's post, void and expiry, and of a reversal. */
export interface FollowUpBody extends Attributes {
  target: Uint8Array
  postings: PostingBody[]
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
  metadata?: Metadata
}

export interface AccountChangedBody {
  status?: string
  overdraftLimit?: bigint | null
  minimumBalance?: bigint
  metadata?: Metadata
}

/** A record's header and where its body lies; made for reading, not on the posting path. */
export interface RecordView {
  kind: RecordKind
  imported: boolean
  pending: boolean
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
  if (version !== recordVersion || kind < 1 || kind > RecordKind.accountChanged) {
    throw new RecordError(`record kind ${kind} version ${version} is not known to this program`)
  }
  const flags = head >>> 16
  return {
    kind: kind as RecordKind,
    imported: (flags & RecordFlag.imported) !== 0,
    pending: (flags & RecordFlag.pending) !== 0,
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
  }
}

/** A record that cannot be read: damaged, or written by a newer program. */
class RecordError extends Error {
  readonly code = 'record_unreadable'
}
