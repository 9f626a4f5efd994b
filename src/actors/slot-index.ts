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

class SlotRows {
  readonly #keys: KeyTable
  readonly #rows: number[][] = Array.from({ length: slotCount }, () => [])
  /** Rows are only ever added, and none changes its key, until some are let go. */
  #seen = 0
  #freedBlocks = 0

  constructor(keys: KeyTable) {
    this.#keys = keys
  }

  get isComplete(): boolean {
    return this.#seen === this.#keys.count && this.#freedBlocks === this.#keys.freedBlocks
  }

  advance(rowsMax: number): number {
    if (this.#freedBlocks !== this.#keys.freedBlocks) this.#restart()
    const end = Math.min(this.#keys.count, this.#seen + rowsMax)
    const seen = end - this.#seen
    for (; this.#seen < end; this.#seen++) {
      const row = this.#keys.rowAt(this.#seen)
      this.#rows[slotOf(this.#keys.keyOf(row))].push(row)
    }
    return seen
  }

  #restart(): void {
    this.#freedBlocks = this.#keys.freedBlocks
    this.#seen = 0
    for (const rows of this.#rows) rows.length = 0
  }

  rowsOf(slot: number): readonly number[] {
    return this.#rows[slot]
  }
}
