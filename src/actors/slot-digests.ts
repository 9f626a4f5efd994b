import type { Clock } from '../clock.js'
import type { Book } from './book.js'
import { SlotIndex } from './slot-index.js'

/** Rows that are sorted by slot between two events: less than a millisecond. */
const indexSliceRows = 20_000
/** Digests that wait until what they rest on is durable; whoever comes then is told to ask again. */
const waitingMax = 64

export interface SlotDigest {
  /** The last record that the digest takes into account; durable. */
  seq: number
  digest: bigint
  /** By stream: transactions up to there that are not pending are left out. */
  horizon: [stream: number, seq: number][]
}

/** Digests of a shard's slots, for who compares its memory with the journal. */
export class SlotDigests {
  readonly #book: Book
  readonly #clock: Clock
  readonly #seqs: { written(): number; durable(): number }
  /** In the order of their seqs. */
  readonly #waiting: { seq: number; resolve: () => void }[] = []
  #asked = 0
  #index: SlotIndex | undefined

  /** `seqs` tell of the last record that was written, and the last that is durable. */
  constructor(book: Book, clock: Clock, seqs: { written(): number; durable(): number }) {
    this.#book = book
    this.#clock = clock
    this.#seqs = seqs
  }

  /**
   * Digest of a slot's actors, or of the parts of striped accounts. The rows of the slot are looked
   * for in slices. Undefined if too many are asked for at once.
   */
  async of(slot: number): Promise<SlotDigest | undefined> {
    if (this.#asked >= waitingMax) return undefined
    this.#asked += 1
    try {
      const index = this.#index ?? new SlotIndex(this.#book)
      this.#index = index
      while (!index.advance(indexSliceRows)) {
        await new Promise<void>((resolve) => this.#clock.nextTick(resolve))
      }
      const horizon = [...this.#book.letGo.horizon]
      const digest = index.digestOf(slot, this.#book.letGo.horizon)
      const seq = this.#seqs.written()
      if (seq > this.#seqs.durable()) {
        await new Promise<void>((resolve) => this.#waiting.push({ seq, resolve }))
      }
      return { seq, digest, horizon }
    } finally {
      this.#asked -= 1
    }
  }

  onDurable(seq: number): void {
    while (this.#waiting.length > 0 && this.#waiting[0].seq <= seq) this.#waiting.shift()?.resolve()
  }
}
