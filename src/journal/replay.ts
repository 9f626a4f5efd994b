import type { DigestChain } from './batch.js'
import { paddedLength, recordHeaderBytes, Word } from './record.js'
import { JournalFault } from './session.js'

/** A row of the journal as it was read. */
export interface StoredChunk {
  stream: number
  firstSeq: number
  part: number
  n: number
  epoch: number
  prev: Buffer
  payload: Buffer
}

/**
 * Reads a stream's chunks in order, proves that each follows from the one before it, and hands out
 * their records. A gap, a changed byte or a chunk out of place is a `broken_chain` fault that
 * names the position.
 */
export class Replay {
  /** Seq of the last record that has been read, and the digest of the last chunk. */
  seq: number
  digest: Buffer
  /** First seq of the chunk that is being read. */
  chunkSeq = 0
  readonly #stream: number
  readonly #chain: DigestChain
  #scratch = new Uint32Array(4096)
  /** Bytes of a record that spans chunks, so far. */
  #pending: Buffer[] = []

  constructor(stream: number, start: { seq: number; digest: Buffer }, chain: DigestChain) {
    this.#stream = stream
    this.seq = start.seq
    this.digest = start.digest
    this.#chain = chain
  }

  /** Whether a record has begun whose last part has not come. */
  get isWithinRecord(): boolean {
    return this.#pending.length > 0
  }

  /**
   * Checks the next chunk and calls `apply` with each record that it completes; before that
   * `lookAhead` with where all of them end, unless there is only one.
   */
  read(
    chunk: StoredChunk,
    apply: (words: Uint32Array, at: number, seq: number) => void,
    lookAhead?: (words: Uint32Array, end: number) => void,
  ): void {
    const expectedSeq = chunk.part === 0 ? this.seq + 1 : this.seq
    if (chunk.firstSeq !== expectedSeq) {
      throw this.#broken(chunk, `expected seq ${expectedSeq}`)
    }
    if (!chunk.prev.equals(this.digest)) throw this.#broken(chunk, 'prev is another digest')
    this.digest = this.#chain.next(this.digest, chunk)
    this.chunkSeq = chunk.firstSeq
    if (chunk.part > 0) {
      this.#pending.push(chunk.payload)
      this.#applySpanning(chunk, apply)
      return
    }
    if (this.#pending.length > 0) throw this.#broken(chunk, 'the record before it is cut off')
    const words = this.#aligned(chunk.payload)
    const end = chunk.payload.length / 4
    if (chunk.n === 1 && paddedLength(words[Word.length]) > chunk.payload.length) {
      this.#pending.push(chunk.payload)
      this.seq += 1
      return
    }
    if (chunk.n > 1) lookAhead?.(words, end)
    let at = 0
    for (let index = 0; index < chunk.n; index++) {
      const length = words[at + Word.length]
      const next = at + paddedLength(length) / 4
      // A damaged length may be anything, beyond 31 bits too, where padding makes it negative.
      if (!(length >= recordHeaderBytes && next > at && next <= end)) {
        throw this.#broken(chunk, `record ${index} is cut off`)
      }
      this.seq += 1
      apply(words, at, this.seq)
      at = next
    }
    if (at !== end) throw this.#broken(chunk, 'bytes are left over')
  }

  /** Throws unless what has been read ends where the stream's row says that it ends. */
  assertEnd(head: number, digest: Buffer): void {
    if (this.seq !== head || !this.digest.equals(digest) || this.#pending.length > 0) {
      throw new JournalFault(
        'broken_chain',
        `stream ${this.#stream} ends at ${this.seq}, its head says ${head}; or the digests differ`,
      )
    }
  }

  #applySpanning(
    chunk: StoredChunk,
    apply: (words: Uint32Array, at: number, seq: number) => void,
  ): void {
    if (this.#pending.length === 1) throw this.#broken(chunk, 'a part without its first part')
    const bytes = Buffer.concat(this.#pending)
    const words = this.#aligned(bytes)
    const length = paddedLength(words[Word.length])
    if (bytes.length < length) return
    if (bytes.length > length) throw this.#broken(chunk, 'a part too long')
    this.#pending = []
    apply(words, 0, this.seq)
  }

  #aligned(payload: Buffer): Uint32Array {
    if (payload.length > this.#scratch.byteLength) {
      this.#scratch = new Uint32Array(payload.length / 2)
    }
    new Uint8Array(this.#scratch.buffer).set(payload)
    return this.#scratch
  }

  #broken(chunk: StoredChunk, reason: string): JournalFault {
    return new JournalFault(
      'broken_chain',
      `stream ${this.#stream} is damaged at seq ${chunk.firstSeq} part ${chunk.part}: ${reason}`,
    )
  }
}
