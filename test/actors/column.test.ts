import fc from 'fast-check'
import t from 'tap'
import {
  type AnyColumn,
  BigintColumn,
  ByteColumn,
  FloatColumn,
  Int32Column,
  pageRows,
  Uint16Column,
  Uint32Column,
} from '../../src/actors/column.js'

const columns = [
  { of: BigintColumn, valueAt: (row: number) => BigInt(row) * -0x1_0000_0001n },
  { of: FloatColumn, valueAt: (row: number) => row * 1.1e10 },
  { of: Uint32Column, valueAt: (row: number) => 0xffffffff - row },
  { of: Int32Column, valueAt: (row: number) => -row },
  { of: Uint16Column, valueAt: (row: number) => row & 0xffff },
  { of: ByteColumn, valueAt: (row: number) => row & 0xff },
]

t.test(
  'rows that are gathered from one column are scattered into another, over pages',
  async (t) => {
    const pages = 3
    const rowsMax = pages * pageRows
    for (const { of, valueAt } of columns) {
      const one = filled(new of(), pages) as Values & AnyColumn
      for (let row = 0; row < rowsMax; row++) one.set(row, valueAt(row))
      const property = fc.property(
        fc.array(fc.nat(rowsMax - 1), { minLength: 1, maxLength: 50 }),
        fc.nat(rowsMax - 51),
        fc.nat(49),
        (rows, to, from) => {
          const start = Math.min(from, rows.length - 1)
          const bytes = one.gather(Int32Array.from(rows))
          const other = filled(new of(), pages) as Values & AnyColumn
          other.scatter(to, bytes, start, rows.length - start)
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
      const other = filled(new of(), pages) as Values & AnyColumn
      other.scatter(pageRows - 20, across, 0, 40)
      t.equal(other.get(pageRows - 20), valueAt(0), of.name)
      t.equal(other.get(pageRows + 19), valueAt(39))
    }
  },
)

interface Values {
  get(row: number): bigint | number
  set(row: number, value: bigint | number): void
}

function filled<T extends { addPage(): void }>(column: T, pages: number): T {
  for (let page = 0; page < pages; page++) column.addPage()
  return column
}
