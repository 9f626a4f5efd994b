import fc from 'fast-check'
import t from 'tap'
import {
  type AnyColumn,
  BigintColumn,
  ByteColumn,
  FloatColumn,
  Int32Column,
  pageRows,
  RowGroup,
  Uint16Column,
  Uint32Column,
} from '../../src/actors/column.js'

const padding = new Uint8Array(1)
const columns = [
  {
    make: beside((group) => new BigintColumn(group)),
    valueAt: (row: number) => BigInt(row) * -0x1_0000_0001n,
  },
  { make: beside((group) => new FloatColumn(group)), valueAt: (row: number) => row * 1.1e10 },
  { make: () => new Uint32Column(), valueAt: (row: number) => 0xffffffff - row },
  { make: () => new Int32Column(), valueAt: (row: number) => -row },
  { make: () => new Uint16Column(), valueAt: (row: number) => row & 0xffff },
  { make: () => new ByteColumn(), valueAt: (row: number) => row & 0xff },
]

t.test(
  'rows that are gathered from one column are scattered into another, over pages',
  async (t) => {
    const pages = 3
    const rowsMax = pages * pageRows
    for (const { make, valueAt } of columns) {
      const one = filled(make(), pages) as Values & AnyColumn
      for (let row = 0; row < rowsMax; row++) one.set(row, valueAt(row))
      const property = fc.property(
        fc.array(fc.nat(rowsMax - 1), { minLength: 1, maxLength: 50 }),
        fc.nat(rowsMax - 51),
        fc.nat(49),
        (rows, to, from) => {
          const start = Math.min(from, rows.length - 1)
          const bytes = one.gather(Int32Array.from(rows))
          const other = filled(make(), pages) as Values & AnyColumn
          // As blocks come: a part of something larger, at any place in it.
          other.scatter(to, Buffer.concat([padding, bytes]).subarray(1), start, rows.length - start)
          return rows
            .slice(start)
            .every(
              (row, index) =>
                other.get(to + index) === one.get(row) && one.get(row) === valueAt(row),
            )
        },
      )
      fc.assert(property, { numRuns: 50 })
      const across = one.gather(Int32Array.from({ length: 40 }, (_, index) => index))
      const other = filled(make(), pages) as Values & AnyColumn
      other.scatter(pageRows - 20, across, 0, 40)
      t.equal(other.get(pageRows - 20), valueAt(0), other.constructor.name)
      t.equal(other.get(pageRows + 19), valueAt(39))
    }
  },
)

t.test('columns of one group do not touch each other', async (t) => {
  const group = new RowGroup()
  const amounts = new BigintColumn(group)
  const times = new FloatColumn(group)
  for (let page = 0; page < 2; page++) {
    amounts.addPage()
    times.addPage()
  }
  for (let row = 0; row < 2 * pageRows; row++) {
    amounts.set(row, BigInt(row))
    times.set(row, -row)
  }
  const rows = Int32Array.from({ length: 40 }, (_, index) => index)
  times.scatter(pageRows - 20, times.gather(rows), 0, 40)
  for (let row = 0; row < 2 * pageRows; row++) {
    const moved = row - (pageRows - 20)
    if (amounts.get(row) !== BigInt(row)) return t.fail(`the amount of row ${row}`)
    if (times.get(row) !== -(moved >= 0 && moved < 40 ? moved : row)) {
      return t.fail(`the time of row ${row}`)
    }
  }
  t.pass()
})

interface Values {
  get(row: number): bigint | number
  set(row: number, value: bigint | number): void
}

function filled<T extends { addPage(): void }>(column: T, pages: number): T {
  for (let page = 0; page < pages; page++) column.addPage()
  return column
}

/** A column with neighbours in its group. */
function beside(make: (group: RowGroup) => Values & AnyColumn): () => Values & AnyColumn {
  return () => {
    const group = new RowGroup()
    new FloatColumn(group)
    const column = make(group)
    new FloatColumn(group)
    return column
  }
}
