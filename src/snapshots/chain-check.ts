import type { DigestChain } from '../journal/batch.js'
import { emptyDigest } from '../journal/digest.js'
import { Replay, type StoredChunk } from '../journal/replay.js'
import type { Finding, FindingCode } from './finding.js'

/** Called with each record, in order; a reason why it cannot be, or undefined. */
export type RecordCheck = (words: Uint32Array, at: number, seq: number) => string | undefined

/**
 * Checks the chunks of a stream as they come, and names the first that is not what was written.
 *
 * Each chunk has the digest of the one before it. Where the two differ, either may be at fault: the
 * chunk after them says which, so that the one in question is held back until then.
 */
export class ChainCheck {
  /** What was found; nothing is looked at after it. */
  finding: Finding | undefined
  readonly #stream: number
  readonly #chain: DigestChain
  readonly #checkRecord: RecordCheck
  readonly #replay: Replay
  /** First seq of the last chunk, and the number of its last part. */
  #chunkSeq = 1
  #part = 0
  /** The last chunk itself, to be compared with the one after it. */
  #last: StoredChunk | undefined
  #held: StoredChunk | undefined
  /** A record that cannot be; the next chunk says whether it was written so. */
  #defect: { seq: number; what: string } | undefined

  constructor(stream: number, chain: DigestChain, checkRecord: RecordCheck) {
    this.#stream = stream
    this.#chain = chain
    this.#checkRecord = checkRecord
    this.#replay = new Replay(stream, { seq: 0, digest: emptyDigest }, chain)
  }

  /** Last record that was read, and the digest of the last chunk. */
  get seq(): number {
    return this.#replay.seq
  }

  get digest(): Buffer {
    return this.#replay.digest
  }

  /** Whether a chunk ends here, and nothing of its last record is in the next one. */
  get isBetweenRecords(): boolean {
    return this.#held === undefined && !this.#replay.isWithinRecord
  }

  read(chunk: StoredChunk): void {
    if (this.finding !== undefined) return
    if (this.#defect !== undefined) this.#judgeDefect(this.#defect, chunk.prev)
    else if (this.#held !== undefined) this.#judgeHeld(this.#held, chunk.firstSeq, chunk.prev)
    else if (!this.#follows(chunk)) return
    else if (chunk.prev.equals(this.digest)) this.#readRecords(chunk)
    else this.#held = chunk
  }

  /** All has been read; the row of the stream says where it ends. */
  end(head: number, digest: Buffer): void {
    if (this.finding !== undefined) return
    const { seq } = this
    if (this.#defect !== undefined) {
      this.#judgeDefect(this.#defect, digest)
    } else if (this.#held !== undefined) {
      this.#judgeHeld(this.#held, head + 1, digest)
    } else if (this.#replay.isWithinRecord) {
      this.#find('cut_off', seq, head, `the last part of record ${seq} is missing`)
    } else if (seq < head) {
      this.#find('cut_off', seq + 1, head, `it ends at ${seq}, and its row says ${head}`)
    } else if (seq > head) {
      this.#find('inserted', head + 1, seq, `it goes on to ${seq}, and its row says ${head}`)
    } else if (!this.digest.equals(digest)) {
      this.#find('changed', this.#chunkSeq, seq, 'its last chunk has not the digest of its row')
    }
  }

  /** Whether the chunk is at the place at which one is expected. */
  #follows(chunk: StoredChunk): boolean {
    const { firstSeq, part } = chunk
    const nextPart = this.#part + 1
    if (this.#replay.isWithinRecord && firstSeq === this.seq && part === nextPart) return true
    if (this.#replay.isWithinRecord) {
      const isNext = part === 0 || firstSeq !== this.seq
      const what = isNext ? 'the end' : `part ${nextPart}`
      this.#find('missing', this.seq, this.seq, `${what} of record ${this.seq} is missing`)
    } else if (part > 0 && firstSeq === this.seq + 1) {
      this.#find('missing', firstSeq, firstSeq, `the beginning of record ${firstSeq} is missing`)
    } else if (part > 0 && firstSeq <= this.seq) {
      this.#find('inserted', firstSeq, firstSeq, `a part ${part} follows that nothing asks for`)
    } else if (firstSeq > this.seq + 1) {
      const last = firstSeq - 1
      this.#find('missing', this.seq + 1, last, `records ${this.seq + 1} to ${last} are missing`)
    } else if (firstSeq <= this.seq) {
      this.#held = chunk
    }
    return this.finding === undefined && this.#held === undefined
  }

  /** The chunk after the one in question begins at `nextSeq` and has the digest `prev`. */
  #judgeHeld(held: StoredChunk, nextSeq: number, prev: Buffer): void {
    const { firstSeq } = held
    if (firstSeq <= this.seq) {
      // Two chunks claim the same seq: what goes on from the first makes the second an intruder.
      const isIntruder = nextSeq === this.seq + 1 && prev.equals(this.digest)
      if (isIntruder)
        this.#find('inserted', firstSeq, firstSeq, `a chunk at ${firstSeq} is inserted`)
      else this.#findChanged(this.#chunkSeq, this.seq)
    } else if (prev.equals(this.#chain.next(this.digest, held))) {
      // With the digest that it should have, what follows fits: only what it says of it is wrong.
      this.#findChanged(firstSeq, lastSeqOf(held))
    } else if (prev.equals(this.#chain.next(held.prev, held))) {
      // It fits what follows: the chunk before it is not the one that it was written after.
      this.#findChanged(this.#chunkSeq, this.seq)
    } else if (this.#hasContentOf(held)) {
      this.#find('changed', this.#chunkSeq, lastSeqOf(held), 'it and the next chunk are swapped')
    } else {
      const what =
        'it fits neither what is before it nor what follows; the one before may be changed'
      this.#find('changed', firstSeq, lastSeqOf(held), what)
    }
  }

  /** Whether the content of the chunk in question was written in the one before it. */
  #hasContentOf({ prev, n, payload }: StoredChunk): boolean {
    const last = this.#last
    return last !== undefined && prev.equals(this.#chain.next(last.prev, { ...last, n, payload }))
  }

  /** If the chunk is as it was written, so is the record; else all of the chunk is in question. */
  #judgeDefect({ seq, what }: { seq: number; what: string }, prev: Buffer): void {
    if (prev.equals(this.digest)) this.#find('unreadable', seq, seq, what)
    else this.#find('changed', this.#chunkSeq, seq, `record ${seq}: ${what}`)
  }

  #readRecords(chunk: StoredChunk): void {
    this.#chunkSeq = chunk.firstSeq
    this.#part = chunk.part
    this.#last = chunk
    try {
      this.#replay.read(chunk, (words, at, seq) => {
        if (this.#defect !== undefined) return
        const what = this.#checkRecord(words, at, seq)
        if (what !== undefined) this.#defect = { seq, what }
      })
    } catch (error) {
      const last = Math.max(chunk.firstSeq, this.#replay.seq + 1)
      this.#find('changed', chunk.firstSeq, last, reasonOf(error as Error))
    }
  }

  #findChanged(seq: number, lastSeq: number): void {
    this.#find('changed', seq, lastSeq, 'what is there is not what was written: the digests differ')
  }

  #find(code: FindingCode, seq: number, lastSeq: number, what: string): void {
    this.finding ??= { stream: this.#stream, seq, lastSeq, code, what }
  }
}

function lastSeqOf({ firstSeq, n }: StoredChunk): number {
  return firstSeq + Math.max(1, n) - 1
}

/** Without what the finding says anyway. */
function reasonOf({ message }: Error): string {
  return message.replace(/^stream \d+ is damaged at seq \d+ part \d+: /, '')
}
