import { paddedLength, RecordKind, Word } from '../journal/record.js'
import type { Book } from './book.js'
import type { KeyTable } from './key-table.js'

/**
 * Touches what the records of a chunk are going to need, before they are applied one after the
 * other. In tables larger than the caches each look-up waits for memory; here none depends on the
 * one before it, so that the processor waits for several at a time. It changes nothing, and a wrong
 * guess costs nothing but time: without it a replay gives the same book, a sixth slower.
 */
export class Foresight {
  readonly #book: Book
  /** A chunk has fewer postings than this; two accounts each. */
  readonly #rows = new Int32Array(256)
  /** Of no use but that what has been touched is used, and so not optimised away. */
  #touched = 0

  constructor(book: Book) {
    this.#book = book
  }

  /** The records are in `words` from 0 to before `end`. */
  lookAhead(words: Uint32Array, end: number): void {
    const { accounts, transactions } = this.#book
    const rows = this.#rows
    let count = 0
    let touched = 0
    for (let at = 0; at < end && count < rows.length; ) {
      const length = words[at + Word.length]
      if ((words[at] & 0xff) === RecordKind.posting) {
        const tenant = words[at + Word.tenant]
        rows[count] = guess(accounts.keys, tenant, words, at + Word.debit)
        rows[count + 1] = guess(accounts.keys, tenant, words, at + Word.credit)
        count += 2
        touched += guess(transactions.keys, tenant, words, at + Word.id)
      }
      // A damaged length is found when the chunk is read.
      at += Math.max(1, paddedLength(length) >>> 2)
    }
    for (let index = 0; index < count; index++) {
      const row = rows[index]
      if (row >= 0) touched += accounts.keys.tenantOf(row) + accounts.touchedSeq.get(row)
    }
    this.#touched = touched
  }

  get touched(): number {
    return this.#touched
  }
}

function guess(keys: KeyTable, tenant: number, words: Uint32Array, key: number): number {
  return keys.guess(tenant, words[key], words[key + 1], words[key + 2], words[key + 3])
}
