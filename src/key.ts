import { createHash, randomFillSync } from 'node:crypto'
import { v7 } from 'uuid'

/**
 * A key names an account, a loan or a transaction within a tenant: 128 bits, kept as the four
 * 32-bit words that a little-endian machine reads from the UUID's bytes in text order.
 */
export interface Key {
  w0: number
  w1: number
  w2: number
  w3: number
}

const keyBytes = 16
export const slotCount = 1024

const uuidPattern = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i
const namePattern = /^[A-Za-z0-9._:-]{1,64}$/

/** The form of a name or UUID wherever the API takes a key. */
export const keyTextPattern = '^[A-Za-z0-9._:-]{1,64}$'

/** Whether `text` is a UUID in its 36-character form. */
export function isUuid(text: string): boolean {
  return uuidPattern.test(text)
}

/**
 * Key of a UUID, used as it is, or of any other name of 1 to 64 characters `A-Za-z0-9._:-`, which
 * becomes a v8 UUID from SHA-256 of tenant and name. Returns undefined if `text` is neither.
 */
export function keyOf(tenant: number, text: string): Key | undefined {
  if (isUuid(text)) return keyOfUuid(text)
  if (!namePattern.test(text)) return undefined
  return keyOfDigest(createHash('sha256').update(`daybook\0${tenant}\0${text}`).digest())
}

/** Key of the item at `index` of a batch that was sent under an idempotency key. */
export function keyOfBatchItem(tenant: number, batch: Key, index: number): Key {
  return keyOfDigest(
    createHash('sha256')
      .update(`daybook\0${tenant}\0${formatKey(batch)}\0item\0${index}`)
      .digest(),
  )
}

/** Key of a post, void or reversal: derived from (target, id) and put into the target's slot. */
export function keyOfFollowUp(tenant: number, target: Key, id: Key): Key {
  const digest = createHash('sha256')
    .update(`daybook\0${tenant}\0${formatKey(target)}\0follow-up\0${formatKey(id)}`)
    .digest()
  return withSlot(keyOfDigest(digest), slotOf(target))
}

/** A new v7 key; with `slot`, one that carries that slot. */
export function newKey(slot?: number): Key {
  const bytes = new Uint8Array(keyBytes)
  v7({ rng: randomBytes }, bytes)
  const key = keyFromBytes(bytes, 0)
  return slot === undefined ? key : withSlot(key, slot)
}

/** The text of a new v7 key. */
export function newKeyText(): string {
  return v7({ rng: randomBytes })
}

/** Asking for random bytes 16 at a time costs ten times more than the rest of a v7. */
const randomPool = new Uint8Array(8192)
let randomUsed = randomPool.length

function randomBytes(): Uint8Array {
  if (randomUsed === randomPool.length) {
    randomFillSync(randomPool)
    randomUsed = 0
  }
  randomUsed += keyBytes
  return randomPool.subarray(randomUsed - keyBytes, randomUsed)
}

/**
 * The slot of a key: its low 10 bits for UUID versions 4, 7 and 8; other versions, whose low bits
 * may be a machine's address, are hashed.
 */
export function slotOf(key: Key): number {
  return slotOfWords(key.w0, key.w1, key.w2, key.w3)
}

export function slotOfWords(w0: number, w1: number, w2: number, w3: number): number {
  const version = (w1 >>> 20) & 0xf
  if (version === 4 || version === 7 || version === 8) return slotBits(w3)
  let hash = w0
  for (const word of [w1, w2, w3]) {
    hash = Math.imul(hash ^ (hash >>> 16), 0x45d9f3b) ^ word
  }
  hash = Math.imul(hash ^ (hash >>> 15), 0x2c1b3c6d)
  return (hash ^ (hash >>> 13)) & (slotCount - 1)
}

/** Milliseconds since 1970 of a v7 key; undefined for any other version. */
export function timeOfKey(w0: number, w1: number): number | undefined {
  if (((w1 >>> 20) & 0xf) !== 7) return undefined
  return swap(w0) * 0x10000 + ((w1 & 0xff) << 8) + ((w1 >>> 8) & 0xff)
}

/** The same key with its low 10 bits replaced by `slot`. */
export function withSlot(key: Key, slot: number): Key {
  const w3 = (key.w3 & 0x00fcffff) | ((slot >>> 8) << 16) | ((slot & 0xff) << 24)
  return { w0: key.w0, w1: key.w1, w2: key.w2, w3: w3 >>> 0 }
}

export function equalKeys(a: Key, b: Key): boolean {
  return a.w3 === b.w3 && a.w2 === b.w2 && a.w1 === b.w1 && a.w0 === b.w0
}

/** Reads a key from 16 bytes in text order. */
export function keyFromBytes(bytes: Uint8Array, offset: number): Key {
  return {
    w0: littleEndianWord(bytes, offset),
    w1: littleEndianWord(bytes, offset + 4),
    w2: littleEndianWord(bytes, offset + 8),
    w3: littleEndianWord(bytes, offset + 12),
  }
}

/** The 16 bytes of a key in text order. */
export function keyToBytes(key: Key): Buffer {
  const bytes = Buffer.allocUnsafe(keyBytes)
  bytes.writeUInt32LE(key.w0, 0)
  bytes.writeUInt32LE(key.w1, 4)
  bytes.writeUInt32LE(key.w2, 8)
  bytes.writeUInt32LE(key.w3, 12)
  return bytes
}

/** Reads a key from four words of a frame or record. */
export function keyFromWords(words: Uint32Array, index: number): Key {
  return { w0: words[index], w1: words[index + 1], w2: words[index + 2], w3: words[index + 3] }
}

export function writeKeyWords(words: Uint32Array, index: number, key: Key): void {
  words[index] = key.w0
  words[index + 1] = key.w1
  words[index + 2] = key.w2
  words[index + 3] = key.w3
}

/** The UUID text of a key, in lower case. */
export function formatKey(key: Key): string {
  const { w0, w1, w2, w3 } = key
  return (
    hex[w0 & 0xff] +
    hex[(w0 >>> 8) & 0xff] +
    hex[(w0 >>> 16) & 0xff] +
    hex[w0 >>> 24] +
    '-' +
    hex[w1 & 0xff] +
    hex[(w1 >>> 8) & 0xff] +
    '-' +
    hex[(w1 >>> 16) & 0xff] +
    hex[w1 >>> 24] +
    '-' +
    hex[w2 & 0xff] +
    hex[(w2 >>> 8) & 0xff] +
    '-' +
    hex[(w2 >>> 16) & 0xff] +
    hex[w2 >>> 24] +
    hex[w3 & 0xff] +
    hex[(w3 >>> 8) & 0xff] +
    hex[(w3 >>> 16) & 0xff] +
    hex[w3 >>> 24]
  )
}

/** Two hexadecimal digits of each byte. */
const hex = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, '0'))

/** Key of a UUID's text; the caller has checked its form. */
function keyOfUuid(text: string): Key {
  return {
    w0: hexWord(text, 0),
    w1: swap(Number.parseInt(text.slice(9, 13) + text.slice(14, 18), 16)),
    w2: swap(Number.parseInt(text.slice(19, 23) + text.slice(24, 28), 16)),
    w3: hexWord(text, 28),
  }
}

function keyOfDigest(digest: Buffer): Key {
  digest[6] = (digest[6] & 0x0f) | 0x80
  digest[8] = (digest[8] & 0x3f) | 0x80
  return keyFromBytes(digest, 0)
}

function slotBits(w3: number): number {
  return (((w3 >>> 16) & 3) << 8) | (w3 >>> 24)
}

function hexWord(text: string, start: number): number {
  return swap(Number.parseInt(text.slice(start, start + 8), 16))
}

function swap(word: number): number {
  return ((word >>> 24) | ((word >>> 8) & 0xff00) | ((word << 8) & 0xff0000) | (word << 24)) >>> 0
}

function littleEndianWord(bytes: Uint8Array, offset: number): number {
  return (
    (bytes[offset] |
      (bytes[offset + 1] << 8) |
      (bytes[offset + 2] << 16) |
      (bytes[offset + 3] << 24)) >>>
    0
  )
}
