import { slotCount, slotOfWords } from '../key.js'

/**
 * Which ids may have been added: it says yes of every one that was, and of few others. A Bloom
 * filter for each slot, so that a shard of another layout takes over those of its slots. A filter
 * that is full gets another layer beside it; a slot of many ids, such as that of a hot account, has
 * few layers, for each is larger than the one before.
 *
 * Two bytes an id. A full layer takes one id in 1,700 for one of its own, so that a slot with a
 * million ids, of 12 layers, does so with one in 150.
 *
 * A layer of capacity n has 16 n bits, of which an id sets those numbered a, a + b, a + 2b, …
 * modulo 16 n, with a and b of a fixed hash: layers are kept in snapshots.
 */
export class IdFilter {
  /** Ids added. */
  count = 0
  /** Of all layers. */
  byteLength = 0
  readonly #slots: FilterLayer[][] = Array.from({ length: slotCount }, () => [])

  add(tenant: number, w0: number, w1: number, w2: number, w3: number): void {
    const layers = this.#slots[slotOfWords(w0, w1, w2, w3)]
    let layer = layers.at(-1)
    if (layer === undefined || layer.count === layer.capacity) {
      const capacity = layer === undefined ? capacityMin : nextCapacity(layer.capacity)
      layer = { capacity, count: 0, bits: new Uint8Array((capacity * bitsPerId) / 8) }
      layers.push(layer)
      this.byteLength += layer.bits.length
    }
    hash(tenant, w0, w1, w2, w3)
    const mask = layer.capacity * bitsPerId - 1
    for (let probe = 0, bit = hashed.a; probe < probes; probe++, bit += hashed.b) {
      layer.bits[(bit & mask) >>> 3] |= 1 << (bit & 7)
    }
    layer.count += 1
    this.count += 1
  }

  /** False: it was not added. True: perhaps it was. */
  mayHave(tenant: number, w0: number, w1: number, w2: number, w3: number): boolean {
    const layers = this.#slots[slotOfWords(w0, w1, w2, w3)]
    if (layers.length === 0) return false
    hash(tenant, w0, w1, w2, w3)
    for (let index = layers.length - 1; index >= 0; index--) {
      if (hasAll(layers[index])) return true
    }
    return false
  }

  /** The layers of a slot, the first one first. */
  layersOf(slot: number): readonly FilterLayer[] {
    return this.#slots[slot]
  }

  /** Adds a layer as {@link layersOf} gave it. */
  addLayer(slot: number, layer: FilterLayer): void {
    this.#slots[slot].push(layer)
    this.count += layer.count
    this.byteLength += layer.bits.length
  }
}

export interface FilterLayer {
  /** Ids that it is made for; a power of two. */
  capacity: number
  count: number
  bits: Uint8Array
}

const bitsPerId = 16
const probes = 8
const capacityMin = 64
/** Up to here layers are small, and so each may be much larger than the one before. */
const smallCapacityMax = 4096

function nextCapacity(capacity: number): number {
  return capacity < smallCapacityMax ? capacity * 4 : capacity * 2
}

/** Bytes of the bits of a layer. */
export function layerBytes(capacity: number): number {
  return (capacity * bitsPerId) / 8
}

/** The last id that was hashed. */
const hashed = { a: 0, b: 0 }

function hasAll({ capacity, bits }: FilterLayer): boolean {
  const mask = capacity * bitsPerId - 1
  for (let probe = 0, bit = hashed.a; probe < probes; probe++, bit += hashed.b) {
    if ((bits[(bit & mask) >>> 3] & (1 << (bit & 7))) === 0) return false
  }
  return true
}

/** Two lanes of the mixing of MurmurHash3 (Austin Appleby, public domain). Never to be changed. */
function hash(tenant: number, w0: number, w1: number, w2: number, w3: number): void {
  let a = mix(mix(mix(mix(mix(0x2545f491, tenant), w0), w1), w2), w3)
  let b = mix(mix(mix(mix(mix(0x7feb352d, w3), w2), w1), w0), tenant)
  a = finish(a)
  b = finish(b ^ a)
  hashed.a = a
  hashed.b = b | 1
}

function mix(hash: number, word: number): number {
  let k = Math.imul(word, 0xcc9e2d51)
  k = Math.imul((k << 15) | (k >>> 17), 0x1b873593)
  const h = hash ^ k
  return (Math.imul((h << 13) | (h >>> 19), 5) + 0xe6546b64) | 0
}

function finish(hash: number): number {
  let h = hash
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b)
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35)
  return (h ^ (h >>> 16)) >>> 0
}
