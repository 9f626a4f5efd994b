import type { TransactionInput } from '../actors/command.js'
import { batchItemBytes } from '../actors/reply.js'
import { formatKey, type Key, slotOf } from '../key.js'

/**
 * How a batch is dealt out to the shards, each item to the shard of its id. The items of a
 * sub-batch are carried out in their order; sub-batches of one wave run side by side, waves one
 * after the other.
 */
export interface SubBatch {
  shard: number
  /** Places of its items in the batch, ascending. */
  indexes: number[]
}

export type Wave = SubBatch[]

/** What the split has to know of the shards and of striped accounts. */
export interface Placement {
  shards: number
  shardOf(slot: number): number
  /** An account with a part in every shard and no limit: no item minds what another does to it. */
  isStriped(account: Key): boolean
}

/** All or none is one decision: the whole batch goes to the shard of its first id. */
export function splitAtomic(items: readonly TransactionInput[], placement: Placement): Wave[] {
  const shard = placement.shardOf(slotOf(items[0].id))
  return [[{ shard, indexes: items.map((_, index) => index) }]]
}

/** Items in no order but that of each shard: one wave. */
export function splitUnordered(items: readonly TransactionInput[], placement: Placement): Wave[] {
  if (placement.shards === 1) return splitAtomic(items, placement)
  const wave = new OpenWave()
  for (const [index, { id }] of items.entries()) wave.add(placement.shardOf(slotOf(id)), index)
  return [wave.subBatches]
}

/**
 * Waves whose outcome is that of the items one after the other. Two items of a wave have an
 * account in common only if one shard has everything that either of them names, and so decides
 * them in their order. The ids of the items must differ.
 */
export function splitOrdered(items: readonly TransactionInput[], placement: Placement): Wave[] {
  if (placement.shards === 1) return splitAtomic(items, placement)
  const waves: Wave[] = []
  let wave = new OpenWave()
  for (const [index, item] of items.entries()) {
    const accounts = accountsOf(item).filter((account) => !placement.isStriped(account))
    const shard = placement.shardOf(slotOf(item.id))
    const isLocal = accounts.every((account) => placement.shardOf(slotOf(account)) === shard)
    const reach = isLocal ? shard : severalShards
    const names = accounts.map(formatKey)
    if (names.some((name) => wave.conflicts(name, reach))) {
      waves.push(wave.subBatches)
      wave = new OpenWave()
    }
    wave.add(shard, index)
    for (const name of names) wave.reach.set(name, reach)
  }
  waves.push(wave.subBatches)
  return waves
}

const severalShards = -1

class OpenWave {
  readonly #byShard = new Map<number, SubBatch>()
  /** Of each account named so far: the shard that has all of the items naming it, or none has. */
  readonly reach = new Map<string, number>()

  get subBatches(): Wave {
    return [...this.#byShard.values()]
  }

  add(shard: number, index: number): void {
    const known = this.#byShard.get(shard)
    if (known === undefined) this.#byShard.set(shard, { shard, indexes: [index] })
    else known.indexes.push(index)
  }

  conflicts(account: string, reach: number): boolean {
    const known = this.reach.get(account)
    return known !== undefined && (known === severalShards || known !== reach)
  }
}

/** Every account whose state the outcome of an item may depend on. */
function accountsOf({ postings, conditions }: TransactionInput): Key[] {
  return [
    ...postings.flatMap(({ debit, credit }) => [debit, credit]),
    ...conditions.map(({ account }) => account),
  ]
}

/** Results of some items of a batch, 16 bytes each, as a shard wrote them. */
export interface SubBatchItems {
  indexes: readonly number[]
  items: Buffer
}

/** The results of all items in the order of the batch; every item must have one. */
export function mergeItems(count: number, parts: readonly SubBatchItems[]): Buffer {
  if (parts.length === 1 && parts[0].indexes.length === count) return parts[0].items
  const merged = Buffer.alloc(count * batchItemBytes)
  const out = wordsOf(merged)
  let placed = 0
  for (const { indexes, items } of parts) {
    const words = wordsOf(items)
    for (const [place, index] of indexes.entries()) {
      for (let word = 0; word < itemWords; word++) {
        out[index * itemWords + word] = words[place * itemWords + word]
      }
    }
    placed += indexes.length
  }
  if (placed !== count) throw new Error(`${placed} of ${count} items have a result`)
  return merged
}

const itemWords = batchItemBytes / 4

function wordsOf(items: Buffer): Uint32Array {
  return new Uint32Array(items.buffer, items.byteOffset, items.length / 4)
}

/** Results of `count` items that were refused together. */
export function refusedItems(count: number, refusal: number): Buffer {
  const items = Buffer.alloc(count * batchItemBytes)
  for (let index = 0; index < count; index++) {
    items[index * batchItemBytes] = refusedOutcome
    items.writeUInt16LE(refusal, index * batchItemBytes + 2)
  }
  return items
}

const refusedOutcome = 2

/** The greatest seq of each stream, in order of stream. */
export function mergePositions(
  positions: readonly { stream: number; seq: number }[],
): { stream: number; seq: number }[] {
  const greatest = new Map<number, number>()
  for (const { stream, seq } of positions) {
    greatest.set(stream, Math.max(seq, greatest.get(stream) ?? 0))
  }
  return [...greatest].sort(([a], [b]) => a - b).map(([stream, seq]) => ({ stream, seq }))
}
