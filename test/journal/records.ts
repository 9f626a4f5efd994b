import fc from 'fast-check'
import type { Batch } from '../../src/journal/batch.js'
import {
  headWord,
  paddedLength,
  plainPostingBytes,
  recordHeaderBytes,
  Word,
  writeInteger,
} from '../../src/journal/record.js'

/**
 * A record of `length` bytes with a recognisable body: the layers below the actors look at nothing
 * but its length.
 */
export function record(length: number, mark: number): Uint8Array {
  const words = new Uint32Array(paddedLength(length) / 4)
  words[0] = headWord(2, 0)
  words[Word.length] = length
  writeInteger(words, Word.time, 1_709_208_000_000 + mark)
  const bytes = new Uint8Array(words.buffer, 0, length)
  for (let at = recordHeaderBytes; at < length; at++) bytes[at] = (mark + at * 7) & 0xff
  return bytes
}

/** Puts a record into a batch, one of the plain length in the way of the posting path. */
export function addTo(batch: Batch, bytes: Uint8Array): void {
  if (bytes.length !== plainPostingBytes) {
    batch.addBytes(bytes)
    return
  }
  const at = batch.add(plainPostingBytes)
  batch.words.set(new Uint32Array(bytes.buffer, bytes.byteOffset, plainPostingBytes / 4), at)
}

/** The bytes of the record at word `at`, without its padding. */
export function recordBytes(words: Uint32Array, at: number): Buffer {
  const from = words.byteOffset + at * 4
  return Buffer.from(Buffer.from(words.buffer, from, words[at + Word.length]))
}

/** Lengths of records: mostly small, and everything around the limits of a chunk. */
export const recordLength = fc.oneof(
  { weight: 6, arbitrary: fc.constant(plainPostingBytes) },
  { weight: 4, arbitrary: fc.integer({ min: recordHeaderBytes, max: 700 }) },
  { weight: 2, arbitrary: fc.integer({ min: 7780, max: 7820 }) },
  { weight: 1, arbitrary: fc.integer({ min: 15_590, max: 15_610 }) },
  { weight: 1, arbitrary: fc.integer({ min: 3000, max: 40_000 }) },
)
