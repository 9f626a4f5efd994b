import { keyOf, slotOf } from '../../../src/key.js'
import type { Tables } from '../postgres/simulated-postgres.js'
import type { Ownership } from './told-records.js'

/** Which stream owns which key in the newest generation, as the book's row says. */
export class StreamOwners implements Ownership {
  readonly #tables: () => Tables
  #generation = 0
  #streams: number[] = []

  constructor(tables: () => Tables) {
    this.#tables = tables
  }

  streamOf(id: string): number {
    return this.#tables().book.slots.readInt32BE(slotOfText(id) * 4)
  }

  streams(): readonly number[] {
    const { book, streams } = this.#tables()
    if (this.#generation !== book.generation) {
      this.#generation = book.generation
      this.#streams = [...streams.values()].filter((row) => !row.closed).map(({ id }) => id)
    }
    return this.#streams
  }
}

const slots = new Map<string, number>()

function slotOfText(id: string): number {
  let slot = slots.get(id)
  if (slot === undefined) {
    const key = keyOf(1, id)
    if (key === undefined) throw new Error(`not a key: ${id}`)
    slot = slotOf(key)
    slots.set(id, slot)
  }
  return slot
}
