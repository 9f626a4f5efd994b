/**
 * Columns of a table: they live in pages of typed arrays, so that growing never copies what is
 * there.
 */
export const pageShift = 14
/** Rows in a page. */
export const pageRows = 1 << pageShift
export const pageMask = pageRows - 1

/** Any typed array; of 8, 4, 2 or 1 bytes an element. */
type Page = { [index: number]: unknown } & ArrayBufferView<ArrayBuffer>

/**
 * Columns of 8 bytes a value whose values of one row lie side by side, so that who looks at one of
 * them has the others in the same cache line, or the next. Columns of smaller values stay in the
 * caches by themselves.
 */
export class RowGroup {
  /** Columns of the group; all of them are there before the first page. */
  width = 0
  readonly #pages: ArrayBuffer[] = []

  page(index: number): ArrayBuffer {
    this.#pages[index] ??= new ArrayBuffer(pageRows * this.width * 8)
    return this.#pages[index]
  }
}

/** Columns that follow the rows of a {@link KeyTable}, one typed array a page. */
abstract class Column<T extends Page> {
  abstract readonly bytesPerRow: number
  protected readonly pages: T[] = []
  /** Elements from one row to the next, and the one that is this column's. */
  protected stride = 1
  protected offset = 0

  addPage(): void {
    this.pages.push(this.makePage(this.pages.length))
  }

  protected abstract makePage(index: number): T

  /** The bytes of `rows`, one after the other, in the machine's order (little-endian). */
  gather(rows: Int32Array): Uint8Array {
    const bytes = new Uint8Array(rows.length * this.bytesPerRow)
    // As words and not as what they are: a bigint for each would be an object for each.
    const { unit, each } = unitsOf(this.bytesPerRow)
    const out = new unit(bytes.buffer)
    const pages = this.pages.map((page) => new unit(page.buffer))
    const stride = this.stride * each
    const offset = this.offset * each
    for (let index = 0; index < rows.length; index++) {
      const page = pages[rows[index] >>> pageShift]
      const at = (rows[index] & pageMask) * stride + offset
      for (let part = 0; part < each; part++) out[index * each + part] = page[at + part]
    }
    return bytes
  }

  /** Sets `count` rows from `row` on to what `gather` has made of rows `from`, `from` + 1, … */
  scatter(row: number, bytes: Uint8Array, from: number, count: number): void {
    const { unit, each } = unitsOf(this.bytesPerRow)
    const first = from * this.bytesPerRow
    const copy = new Uint8Array(bytes.subarray(first, first + count * this.bytesPerRow))
    const source = new unit(copy.buffer)
    const stride = this.stride * each
    const offset = this.offset * each
    for (let done = 0; done < count; ) {
      const page = new unit(this.pages[(row + done) >>> pageShift].buffer)
      const start = (row + done) & pageMask
      const end = Math.min(pageRows, start + count - done)
      for (let own = start; own < end; own++, done++) {
        for (let part = 0; part < each; part++) {
          page[own * stride + offset + part] = source[done * each + part]
        }
      }
    }
  }
}

/** A column of a {@link RowGroup}. */
abstract class WideColumn<T extends Page> extends Column<T> {
  readonly bytesPerRow = 8
  readonly #group: RowGroup

  constructor(group: RowGroup) {
    super()
    this.#group = group
    this.offset = group.width
    group.width += 1
  }

  protected makePage(index: number): T {
    this.stride = this.#group.width
    return this.viewOf(this.#group.page(index))
  }

  protected abstract viewOf(buffer: ArrayBuffer): T
}

export type AnyColumn = Pick<
  Column<Uint8Array<ArrayBuffer>>,
  'addPage' | 'bytesPerRow' | 'gather' | 'scatter'
>

function unitsOf(width: number): { unit: UnitArray; each: number } {
  if (width === 1) return { unit: Uint8Array, each: 1 }
  return width === 2 ? { unit: Uint16Array, each: 1 } : { unit: Int32Array, each: width / 4 }
}

type UnitArray = typeof Uint8Array | typeof Uint16Array | typeof Int32Array

/*
 * Reading and writing a row stands here once for each type of array. One text for all of them would
 * meet more types than V8 keeps apart, and each access would then look for its type.
 */

export class BigintColumn extends WideColumn<BigInt64Array<ArrayBuffer>> {
  protected viewOf(buffer: ArrayBuffer): BigInt64Array<ArrayBuffer> {
    return new BigInt64Array(buffer)
  }

  get(row: number): bigint {
    return this.pages[row >>> pageShift][(row & pageMask) * this.stride + this.offset]
  }

  set(row: number, value: bigint): void {
    this.pages[row >>> pageShift][(row & pageMask) * this.stride + this.offset] = value
  }
}

export class FloatColumn extends WideColumn<Float64Array<ArrayBuffer>> {
  protected viewOf(buffer: ArrayBuffer): Float64Array<ArrayBuffer> {
    return new Float64Array(buffer)
  }

  get(row: number): number {
    return this.pages[row >>> pageShift][(row & pageMask) * this.stride + this.offset]
  }

  set(row: number, value: number): void {
    this.pages[row >>> pageShift][(row & pageMask) * this.stride + this.offset] = value
  }
}

export class Uint32Column extends Column<Uint32Array<ArrayBuffer>> {
  readonly bytesPerRow = 4

  protected makePage(): Uint32Array<ArrayBuffer> {
    return new Uint32Array(pageRows)
  }

  get(row: number): number {
    return this.pages[row >>> pageShift][row & pageMask]
  }

  set(row: number, value: number): void {
    this.pages[row >>> pageShift][row & pageMask] = value
  }
}

export class Int32Column extends Column<Int32Array<ArrayBuffer>> {
  readonly bytesPerRow = 4

  protected makePage(): Int32Array<ArrayBuffer> {
    return new Int32Array(pageRows)
  }

  get(row: number): number {
    return this.pages[row >>> pageShift][row & pageMask]
  }

  set(row: number, value: number): void {
    this.pages[row >>> pageShift][row & pageMask] = value
  }
}

export class Uint16Column extends Column<Uint16Array<ArrayBuffer>> {
  readonly bytesPerRow = 2

  protected makePage(): Uint16Array<ArrayBuffer> {
    return new Uint16Array(pageRows)
  }

  get(row: number): number {
    return this.pages[row >>> pageShift][row & pageMask]
  }

  set(row: number, value: number): void {
    this.pages[row >>> pageShift][row & pageMask] = value
  }
}

export class ByteColumn extends Column<Uint8Array<ArrayBuffer>> {
  readonly bytesPerRow = 1

  protected makePage(): Uint8Array<ArrayBuffer> {
    return new Uint8Array(pageRows)
  }

  get(row: number): number {
    return this.pages[row >>> pageShift][row & pageMask]
  }

  set(row: number, value: number): void {
    this.pages[row >>> pageShift][row & pageMask] = value
  }
}
