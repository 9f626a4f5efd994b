import type { Key } from '../key.js'

/**
 * Pending holds: what each still reserves, and which expires next.
 */

export interface HoldPosting {
  /** Keys of the accounts, which may be on other shards. */
  debit: Key
  credit: Key
  currency: string
  scale: number
  /** Minor units still reserved. */
  remaining: bigint
}

export interface Hold {
  /** Row of the hold's transaction. */
  row: number
  postings: HoldPosting[]
  /** Milliseconds since 1970; Infinity for a hold that does not expire. */
  expiresAt: number
  /** Its post, void or expiry is being decided together with other shards. */
  busy: boolean
  /** It is in the queue of those that expire. */
  queued: boolean
}

export class HoldTable {
  readonly #holds = new Map<number, Hold>()
  /** A binary heap by `expiresAt`; a hold that has ended, is busy or is postponed is skipped. */
  readonly #heap: Hold[] = []
  readonly #postponed = new Set<Hold>()

  get count(): number {
    return this.#holds.size
  }

  get(row: number): Hold | undefined {
    return this.#holds.get(row)
  }

  add(hold: Hold): void {
    this.#holds.set(hold.row, hold)
    this.#queue(hold)
  }

  /** The hold's transaction has got another row. */
  move(from: number, to: number): void {
    const hold = this.#holds.get(from)
    if (hold === undefined) return
    this.#holds.delete(from)
    hold.row = to
    this.#holds.set(to, hold)
  }

  /** The decision on a busy hold has fallen; if it goes on, it may expire. */
  resume(hold: Hold): void {
    hold.busy = false
    this.#queue(hold)
  }

  /**
   * The hold's expiry was prevented: it comes up again after `takeUpPostponed`. When that is, the
   * wall clock has no say in: the time of records stands still after the clock was set back.
   */
  postpone(hold: Hold): void {
    hold.busy = false
    this.#postponed.add(hold)
  }

  get hasPostponed(): boolean {
    return this.#postponed.size > 0
  }

  takeUpPostponed(): void {
    const holds = [...this.#postponed]
    this.#postponed.clear()
    for (const hold of holds) this.#queue(hold)
  }

  remove(row: number): void {
    this.#holds.delete(row)
    if (this.#heap.length > 64 && this.#heap.length > this.#holds.size * 4) this.#rebuildHeap()
  }

  /** The pending hold that expires next, or undefined. */
  nextToExpire(): Hold | undefined {
    for (;;) {
      const first = this.#heap[0]
      if (first === undefined) return undefined
      if (this.#mayExpire(first) && !this.#postponed.has(first)) return first
      this.#pop()
    }
  }

  all(): IterableIterator<Hold> {
    return this.#holds.values()
  }

  /** Ended holds stay in the heap until they come up; forget them once they are most of it. */
  #rebuildHeap(): void {
    for (const hold of this.#heap) hold.queued = false
    this.#heap.length = 0
    for (const hold of this.#holds.values()) this.#queue(hold)
  }

  #queue(hold: Hold): void {
    if (!hold.queued && this.#mayExpire(hold)) this.#push(hold)
  }

  #mayExpire(hold: Hold): boolean {
    const isPending = this.#holds.get(hold.row) === hold
    return isPending && !hold.busy && hold.expiresAt !== Number.POSITIVE_INFINITY
  }

  #push(hold: Hold): void {
    const heap = this.#heap
    hold.queued = true
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
    heap[0].queued = false
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
