import { randomBytes } from 'node:crypto'

/** Where the 16 bytes of a UUID stand in its text of 36 characters. */
const BYTE_POSITIONS = [0, 2, 4, 6, 9, 11, 14, 16, 19, 21, 24, 26, 28, 30, 32, 34]
const SLOTS = 1024
const HEX = Buffer.from('0123456789abcdef', 'latin1')

/**
 * Makes version 7 UUIDs and writes them over the old ones in a prepared request, which costs about
 * 0.1 µs each: the generator shares its cores with the servers that it measures, so it must not
 * build strings. Not for production use: the randomness is Math.random.
 */
export class IdSource {
  private readonly bytes = Buffer.alloc(16)

  /**
   * Overwrites the 36 characters at `offset` with an id in `slot`; the dashes must stand there
   * already.
   */
  writeText(target: Buffer, offset: number, slot: number): void {
    this.renew(slot)
    for (let index = 0; index < 16; index++) {
      const byte = this.bytes[index]
      const position = offset + BYTE_POSITIONS[index]
      target[position] = HEX[byte >> 4]
      target[position + 1] = HEX[byte & 15]
    }
  }

  /** Overwrites the 16 bytes at `offset`, in the order of the text, with an id in `slot`. */
  writeBytes(target: Buffer, offset: number, slot: number): void {
    this.renew(slot)
    for (let index = 0; index < 16; index++) target[offset + index] = this.bytes[index]
  }

  /** A UUID as text, in a random slot, for set-up. */
  next(): string {
    const text = Buffer.from('00000000-0000-0000-0000-000000000000', 'latin1')
    this.writeText(text, 0, Math.floor(Math.random() * SLOTS))
    return text.toString('latin1')
  }

  /** The slot is the low 10 bits of a key. */
  private renew(slot: number): void {
    const now = Date.now()
    const high = Math.floor(now / 0x10000)
    const first = (Math.random() * 0x100000000) >>> 0
    const second = (Math.random() * 0x100000000) >>> 0
    const third = (Math.random() * 0x4000) >>> 0
    const { bytes } = this
    bytes[0] = high >>> 24
    bytes[1] = (high >>> 16) & 0xff
    bytes[2] = (high >>> 8) & 0xff
    bytes[3] = high & 0xff
    bytes[4] = (now >>> 8) & 0xff
    bytes[5] = now & 0xff
    bytes[6] = 0x70 | (third & 0x0f)
    bytes[7] = (third >>> 4) & 0xff
    bytes[8] = 0x80 | ((third >>> 12) & 0x03) | ((first >>> 24) & 0x3c)
    bytes[9] = (first >>> 16) & 0xff
    bytes[10] = (first >>> 8) & 0xff
    bytes[11] = first & 0xff
    bytes[12] = second >>> 24
    bytes[13] = (second >>> 16) & 0xff
    bytes[14] = ((second >>> 8) & 0xfc) | (slot >>> 8)
    bytes[15] = slot & 0xff
  }
}

/** The 16 bytes of a UUID in the order of its text. */
export function uuidBytes(text: string): Buffer {
  return Buffer.from(text.replaceAll('-', ''), 'hex')
}

/** A short random suffix for names of databases and folders. */
export function randomSuffix(): string {
  return randomBytes(4).toString('hex')
}
