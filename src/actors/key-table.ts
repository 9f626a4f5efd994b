/**
 * Rows named by (tenant, key): the part that accounts and transactions share.
 *
 * Rows live in pages of typed arrays, so that growing never copies what is there. The index over
 * them is open addressing, cut into segments that double one at a time: no single insert pays for
 * rehashing the whole table. The hash is seeded per process and uses all bits, because keys come
 * from outside.
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

export class KeyTable {
  /** Rows in use: 0 to count - 1. */
  count = 0
  /** Key and tenant of a row side by side: whoever compares the one compares the other. */
  readonly #names: Uint32Array[] = []
  readonly #segments: Int32Array[] = []
  readonly #segmentCounts = new Int32Array(segmentCount)
  readonly #seedA: number
  readonly #seedB: number
  readonly #addPages: () => void

  /** `addPages` is called whenever rows need one more page in every column. */
  constructor(seed: [number, number], addPages: () => void) {
    this.#seedA = seed[0]
    this.#seedB = seed[1]
    this.#addPages = addPages
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
    const row = this.count
    if (row >>> pageShift === this.#names.length) {
      this.#names.push(new Uint32Array(pageRows * nameWords))
      this.#addPages()
    }
    const names = this.#names[row >>> pageShift]
    const at = (row & pageMask) * nameWords
    names[at] = w0
    names[at + 1] = w1
    names[at + 2] = w2
    names[at + 3] = w3
    names[at + 4] = tenant
    this.count += 1

    const hash = this.#hash(tenant, w0, w1, w2, w3)
    const segment = hash >>> (32 - segmentBits)
    this.#segmentCounts[segment] += 1
    const size = this.#segments[segment].length / cellWords
    if (this.#segmentCounts[segment] * 4 > size * 3) this.#growSegment(segment, size * 2)
    place(this.#segments[segment], hash, row)
    return row
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
