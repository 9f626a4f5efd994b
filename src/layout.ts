import { slotCount } from './key.js'

/**
 * Which stream, and so which shard, owns each slot in one generation. Shards are numbered 0 to
 * N - 1 in the order of their streams' ids.
 */
export class Layout {
  readonly generation: number
  /** Streams of the generation, in order of id. */
  readonly streams: readonly number[]
  readonly #shardOfSlot: Uint8Array

  /** `streamOfSlot` has one of `streams` for each of the 1,024 slots. */
  constructor(generation: number, streamOfSlot: Int32Array) {
    this.generation = generation
    this.streams = [...new Set(streamOfSlot)].sort((a, b) => a - b)
    this.#shardOfSlot = Uint8Array.from(streamOfSlot, (stream) => this.streams.indexOf(stream))
    if (streamOfSlot.length !== slotCount) {
      throw new RangeError(`a layout has ${streamOfSlot.length} slots`)
    }
  }

  /** Number of shards. */
  get shards(): number {
    return this.streams.length
  }

  shardOf(slot: number): number {
    return this.#shardOfSlot[slot]
  }

  streamOf(slot: number): number {
    return this.streams[this.#shardOfSlot[slot]]
  }

  /** Stream of each of the 1,024 slots. */
  streamOfSlots(): Int32Array {
    return Int32Array.from({ length: slotCount }, (_, slot) => this.streamOf(slot))
  }

  /** Shard of a stream of this generation, or -1. */
  shardOfStream(stream: number): number {
    return this.streams.indexOf(stream)
  }
}

/** The most shards that a layout may have. */
export const shardsMax = 64

/** The stream of each slot in a new generation: slots are dealt out one after the other. */
export function dealSlots(streams: readonly number[]): Int32Array {
  return Int32Array.from({ length: slotCount }, (_, slot) => streams[slot % streams.length])
}
