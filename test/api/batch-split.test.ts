import assert from 'node:assert/strict'
import fc from 'fast-check'
import t from 'tap'
import type { TransactionInput } from '../../src/actors/command.js'
import {
  mergeItems,
  mergePositions,
  type Placement,
  refusedItems,
  splitAtomic,
  splitOrdered,
  splitUnordered,
  type Wave,
} from '../../src/api/batch-split.js'
import { equalKeys, formatKey, type Key, slotOf } from '../../src/key.js'
import { keyIn } from '../actors/scripted-shards.js'

const accountsMax = 12
const account = (number: number) => keyIn(number % 5, number)
/** Account 0 of each placement is striped. */
const striped = account(0)

const placementOf = (shards: number): Placement => ({
  shards,
  shardOf: (slot) => slot % shards,
  isStriped: (key) => equalKeys(key, striped),
})

function item(id: Key, accounts: Key[], conditions: Key[] = []): TransactionInput {
  return {
    id,
    postings: accounts.slice(1).map((credit, index) => ({
      debit: accounts[index],
      credit,
      amount: { mantissa: 1n, decimals: 0 },
    })),
    imported: false,
    pending: false,
    conditions: conditions.map((account) => ({ account, version: 1 })),
    attributes: {},
  }
}

const number = fc.integer({ min: 0, max: accountsMax })
const items = fc
  .array(
    fc.record({
      slot: fc.integer({ min: 0, max: 20 }),
      accounts: fc.array(number, { minLength: 2, maxLength: 4 }),
      conditions: fc.array(number, { maxLength: 2 }),
    }),
    { minLength: 1, maxLength: 40 },
  )
  .map((picks) =>
    picks.map(({ slot, accounts, conditions }, index) =>
      item(keyIn(slot, 1000 + index), accounts.map(account), conditions.map(account)),
    ),
  )
const shards = fc.integer({ min: 1, max: 5 })

const splits = { splitAtomic, splitUnordered, splitOrdered }
for (const [name, split] of Object.entries(splits)) {
  t.test(`${name}: every item is in one sub-batch, and the order within each is kept`, async () => {
    fc.assert(
      fc.property(items, shards, (items, shards) => {
        const waves = split(items, placementOf(shards))
        const all = waves.flat().flatMap(({ indexes }) => indexes)
        assert.deepEqual(
          all.toSorted((a, b) => a - b),
          items.map((_, index) => index),
        )
        for (const { indexes } of waves.flat()) {
          assert.deepEqual(
            indexes,
            indexes.toSorted((a, b) => a - b),
          )
        }
        for (const wave of waves) {
          const used = wave.map(({ shard }) => shard)
          assert.equal(new Set(used).size, used.length, 'one sub-batch a shard')
        }
      }),
    )
  })
}

for (const [name, split] of Object.entries({ splitUnordered, splitOrdered })) {
  t.test(`${name}: every item goes to the shard of its id`, async () => {
    fc.assert(
      fc.property(items, shards, (items, shards) => {
        for (const { shard, indexes } of split(items, placementOf(shards)).flat()) {
          for (const index of indexes) assert.equal(slotOf(items[index].id) % shards, shard)
        }
      }),
    )
  })
}

t.test('an atomic batch is whole, at the shard of its first id', async () => {
  fc.assert(
    fc.property(items, shards, (items, shards) => {
      const waves = splitAtomic(items, placementOf(shards))
      assert.equal(waves.flat().length, 1)
      assert.equal(waves[0][0].shard, slotOf(items[0].id) % shards)
    }),
  )
})

t.test('without an order there is one wave', async () => {
  fc.assert(
    fc.property(items, shards, (items, shards) => {
      assert.equal(splitUnordered(items, placementOf(shards)).length, 1)
    }),
  )
})

t.test('waves follow the order of the batch', async () => {
  fc.assert(
    fc.property(items, shards, (items, shards) => {
      const waves = splitOrdered(items, placementOf(shards)).map(indexesOf)
      for (let wave = 1; wave < waves.length; wave++) {
        assert.ok(Math.max(...waves[wave - 1]) < Math.min(...waves[wave]))
      }
    }),
  )
})

t.test(
  'two items of a wave share an account only if one shard has all that both name',
  async () => {
    const seen = { shared: 0, apart: 0 }
    fc.assert(
      fc.property(items, shards, (items, shards) => {
        for (const wave of splitOrdered(items, placementOf(shards)).map(indexesOf)) {
          for (const later of wave) {
            for (const earlier of wave) {
              if (earlier >= later) continue
              if (!share(items[earlier], items[later])) seen.apart += 1
              else {
                seen.shared += 1
                const used = new Set([
                  ...shardsOf(items[earlier], shards),
                  ...shardsOf(items[later], shards),
                ])
                assert.equal(used.size, 1, `items ${earlier} and ${later} conflict across shards`)
              }
            }
          }
        }
      }),
    )
    assert.ok(seen.shared > 0 && seen.apart > 0, JSON.stringify(seen))
  },
)

t.test('a wave ends only before an item that conflicts with it', async () => {
  fc.assert(
    fc.property(items, shards, (items, shards) => {
      const waves = splitOrdered(items, placementOf(shards)).map(indexesOf)
      for (let wave = 1; wave < waves.length; wave++) {
        const opener = items[Math.min(...waves[wave])]
        const isForced = waves[wave - 1].some((index) => {
          const used = new Set([...shardsOf(items[index], shards), ...shardsOf(opener, shards)])
          return share(items[index], opener) && used.size > 1
        })
        assert.ok(isForced)
      }
    }),
  )
})

t.test('what lives in one shard is one sub-batch, in order or not', async (t) => {
  const placement = placementOf(4)
  const local = Array.from({ length: 9 }, (_, index) =>
    item(keyIn(4 * index + 1, index), [account(1), keyIn(5, 77), striped]),
  )
  for (const split of [splitOrdered, splitUnordered]) {
    t.same(split(local, placement), [[{ shard: 1, indexes: [0, 1, 2, 3, 4, 5, 6, 7, 8] }]])
  }
})

t.test('items that have only a striped account in common run side by side', async (t) => {
  const across = [0, 1, 2, 3].map((slot) =>
    item(keyIn(slot, 50), [striped, keyIn(slot + 1, 900 + slot)], [striped]),
  )
  const waves = splitOrdered(across, placementOf(4))
  t.equal(waves.length, 1)
  t.equal(waves[0].length, 4)
  const unknown = { ...placementOf(4), isStriped: () => false }
  t.equal(splitOrdered(across, unknown).length, 4, 'while it is not known to be striped they wait')
})

t.test(
  'an item waits for an earlier one even where only a condition names the account',
  async (t) => {
    const [a, b, c, d] = [0, 1, 2, 3].map((slot) => keyIn(slot, 700))
    const items = [item(keyIn(0, 1), [a, b]), item(keyIn(2, 2), [c, d], [b])]
    t.equal(splitOrdered(items, placementOf(4)).length, 2)
    t.equal(splitOrdered([items[1], items[0]], placementOf(4)).length, 2)
    t.equal(splitOrdered([items[0], item(keyIn(2, 2), [c, d])], placementOf(4)).length, 1)
  },
)

t.test('merged results are those of the items, in the order of the batch', async () => {
  fc.assert(
    fc.property(items, shards, (items, shards) => {
      const parts = splitOrdered(items, placementOf(shards))
        .flat()
        .map(({ indexes }) => ({ indexes, items: Buffer.concat(indexes.map(resultOf)) }))
      const merged = mergeItems(items.length, parts)
      assert.deepEqual(merged, Buffer.concat(items.map((_, index) => resultOf(index))))
      if (items.length > 1) {
        const short = { indexes: parts[0].indexes.slice(1), items: parts[0].items.subarray(16) }
        assert.throws(() => mergeItems(items.length, [short, ...parts.slice(1)]))
      }
    }),
  )
})

t.test('items refused together carry the refusal and no position', async (t) => {
  const items = refusedItems(3, 29)
  t.equal(items.length, 48)
  for (const at of [0, 16, 32]) {
    t.equal(items[at], 2)
    t.equal(items.readUInt16LE(at + 2), 29)
    t.ok(items.subarray(at + 4, at + 16).every((byte) => byte === 0))
  }
})

t.test('positions: the greatest of each stream, in order of stream', async (t) => {
  t.same(
    mergePositions([
      { stream: 12, seq: 5 },
      { stream: 2, seq: 9 },
      { stream: 12, seq: 7 },
      { stream: 2, seq: 1 },
    ]),
    [
      { stream: 2, seq: 9 },
      { stream: 12, seq: 7 },
    ],
  )
})

function indexesOf(wave: Wave): number[] {
  return wave.flatMap(({ indexes }) => indexes)
}

function namesOf({ postings, conditions }: TransactionInput): string[] {
  return [
    ...postings.flatMap(({ debit, credit }) => [debit, credit]),
    ...conditions.map((condition) => condition.account),
  ]
    .filter((key) => !equalKeys(key, striped))
    .map(formatKey)
}

function share(a: TransactionInput, b: TransactionInput): boolean {
  return namesOf(a).some((name) => namesOf(b).includes(name))
}

function shardsOf(input: TransactionInput, shards: number): number[] {
  const keys = [
    input.id,
    ...input.postings.flatMap(({ debit, credit }) => [debit, credit]),
    ...input.conditions.map((condition) => condition.account),
  ]
  return keys.filter((key) => !equalKeys(key, striped)).map((key) => slotOf(key) % shards)
}

/** A result that tells its item from every other. */
function resultOf(index: number): Buffer {
  const bytes = Buffer.alloc(16)
  bytes.writeUInt32LE(index, 4)
  bytes.writeUInt32LE(index * 7 + 1, 12)
  return bytes
}
