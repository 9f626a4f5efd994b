import { paddedLength, Word } from '../journal/record.js'

/** 64 bits as two unsigned words. */
export interface Fingerprint {
  low: number
  high: number
}

/**
 * Fingerprint of a command: its kind, its flags and every word of its body, before defaults. Two
 * lanes of the mixing of MurmurHash3 (Austin Appleby, public domain) with different seeds; it
 * tells a client's retry from a client's mistake and protects nothing else.
 *
 * Kept for ever in the journal, so its result must never change.
 */
export function fingerprintOf(words: Uint32Array, at: number, into: Fingerprint): void {
  const end = at + (paddedLength(words[at + Word.length]) >> 2)
  const head = words[at] & 0xffff00ff
  let low = mix(0x3c6ef372, head)
  let high = mix(0x1f83d9ab, head)
  for (let word = at + Word.body; word < end; word++) {
    low = mix(low, words[word])
    high = mix(high, Math.imul(words[word], 0x38495ab5) ^ (word - at))
  }
  into.low = finish(low, end - at)
  into.high = finish(high, end - at)
}

function mix(hash: number, word: number): number {
  let k = Math.imul(word, 0xcc9e2d51)
  k = Math.imul((k << 15) | (k >>> 17), 0x1b873593)
  const h = hash ^ k
  return (Math.imul((h << 13) | (h >>> 19), 5) + 0xe6546b64) | 0
}

function finish(hash: number, words: number): number {
  let h = hash ^ words
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b)
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35)
  return (h ^ (h >>> 16)) >>> 0
}
