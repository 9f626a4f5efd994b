import { slotCount, slotOf } from '../key.js'
import type { Book } from './book.js'
import { rowsDigest } from './digest.js'
import type { KeyTable } from './key-table.js'
import type { Positions } from './let-go.js'

/** In place of a slot: the parts of all striped accounts. */
export const stripedParts = -1

/** The rows of a book by slot, found a slice at a time so that nobody waits for long. */
export class SlotIndex {
  readonly #book: Book
  readonly #accounts: SlotRows
  readonly #transactions: SlotRows

  constructor(book: Book) {
    this.#book = book
    this.#accounts = new SlotRows(book.accounts.keys)
    this.#transactions = new SlotRows(book.transactions.keys)
  }

  /** Looks at so many rows that it has not seen yet; false if there are more. */
  advance(rowsMax: number): boolean {
    const left = rowsMax - this.#accounts.advance(rowsMax)
    return this.#transactions.advance(left) < left || this.#isComplete
  }

  get #isComplete(): boolean {
    return this.#accounts.isComplete && this.#transactions.isComplete
  }

  /**
   * Digest of the actors of a slot, or of {@link stripedParts}, without the transactions up to
   * `horizon` that are not pending; all rows must have been seen.
   */
  digestOf(slot: number, horizon: Positions): bigint {
    const accounts =
      slot === stripedParts ? this.#book.accounts.stripedRows : this.#accounts.rowsOf(slot)
    const transactions = slot === stripedParts ? [] : this.#transactions.rowsOf(slot)
    return rowsDigest(this.#book, { accounts, transactions }, horizon)
  }
}

/**
 * Rows are only ever added as the newest and let go of as the oldest. A row is noted by its place
 * among all that there ever were, which stays when older ones are let go.
 */
class SlotRows {
  readonly #keys: KeyTable
  readonly #places: number[][] = Array.from({ length: slotCount }, () => [])
  #seen = 0
  #droppedTo = 0

  constructor(keys: KeyTable) {
    this.#keys = keys
  }

  get isComplete(): boolean {
    return this.#seen === this.#end
  }

  get #end(): number {
    return this.#keys.freedRows + this.#keys.count
  }

  advance(rowsMax: number): number {
    const freed = this.#keys.freedRows
    // Now and then: slots that nobody asks for must not keep the places of what is gone.
    if (freed - this.#droppedTo > this.#keys.count) {
      for (const places of this.#places) drop(places, freed)
      this.#droppedTo = freed
    }
    this.#seen = Math.max(this.#seen, freed)
    const end = Math.min(this.#end, this.#seen + rowsMax)
    const seen = end - this.#seen
    for (; this.#seen < end; this.#seen++) {
      const row = this.#keys.rowAt(this.#seen - freed)
      this.#places[slotOf(this.#keys.keyOf(row))].push(this.#seen)
    }
    return seen
  }

  rowsOf(slot: number): readonly number[] {
    const freed = this.#keys.freedRows
    const places = this.#places[slot]
    drop(places, freed)
    return places.map((place) => this.#keys.rowAt(place - freed))
  }
}

/** Takes the places before `freed` away, which come first. */
function drop(places: number[], freed: number): void {
  const kept = places.findIndex((place) => place >= freed)
  places.splice(0, kept < 0 ? places.length : kept)
}
