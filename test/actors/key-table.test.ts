import fc from 'fast-check'
import t from 'tap'
import { FloatColumn, pageRows, RowGroup } from '../../src/actors/column.js'
import { KeyTable } from '../../src/actors/key-table.js'

type Words = [tenant: number, w0: number, w1: number, w2: number, w3: number]

const word = fc.oneof(
  fc.integer({ min: 0, max: 0xffffffff }),
  fc.integer({ min: 0, max: 3 }),
  fc.constantFrom(0x7fffffff, 0x80000000, 0xffffffff),
)
const words: fc.Arbitrary<Words> = fc.tuple(fc.integer({ min: 0, max: 3 }), word, word, word, word)
const seed = fc.tuple(
  fc.integer({ min: 0, max: 0xffffffff }),
  fc.integer({ min: 0, max: 0xffffffff }),
)

t.test('rows are found by all of tenant and key, as in a Map', async (t) => {
  fc.assert(
    fc.property(seed, fc.array(words, { maxLength: 400, size: 'max' }), (seed, entries) => {
      const table = new KeyTable(seed, () => undefined)
      const map = new Map<string, number>()
      for (const entry of entries) {
        const expected = map.get(entry.join())
        const found = table.find(...entry)
        if (found !== (expected ?? -1)) return false
        if (expected === undefined) map.set(entry.join(), table.insert(...entry))
      }
      return (
        table.count === map.size &&
        entries.every((entry) => {
          const row = table.find(...entry)
          const { w0, w1, w2, w3 } = table.keyOf(row)
          const copy = new Uint32Array(6)
          table.copyKey(row, copy, 1)
          const key = entry.slice(1).join()
          return (
            row === map.get(entry.join()) &&
            table.tenantOf(row) === entry[0] &&
            [w0, w1, w2, w3].join() === key &&
            copy.slice(1, 5).join() === key &&
            table.findKey(entry[0], { w0, w1, w2, w3 }) === row
          )
        })
      )
    }),
    { numRuns: 100, seed: 3 },
  )
  t.pass()
})

t.test('it grows over pages and segments without losing or moving a row', async (t) => {
  const column = new FloatColumn(new RowGroup())
  let pages = 0
  const table = new KeyTable([17, 4_000_000_000], () => {
    pages += 1
    column.addPage()
  })
  const rows = 5 * pageRows + 3
  // Keys as they come from a v7 generator: most of their bits are alike.
  const entry = (index: number): Words => [
    index & 1,
    0x018d5555,
    0x70000000 | (index >>> 1),
    0x80,
    index,
  ]
  for (let index = 0; index < rows; index++) {
    const row = table.insert(...entry(index))
    column.set(row, index * 1.5)
    if (row !== index) t.fail(`row ${row}`)
    // The rows before it must be there at every moment of the growth.
    const earlier = Math.floor((index * 7919) % (index + 1))
    if (table.find(...entry(earlier)) !== earlier) t.fail(`row ${earlier} is gone at ${index}`)
  }
  t.equal(pages, 6)
  t.equal(table.count, rows)
  let wrong = 0
  let guessed = 0
  for (let index = 0; index < rows; index++) {
    if (table.guess(...entry(index)) === index) guessed += 1
    const [tenant, w0, w1, w2, w3] = entry(index)
    if (table.find(tenant, w0, w1, w2, w3) !== index || column.get(index) !== index * 1.5)
      wrong += 1
    if (table.find(tenant + 2, w0, w1, w2, w3) !== -1) wrong += 1
    if (table.find(tenant, w0, w1, w2 + 1, w3) !== -1) wrong += 1
  }
  t.equal(wrong, 0)
  t.ok(guessed > rows / 2, 'most guesses are right')
})

t.test('blocks are emptied oldest first and used again, and what is left is found', (t) => {
  const word = fc.integer({ min: 0, max: 7 })
  const name = fc.tuple(fc.constant(1), word, word, word, word)
  const entries = fc.array(name, { minLength: 30, maxLength: 600, size: 'max' })
  fc.assert(
    fc.property(seed, entries, fc.integer({ min: 4, max: 60 }), (seed, entries, kept) => {
      const table = new KeyTable(seed, () => undefined, 4)
      const order: string[] = []
      let rowsMax = 0
      for (const entry of entries) {
        if (order.includes(entry.join())) continue
        rowsMax = Math.max(rowsMax, table.insert(...entry))
        order.push(entry.join())
        while (table.count > kept) {
          const { first, end } = table.oldestBlock() ?? { first: 0, end: 0 }
          for (let row = first; row < end; row++) {
            const { w0, w1, w2, w3 } = table.keyOf(row)
            const gone = order.shift()
            if (gone !== [1, w0, w1, w2, w3].join()) return false
            table.remove(row)
            if (table.find(1, w0, w1, w2, w3) !== -1) return false
          }
          table.freeOldestBlock()
        }
      }
      const names = [...table.rows()].map((row) => {
        const { w0, w1, w2, w3 } = table.keyOf(row)
        return table.find(1, w0, w1, w2, w3) === row ? [1, w0, w1, w2, w3].join() : 'lost'
      })
      return names.join(';') === order.join(';') && rowsMax < kept + 8
    }),
    { numRuns: 100, seed: 3 },
  )
  t.pass()
  t.end()
})
