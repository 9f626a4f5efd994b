import type { StoredChunk } from '../journal/replay.js'

/** Bytes at which rows are sent: some hundred chunks, so that neither side waits or grows. */
const rowsBytesTarget = 4 << 20
const rowBytesMax = 8192
const headerBytes = 19

/** Rows of the journal as a binary COPY, gathered until they are worth a statement. */
export class ChunkRows {
  #bytes = Buffer.alloc(rowsBytesTarget + rowBytesMax)
  #end = 0

  constructor() {
    this.clear()
  }

  get isEmpty(): boolean {
    return this.#end === headerBytes
  }

  get isFull(): boolean {
    return this.#end >= rowsBytesTarget
  }

  clear(): void {
    this.#bytes.write('PGCOPY\n\xff\r\n\0', 0, 'latin1')
    this.#bytes.fill(0, 11, headerBytes)
    this.#end = headerBytes
  }

  add(chunk: StoredChunk): void {
    const { payload, prev } = chunk
    const rowBytes =
      2 + 4 + 4 + 4 + 8 + 4 + 2 + 4 + 4 + 4 + 4 + 4 + prev.length + 4 + payload.length
    this.#growBy(rowBytes)
    const bytes = this.#bytes
    let at = bytes.writeInt16BE(7, this.#end)
    at = bytes.writeInt32BE(chunk.stream, bytes.writeInt32BE(4, at))
    at = bytes.writeBigInt64BE(BigInt(chunk.firstSeq), bytes.writeInt32BE(8, at))
    at = bytes.writeInt16BE(chunk.part, bytes.writeInt32BE(2, at))
    at = bytes.writeInt32BE(chunk.n, bytes.writeInt32BE(4, at))
    at = bytes.writeInt32BE(chunk.epoch, bytes.writeInt32BE(4, at))
    at = bytes.writeInt32BE(prev.length, at)
    at += prev.copy(bytes, at)
    at = bytes.writeInt32BE(payload.length, at)
    at += payload.copy(bytes, at)
    this.#end = at
  }

  /** The whole COPY; valid until the next `add` or `clear`. */
  finish(): Buffer {
    this.#growBy(2)
    this.#bytes.writeInt16BE(-1, this.#end)
    return this.#bytes.subarray(0, this.#end + 2)
  }

  #growBy(length: number): void {
    if (this.#end + length <= this.#bytes.length) return
    const larger = Buffer.alloc(this.#bytes.length + Math.max(length, rowBytesMax))
    this.#bytes.copy(larger)
    this.#bytes = larger
  }
}
