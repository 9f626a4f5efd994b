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
  /** When its expiry is to be tried; later than `expiresAt` only after an attempt that failed. */
  dueAt: number
  /** It is in the queue of those that expire. */
  queued: boolean
}

export class HoldTable {
  readonly #holds = new Map<number, Hold>()
  /** A binary heap by the time it is due; a hold that has ended or is busy is skipped. */
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

  /** The decision on a busy hold has fallen; if it goes on, it is to be tried at `dueAt` again. */
  resume(hold: Hold, dueAt: number): void {
    hold.busy = false
    const isPending = this.#holds.get(hold.row) === hold
    if (!isPending || hold.expiresAt === Number.POSITIVE_INFINITY) return
    if (hold.queued && hold.dueAt === dueAt) return
    // The hold that has just come up is the first: it only goes further down.
    if (hold.queued && this.#heap[0] === hold) this.#pop()
    hold.dueAt = dueAt
    if (hold.queued) this.#rebuildHeap()
    else this.#push(hold)
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
      if (this.#holds.get(first.row) === first && !first.busy) return first
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
    for (const hold of this.#holds.values()) {
      if (hold.expiresAt !== Number.POSITIVE_INFINITY && !hold.busy) this.#push(hold)
    }
  }

  #push(hold: Hold): void {
    const heap = this.#heap
    hold.queued = true
    let index = heap.push(hold) - 1
    while (index > 0) {
      const parent = (index - 1) >> 1
      if (heap[parent].dueAt <= hold.dueAt) break
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
      if (child + 1 < heap.length && heap[child + 1].dueAt < heap[child].dueAt) child += 1
      if (heap[child].dueAt >= last.dueAt) break
      heap[index] = heap[child]
      index = child
    }
    heap[index] = last
  }
}
