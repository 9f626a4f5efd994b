/**
 * Pending holds: what each still reserves, and which expires next.
 */

export interface HoldPosting {
  /** Rows of the accounts. */
  debit: number
  credit: number
  /** Minor units still reserved. */
  remaining: bigint
}

export interface Hold {
  /** Row of the hold's transaction. */
  row: number
  postings: HoldPosting[]
  /** Milliseconds since 1970; Infinity for a hold that does not expire. */
  expiresAt: number
}

export class HoldTable {
  readonly #holds = new Map<number, Hold>()
  /** A binary heap by expiry; a hold that has ended is skipped when it comes up. */
  readonly #heap: Hold[] = []

  get count(): number {
    return this.#holds.size
  }

  get(row: number): Hold | undefined {
    return this.#holds.get(row)
  }

  add(hold: Hold): void {
    this.#holds.set(hold.row, hold)
    if (hold.expiresAt !== Number.POSITIVE_INFINITY) this.#push(hold)
  }

  remove(row: number): void {
    this.#holds.delete(row)
    if (this.#heap.length > 64 && this.#heap.length > this.#holds.size * 4) this.#rebuildHeap()
  }

  /** The pending hold that expires next, or undefined. */
  nextToExpire(): Hold | undefined {
    for (;;) {
      const first = this.#heap[0]
      if (first === undefined || this.#holds.get(first.row) === first) return first
      this.#pop()
    }
  }

  all(): IterableIterator<Hold> {
    return this.#holds.values()
  }

  /** Ended holds stay in the heap until they come up; forget them once they are most of it. */
  #rebuildHeap(): void {
    this.#heap.length = 0
    for (const hold of this.#holds.values()) {
      if (hold.expiresAt !== Number.POSITIVE_INFINITY) this.#push(hold)
    }
  }

  #push(hold: Hold): void {
    const heap = this.#heap
    let index = heap.push(hold) - 1
    while (index > 0) {
      const parent = (index - 1) >> 1
      if (heap[parent].expiresAt <= hold.expiresAt) break
      heap[index] = heap[parent]
      index = parent
    }
    heap[index] = hold
  }

  #pop(): void {
    const heap = this.#heap
    const last = heap.pop()
    if (last === undefined || heap.length === 0) return
    let index = 0
    for (;;) {
      let child = 2 * index + 1
      if (child >= heap.length) break
      if (child + 1 < heap.length && heap[child + 1].expiresAt < heap[child].expiresAt) child += 1
      if (heap[child].expiresAt >= last.expiresAt) break
      heap[index] = heap[child]
      index = child
    }
    heap[index] = last
  }
}
