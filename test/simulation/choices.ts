import { createHash } from 'node:crypto'
import { randomOf } from '../actors/random.js'

/**
 * All randomness of one simulated world. Each name has a stream of its own that depends on the seed
 * and the name alone, so that a world from which a step was taken away differs as little as can be.
 */
export class Choices {
  readonly seed: number
  readonly #streams = new Map<string, () => number>()

  constructor(seed: number) {
    this.seed = seed
  }

  /** Numbers from 0 up to, and without, 1. */
  of(name: string): () => number {
    let stream = this.#streams.get(name)
    if (stream === undefined) {
      const hash = createHash('sha256').update(`${this.seed} ${name}`).digest()
      stream = randomOf(hash.readUInt32LE())
      this.#streams.set(name, stream)
    }
    return stream
  }
}

/** A number from `from` up to, and without, `to`; mostly near `from`, now and then far from it. */
export function skewed(random: () => number, from: number, to: number): number {
  return from + (to - from) * random() ** 4
}
