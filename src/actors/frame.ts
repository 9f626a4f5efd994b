import { paddedLength } from '../journal/record.js'

/**
 * A frame: what one thread tells another in one tick, as one buffer that changes hands. Entries
 * follow each other at multiples of 8 bytes, after a header of 8 bytes:
 *
 *      0 f64 a number: of commands in a frame to a shard; until when the answers in a frame from a
 *        shard are valid, in milliseconds of Clock.monotonic
 */
export const frameHeaderWords = 2

/** The number in the header of a frame. */
export function frameNumber(frame: ArrayBuffer): number {
  return new Float64Array(frame, 0, 1)[0]
}

const frameBytesInitial = 4096

export class FrameWriter {
  words: Uint32Array
  #bytes: Uint8Array
  /** Next free word. */
  #end = frameHeaderWords
  /** Entries in the frame. */
  count = 0

  constructor(bytesInitial = frameBytesInitial) {
    this.words = new Uint32Array(bytesInitial / 4)
    this.#bytes = new Uint8Array(this.words.buffer)
  }

  get isEmpty(): boolean {
    return this.count === 0
  }

  get byteLength(): number {
    return this.#end * 4
  }

  /** Makes room for an entry of `length` bytes and returns the word at which it starts. */
  begin(length: number): number {
    const at = this.#end
    this.#end += paddedLength(length) >> 2
    this.count += 1
    if (this.#end > this.words.length) this.#grow()
    // The padding must be zero: fingerprints and records cover it.
    if ((length & 7) !== 0) {
      this.words[this.#end - 1] = 0
      this.words[this.#end - 2] = 0
    }
    return at
  }

  writeBytes(word: number, bytes: Uint8Array): void {
    this.#bytes.set(bytes, word * 4)
  }

  /** The frame so far, ready to be sent; the writer starts again with a new buffer. */
  take(number: number): ArrayBuffer {
    const buffer = this.words.buffer as ArrayBuffer
    const frame =
      this.byteLength * 2 >= buffer.byteLength ? buffer : buffer.slice(0, this.byteLength)
    new Float64Array(frame, 0, 1)[0] = number
    new Uint32Array(frame).fill(0, this.#end)
    if (frame === buffer) this.#reset()
    else this.clear()
    return frame
  }

  /** Forgets all entries. */
  clear(): void {
    this.rollBack(0, frameHeaderWords * 4)
  }

  /** Forgets the entries after the first `count`, of which the last ends at byte `byteLength`. */
  rollBack(count: number, byteLength: number): void {
    this.count = count
    this.#end = byteLength / 4
  }

  /** Moves all entries of `other` behind the entries of this one. */
  append(other: FrameWriter): void {
    if (other.isEmpty) return
    const from = frameHeaderWords
    const length = other.#end - from
    const at = this.#end
    this.#end += length
    if (this.#end > this.words.length) this.#grow()
    this.words.set(other.words.subarray(from, other.#end), at)
    this.count += other.count
    other.clear()
  }

  #grow(): void {
    let size = this.words.length * 2
    while (size < this.#end) size *= 2
    const words = new Uint32Array(size)
    words.set(this.words)
    this.words = words
    this.#bytes = new Uint8Array(words.buffer)
  }

  #reset(): void {
    this.words = new Uint32Array(frameBytesInitial / 4)
    this.#bytes = new Uint8Array(this.words.buffer)
    this.clear()
  }
}
