import type { Batch } from '../journal/batch.js'
import {
  headWord,
  type PostingBody,
  packr,
  paddedLength,
  plainPostingBytes,
  RecordFlag,
  RecordKind,
  readInteger,
  recordHeaderBytes,
  scaleShift,
  sidesShift,
  Word,
  writeBigint,
  writeInteger,
} from '../journal/record.js'
import { keyFromWords, keyToBytes, writeKeyWords } from '../key.js'
import { applyRecord } from './apply.js'
import type { Book } from './book.js'
import type { Fingerprint } from './fingerprint.js'
import type { Decision } from './transaction-decision.js'

/** A record that has just joined the open batch, and where its words can be read. */
export interface WrittenRecord {
  words: Uint32Array
  at: number
  seq: number
}

/**
 * Turns accepted commands into records: appends each to the open batch and applies it to the book
 * at once, so that the next command sees it.
 */
export class RecordWriter {
  readonly #book: Book
  readonly #openBatch: () => Batch
  /** Time of the last record, or what the clock said later: time never runs back in a stream. */
  lastTimeMs = 0
  #scratch = new Uint32Array(4096)
  readonly #written: WrittenRecord = { words: this.#scratch, at: 0, seq: 0 }

  constructor(book: Book, openBatch: () => Batch) {
    this.#book = book
    this.#openBatch = openBatch
  }

  /** Writes the plain posting of the command at word `at` as it was decided. */
  plainPosting(
    words: Uint32Array,
    at: number,
    timeMs: number,
    decision: Decision,
    fingerprint: Fingerprint,
  ): WrittenRecord {
    const batch = this.#openBatch()
    const word = batch.add(plainPostingBytes)
    const out = batch.words
    const posting = decision.postings[0]
    const { currency } = posting
    for (let index = Word.tenant; index < Word.amount; index++)
      out[word + index] = words[at + index]
    const imported = (words[at] >>> 16) & RecordFlag.imported
    out[word] = headWord(
      RecordKind.posting,
      imported |
        acrossFlags(decision) |
        (posting.sides << sidesShift) |
        (currency.scale << scaleShift),
    )
    out[word + Word.length] = plainPostingBytes
    writeInteger(out, word + Word.time, this.#advance(timeMs))
    out[word + Word.fingerprint] = fingerprint.low
    out[word + Word.fingerprint + 1] = fingerprint.high
    writeBigint(out, word + Word.amount, posting.amount)
    out[word + Word.currency] = currency.words[0]
    out[word + Word.currency + 1] = currency.words[1]
    out[word + Word.effectiveDate] = decision.effectiveDate
    out[word + Word.code] = words[at + Word.code]
    return this.#apply(out, word, batch.nextSeq - 1)
  }

  /** Writes a record with a msgpack body and the header of the command at word `at`. */
  withBody(
    words: Uint32Array,
    at: number,
    timeMs: number,
    record: { kind: RecordKind; flags: number; body: object; fingerprint: Fingerprint },
  ): WrittenRecord {
    const body = packr.pack(record.body)
    const length = recordHeaderBytes + body.length
    const out = this.#cleared(paddedLength(length))
    out.set(words.subarray(at, at + Word.body))
    out[0] = headWord(record.kind, record.flags)
    out[Word.length] = length
    writeInteger(out, Word.time, this.#advance(timeMs))
    out[Word.fingerprint] = record.fingerprint.low
    out[Word.fingerprint + 1] = record.fingerprint.high
    const bytes = new Uint8Array(out.buffer)
    bytes.set(body, recordHeaderBytes)
    const batch = this.#openBatch()
    batch.addBytes(bytes.subarray(0, length))
    return this.#apply(out, 0, batch.nextSeq - 1)
  }

  /** Appends the record that another shard's asks for, given as bytes. */
  applied(record: Uint8Array): WrittenRecord {
    const batch = this.#openBatch()
    const out = this.#cleared(paddedLength(record.length))
    new Uint8Array(out.buffer).set(record)
    this.lastTimeMs = Math.max(this.lastTimeMs, readInteger(out, Word.time))
    batch.addBytes(record)
    return this.#apply(out, 0, batch.nextSeq - 1)
  }

  /** Header of a record that no command asked for, such as an expiry. */
  ownHeader(tenant: number, row: number): Uint32Array {
    const header = new Uint32Array(Word.body)
    header[Word.tenant] = tenant
    writeKeyWords(header, Word.id, this.#book.transactions.keys.keyOf(row))
    return header
  }

  /** The decided postings as a record's body has them, with their sides if not all are here. */
  postingBodies(decision: Decision): { postings: PostingBody[]; sides?: number[] } {
    const postings: PostingBody[] = []
    const sides: number[] = []
    for (let index = 0; index < decision.count; index++) {
      const { keys, keysAt, amount, currency } = decision.postings[index]
      postings.push([
        keyToBytes(keyFromWords(keys, keysAt)),
        keyToBytes(keyFromWords(keys, keysAt + 4)),
        amount,
        currency.code,
        currency.scale,
      ])
      sides.push(decision.postings[index].sides)
    }
    return sides.some((side) => side !== 0) ? { postings, sides } : { postings }
  }

  #apply(words: Uint32Array, at: number, seq: number): WrittenRecord {
    applyRecord(this.#book, words, at, seq)
    this.#written.words = words
    this.#written.at = at
    this.#written.seq = seq
    return this.#written
  }

  #advance(timeMs: number): number {
    if (timeMs > this.lastTimeMs) this.lastTimeMs = timeMs
    return this.lastTimeMs
  }

  #cleared(bytes: number): Uint32Array {
    if (bytes > this.#scratch.byteLength) this.#scratch = new Uint32Array(bytes / 2)
    this.#scratch.fill(0, 0, bytes / 4)
    return this.#scratch
  }
}

/** Flags of a record that other shards must be told of. */
export function acrossFlags(decision: Decision): number {
  return (
    (decision.isAcross ? RecordFlag.across : 0) |
    (decision.idElsewhere ? RecordFlag.idElsewhere : 0)
  )
}
