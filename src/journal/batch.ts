import { paddedLength } from './record.js'

/**
 * The open batch: records, laid out at once as the bytes of the COPY that will carry them. Nothing
 * is copied again when the batch goes out.
 *
 *     19 bytes header of binary COPY, 1 byte before it to keep what follows at multiples of 4
 *     per chunk a row: 84 bytes of row header, then the payload of at most 7,800 bytes
 *     2 bytes trailer
 *
 * Row header (big-endian, as COPY wants it; each field has its length before it):
 *
 *      0 i16 fields = 7   2 stream i32   10 first_seq i64   22 part i16   28 n i32
 *     36 epoch i32   44 prev, 32 bytes   80 length of the payload
 */
export const chunkBytesMax = 7800

const copyHeaderAt = 1
const rowsAt = 20
const rowHeaderBytes = 84
const slabBytesInitial = 1 << 16
/** A slab that one large batch has made larger than this is given back. */
const slabBytesKept = 8 << 20

/** Offsets of the fields' values within a row header. */
const Row = { stream: 6, firstSeq: 14, part: 26, n: 32, epoch: 40, prev: 48, payload: 84 } as const

interface ChunkPlace {
  /** Byte at which the row starts. */
  at: number
  payloadBytes: number
}

export class Batch {
  readonly stream: number
  words!: Uint32Array
  bytes!: Buffer
  /** Seq of the first record in the batch, and of the next one to be added. */
  firstSeq = 0
  nextSeq = 0
  readonly #chunks: ChunkPlace[] = []
  #end = rowsAt
  /** Records in the chunk that is being filled. */
  #chunkRecords = 0

  constructor(stream: number) {
    this.stream = stream
    this.#use(new ArrayBuffer(slabBytesInitial))
  }

  get records(): number {
    return this.nextSeq - this.firstSeq
  }

  get byteLength(): number {
    return this.#end
  }

  /** Empties the batch; its next record will be `seq`. */
  restart(seq: number): void {
    this.firstSeq = seq
    this.nextSeq = seq
    this.#chunks.length = 0
    this.#chunkRecords = 0
    this.#end = rowsAt
    if (this.bytes.length > slabBytesKept) this.#use(new ArrayBuffer(slabBytesInitial))
  }

  /**
   * Makes room for a record of `length` bytes (at most {@link chunkBytesMax}), which becomes seq
   * `nextSeq - 1`. Returns the word of `words` at which the caller writes it; its padding is zero.
   */
  add(length: number): number {
    const padded = paddedLength(length)
    const last = this.#chunks[this.#chunks.length - 1]
    const chunk =
      last !== undefined && this.#chunkRecords > 0 && last.payloadBytes + padded <= chunkBytesMax
        ? last
        : this.#openChunk(0, 0)
    const at = this.#end
    this.#reserve(padded)
    chunk.payloadBytes += padded
    this.#chunkRecords += 1
    this.nextSeq += 1
    this.bytes.writeInt32BE(this.#chunkRecords, chunk.at + Row.n)
    if (padded !== length) {
      this.words[(at + padded) / 4 - 1] = 0
      this.words[(at + padded) / 4 - 2] = 0
    }
    return at / 4
  }

  /** Adds a record of any length; one that does not fit a chunk gets chunks of its own. */
  addBytes(record: Uint8Array): void {
    if (record.length <= chunkBytesMax) {
      const word = this.add(record.length)
      this.bytes.set(record, word * 4)
      return
    }
    for (let from = 0, part = 0; from < record.length; from += chunkBytesMax, part++) {
      const piece = record.subarray(from, from + chunkBytesMax)
      const padded = paddedLength(piece.length)
      const chunk = this.#openChunk(part, part === 0 ? 1 : 0)
      const at = this.#end
      this.#reserve(padded)
      this.bytes.fill(0, at, at + padded)
      this.bytes.set(piece, at)
      chunk.payloadBytes = padded
    }
    this.#chunkRecords = 0
    this.nextSeq += 1
  }

  /**
   * Completes the chunks with epoch and digests, and the COPY with its frame.
   * Can be repeated with another epoch when the batch has to be sent again.
   */
  seal(epoch: number, digest: Buffer, chain: DigestChain): { copy: Buffer; digest: Buffer } {
    let previous = digest
    for (const chunk of this.#chunks) {
      const { bytes } = this
      bytes.writeInt32BE(epoch, chunk.at + Row.epoch)
      previous.copy(bytes, chunk.at + Row.prev)
      bytes.writeInt32BE(chunk.payloadBytes, chunk.at + Row.payload - 4)
      const payloadAt = chunk.at + rowHeaderBytes
      previous = chain.next(previous, {
        stream: this.stream,
        firstSeq: Number(bytes.readBigInt64BE(chunk.at + Row.firstSeq)),
        part: bytes.readInt16BE(chunk.at + Row.part),
        n: bytes.readInt32BE(chunk.at + Row.n),
        epoch,
        payload: bytes.subarray(payloadAt, payloadAt + chunk.payloadBytes),
      })
    }
    this.#reserveTrailer()
    this.bytes.writeInt16BE(-1, this.#end)
    return { copy: this.bytes.subarray(copyHeaderAt, this.#end + 2), digest: previous }
  }

  #openChunk(part: number, n: number): ChunkPlace {
    const at = this.#end
    this.#reserve(rowHeaderBytes)
    const { bytes } = this
    bytes.writeInt16BE(7, at)
    writeField(bytes, at + Row.stream, 4)
    bytes.writeInt32BE(this.stream, at + Row.stream)
    writeField(bytes, at + Row.firstSeq, 8)
    bytes.writeBigInt64BE(BigInt(this.nextSeq), at + Row.firstSeq)
    writeField(bytes, at + Row.part, 2)
    bytes.writeInt16BE(part, at + Row.part)
    writeField(bytes, at + Row.n, 4)
    bytes.writeInt32BE(n, at + Row.n)
    writeField(bytes, at + Row.epoch, 4)
    writeField(bytes, at + Row.prev, 32)
    const chunk = { at, payloadBytes: 0 }
    this.#chunks.push(chunk)
    this.#chunkRecords = 0
    return chunk
  }

  #reserve(length: number): void {
    this.#end += length
    this.#growTo(this.#end)
  }

  #reserveTrailer(): void {
    this.#growTo(this.#end + 2)
  }

  #growTo(length: number): void {
    if (length <= this.bytes.length) return
    let size = this.bytes.length * 2
    while (size < length) size *= 2
    const old = this.bytes
    this.#use(new ArrayBuffer(size))
    old.copy(this.bytes)
  }

  #use(buffer: ArrayBuffer): void {
    this.words = new Uint32Array(buffer)
    this.bytes = Buffer.from(buffer)
    // Signature, flags and extension length of the binary COPY format.
    this.bytes.write('PGCOPY\n\xff\r\n\0', copyHeaderAt, 'latin1')
    this.bytes.fill(0, copyHeaderAt + 11, rowsAt)
  }
}

/** How a chunk's digest follows from the one before it. */
export interface DigestChain {
  next(previous: Buffer, chunk: Chunk): Buffer
}

/** A row of the journal, without `prev`. */
export interface Chunk {
  stream: number
  firstSeq: number
  part: number
  /** Records that start in the chunk. */
  n: number
  epoch: number
  payload: Buffer
}

function writeField(bytes: Buffer, valueAt: number, length: number): void {
  bytes.writeInt32BE(length, valueAt - 4)
}
