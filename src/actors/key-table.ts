/**
 * Rows named by (tenant, key): the part that accounts and transactions share.
 *
 * Rows live in pages of typed arrays, so that growing never copies what is there. The index over
 * them is open addressing, cut into segments that double one at a time: no single insert pays for
 * rehashing the whole table. The hash is seeded per process and uses all bits, because keys come
 * from outside.
 *
 * Rows are given out block by block, and blocks are in the order of their age: the oldest one can be
 * emptied, and is used again when a new one is needed.
 */
import type { Key } from '../key.js'
import { pageMask, pageRows, pageShift } from './column.js'

const segmentBits = 8
const segmentCount = 1 << segmentBits
const segmentSizeMin = 16
/** Of a cell: the row plus 1, 0 if it is free; and the hash, so that others are passed over unseen. */
const cellWords = 2
/** Of a key and its tenant. */
const nameWords = 5
/** Rows of a block, unless a test wants smaller ones; a power of two, no more than those of a page. */
const blockRowsDefault = 1024

export class KeyTable {
  /** Rows in use: 0 to count - 1, as long as none has been removed. */
  count = 0
  /** Blocks that have been emptied: rows have changed their places since. */
  freedBlocks = 0
  readonly #blockRows: number
  /** Row of the next insert, unless a new block begins with it. */
  #next = 0
  /** First rows of the blocks in use, oldest first, and of those that are free. */
  readonly #blocks: number[] = []
  readonly #free: number[] = []
  /** Key and tenant of a row side by side: whoever compares the one compares the other. */
  readonly #names: Uint32Array[] = []
  readonly #segments: Int32Array[] = []
  readonly #segmentCounts = new Int32Array(segmentCount)
  readonly #seedA: number
  readonly #seedB: number
  readonly #addPages: () => void

  /** `addPages` is called whenever rows need one more page in every column. */
  constructor(seed: [number, number], addPages: () => void, blockRows = blockRowsDefault) {
    this.#seedA = seed[0]
    this.#seedB = seed[1]
    this.#addPages = addPages
    this.#blockRows = blockRows
    for (let segment = 0; segment < segmentCount; segment++) {
      this.#segments.push(new Int32Array(segmentSizeMin * cellWords))
    }
  }

  /** Makes room in the index for so many rows in all, so that filling it does not move them. */
  reserve(rows: number): void {
    let size = segmentSizeMin
    while (size * segmentCount * 3 < rows * 4) size *= 2
    for (const [segment, cells] of this.#segments.entries()) {
      if (cells.length < size * cellWords) this.#growSegment(segment, size)
    }
  }

  /** Row of (tenant, key), or -1. */
  find(tenant: number, w0: number, w1: number, w2: number, w3: number): number {
    const hash = this.#hash(tenant, w0, w1, w2, w3)
    const cells = this.#segments[hash >>> (32 - segmentBits)]
    const mask = cells.length - 1
    let cell = (hash << 1) & mask
    for (;;) {
      const row = cells[cell] - 1
      if (row < 0) return -1
      if (cells[cell + 1] === hash && this.#isNamed(row, tenant, w0, w1, w2, w3)) return row
      cell = (cell + cellWords) & mask
    }
  }

  #isNamed(row: number, tenant: number, w0: number, w1: number, w2: number, w3: number): boolean {
    const names = this.#names[row >>> pageShift]
    const at = (row & pageMask) * nameWords
    return (
      names[at] === w0 &&
      names[at + 1] === w1 &&
      names[at + 2] === w2 &&
      names[at + 3] === w3 &&
      names[at + 4] === tenant
    )
  }

  /** Row that is probably that of (tenant, key), or -1: what the first look into the index says. */
  guess(tenant: number, w0: number, w1: number, w2: number, w3: number): number {
    const hash = this.#hash(tenant, w0, w1, w2, w3)
    const cells = this.#segments[hash >>> (32 - segmentBits)]
    return cells[(hash << 1) & (cells.length - 1)] - 1
  }

  findKey(tenant: number, key: Key): number {
    return this.find(tenant, key.w0, key.w1, key.w2, key.w3)
  }

  /** Adds a row for a key that the caller has looked up and not found; returns the row. */
  insert(tenant: number, w0: number, w1: number, w2: number, w3: number): number {
    const row = (this.#next & (this.#blockRows - 1)) === 0 ? this.#beginBlock() : this.#next
    const names = this.#names[row >>> pageShift]
    const at = (row & pageMask) * nameWords
    names[at] = w0
    names[at + 1] = w1
    names[at + 2] = w2
    names[at + 3] = w3
    names[at + 4] = tenant
    this.#next = row + 1
    this.count += 1

    const hash = this.#hash(tenant, w0, w1, w2, w3)
    const segment = hash >>> (32 - segmentBits)
    this.#segmentCounts[segment] += 1
    const size = this.#segments[segment].length / cellWords
    if (this.#segmentCounts[segment] * 4 > size * 3) this.#growSegment(segment, size * 2)
    place(this.#segments[segment], hash, row)
    return row
  }

  /** Takes the name of a row out of the index; its block must be given back as a whole. */
  remove(row: number): void {
    const names = this.#names[row >>> pageShift]
    const at = (row & pageMask) * nameWords
    const [w0, w1, w2, w3] = [names[at], names[at + 1], names[at + 2], names[at + 3]]
    const hash = this.#hash(names[at + 4], w0, w1, w2, w3)
    const segment = hash >>> (32 - segmentBits)
    const cells = this.#segments[segment]
    const mask = cells.length - 1
    let cell = (hash << 1) & mask
    while (cells[cell] !== row + 1) {
      if (cells[cell] === 0) throw new RangeError(`row ${row} is not in the table`)
      cell = (cell + cellWords) & mask
    }
    clear(cells, cell)
    this.#segmentCounts[segment] -= 1
    this.count -= 1
  }

  /** Rows of the oldest block, none of which has been removed; none while that is being filled. */
  oldestBlock(): { first: number; end: number } | undefined {
    if (this.#blocks.length < 2) return undefined
    return { first: this.#blocks[0], end: this.#blocks[0] + this.#blockRows }
  }

  /** The rows of the oldest block have all been removed, and are free. */
  freeOldestBlock(): void {
    const first = this.#blocks.shift()
    if (first !== undefined) this.#free.push(first)
    this.freedBlocks += 1
  }

  /** Rows that there were in the blocks that have been emptied. */
  get freedRows(): number {
    return this.freedBlocks * this.#blockRows
  }

  /** The row at a place in the order of age, 0 to count - 1. */
  rowAt(place: number): number {
    const within = place & (this.#blockRows - 1)
    return this.#blocks[(place - within) / this.#blockRows] + within
  }

  /** All rows in the order of their age. */
  *rows(): Iterable<number> {
    for (let place = 0; place < this.count; place++) yield this.rowAt(place)
  }

  #beginBlock(): number {
    const first = this.#free.pop() ?? this.#blocks.length * this.#blockRows
    this.#blocks.push(first)
    if (first >>> pageShift === this.#names.length) {
      this.#names.push(new Uint32Array(pageRows * nameWords))
      this.#addPages()
    }
    return first
  }

  tenantOf(row: number): number {
    return this.#names[row >>> pageShift][(row & pageMask) * nameWords + 4]
  }

  keyOf(row: number): Key {
    const names = this.#names[row >>> pageShift]
    const at = (row & pageMask) * nameWords
    return { w0: names[at], w1: names[at + 1], w2: names[at + 2], w3: names[at + 3] }
  }

  /** Copies the key of `row` into `words` at `index`. */
  copyKey(row: number, words: Uint32Array, index: number): void {
    const names = this.#names[row >>> pageShift]
    const at = (row & pageMask) * nameWords
    words[index] = names[at]
    words[index + 1] = names[at + 1]
    words[index + 2] = names[at + 2]
    words[index + 3] = names[at + 3]
  }

  #growSegment(segment: number, size: number): void {
    const old = this.#segments[segment]
    const cells = new Int32Array(size * cellWords)
    for (let cell = 0; cell < old.length; cell += cellWords) {
      if (old[cell] !== 0) place(cells, old[cell + 1], old[cell] - 1)
    }
    this.#segments[segment] = cells
  }

  #hash(tenant: number, w0: number, w1: number, w2: number, w3: number): number {
    let a = Math.imul(w0 ^ this.#seedA, 0x9e3779b1)
    let b = Math.imul(w1 ^ this.#seedB, 0x85ebca77)
    a = Math.imul((a ^ (a >>> 15)) + w2, 0xc2b2ae3d)
    b = Math.imul((b ^ (b >>> 13)) + w3, 0x27d4eb2f)
    a = Math.imul(a ^ (b >>> 16) ^ tenant, 0x165667b1)
    b = Math.imul((b ^ (a >>> 15)) + this.#seedA, 0x9e3779b1)
    a = (a ^ b) + this.#seedB
    a = Math.imul(a ^ (a >>> 16), 0x85ebca6b)
    a = Math.imul(a ^ (a >>> 13), 0xc2b2ae35)
    return a ^ (a >>> 16)
  }
}

function place(cells: Int32Array, hash: number, row: number): void {
  const mask = cells.length - 1
  let cell = (hash << 1) & mask
  while (cells[cell] !== 0) cell = (cell + cellWords) & mask
  cells[cell] = row + 1
  cells[cell + 1] = hash
}

/** Frees a cell, and moves up what lies behind it only because it was taken. */
function clear(cells: Int32Array, cell: number): void {
  const mask = cells.length - 1
  let hole = cell
  let next = (cell + cellWords) & mask
  while (cells[next] !== 0) {
    const home = (cells[next + 1] << 1) & mask
    if (((next - home) & mask) >= ((next - hole) & mask)) {
      cells[hole] = cells[next]
      cells[hole + 1] = cells[next + 1]
      hole = next
    }
    next = (next + cellWords) & mask
  }
  cells[hole] = 0
  cells[hole + 1] = 0
}
