/**
 * Columns of a table: they live in pages of typed arrays, so that growing never copies what is
 * there.
 */
export const pageShift = 14
/** Rows in a page. */
export const pageRows = 1 << pageShift
export const pageMask = pageRows - 1

/** Any typed array; of 8, 4, 2 or 1 bytes an element. */
type Page = { [index: number]: unknown } & ArrayBufferView<ArrayBuffer> & {
    readonly BYTES_PER_ELEMENT: number
  }

/** Columns that follow the rows of a {@link KeyTable}, one typed array a page. */
abstract class Column<T extends Page> {
  protected readonly pages: T[] = []
  readonly #make: (length: number) => T

  constructor(make: (length: number) => T) {
    this.#make = make
  }

  addPage(): void {
    this.pages.push(this.#make(pageRows))
  }

  get bytesPerRow(): number {
    return this.#make(0).BYTES_PER_ELEMENT
  }

  /** The bytes of `rows`, one after the other, in the machine's order (little-endian). */
  gather(rows: Int32Array): Uint8Array {
    const width = this.bytesPerRow
    const bytes = new Uint8Array(rows.length * width)
    // As words and not as what they are: a bigint for each would be an object for each.
    const [unit, each] = unitsOf(width)
    const out = new unit(bytes.buffer)
    const pages = this.pages.map((page) => new unit(page.buffer))
    for (let index = 0; index < rows.length; index++) {
      const page = pages[rows[index] >>> pageShift]
      const at = (rows[index] & pageMask) * each
      for (let part = 0; part < each; part++) out[index * each + part] = page[at + part]
    }
    return bytes
  }

  /** Sets `count` rows from `row` on to what `gather` has made of rows `from`, `from` + 1, … */
  scatter(row: number, bytes: Uint8Array, from: number, count: number): void {
    const width = this.bytesPerRow
    for (let done = 0; done < count; ) {
      const { buffer } = this.pages[(row + done) >>> pageShift]
      const at = (row + done) & pageMask
      const length = Math.min(count - done, pageRows - at)
      const source = bytes.subarray((from + done) * width, (from + done + length) * width)
      new Uint8Array(buffer).set(source, at * width)
      done += length
    }
  }
}

export type AnyColumn = Pick<
  Column<Uint8Array<ArrayBuffer>>,
  'addPage' | 'bytesPerRow' | 'gather' | 'scatter'
>

function unitsOf(width: number): [unit: UnitArray, each: number] {
  if (width === 1) return [Uint8Array, 1]
  return width === 2 ? [Uint16Array, 1] : [Int32Array, width / 4]
}

type UnitArray = typeof Uint8Array | typeof Uint16Array | typeof Int32Array

/*
 * Reading and writing a row stands here once for each type of array. One text for all of them would
 * meet more types than V8 keeps apart, and each access would then look for its type.
 */

export class BigintColumn extends Column<BigInt64Array<ArrayBuffer>> {
  constructor() {
    super((length) => new BigInt64Array(length))
  }

  get(row: number): bigint {
    return this.pages[row >>> pageShift][row & pageMask]
  }

  set(row: number, value: bigint): void {
    this.pages[row >>> pageShift][row & pageMask] = value
  }
}

export class FloatColumn extends Column<Float64Array<ArrayBuffer>> {
  constructor() {
    super((length) => new Float64Array(length))
  }

  get(row: number): number {
    return this.pages[row >>> pageShift][row & pageMask]
  }

  set(row: number, value: number): void {
    this.pages[row >>> pageShift][row & pageMask] = value
  }
}

export class Uint32Column extends Column<Uint32Array<ArrayBuffer>> {
  constructor() {
    super((length) => new Uint32Array(length))
  }

  get(row: number): number {
    return this.pages[row >>> pageShift][row & pageMask]
  }

  set(row: number, value: number): void {
    this.pages[row >>> pageShift][row & pageMask] = value
  }
}

export class Int32Column extends Column<Int32Array<ArrayBuffer>> {
  constructor() {
    super((length) => new Int32Array(length))
  }

  get(row: number): number {
    return this.pages[row >>> pageShift][row & pageMask]
  }

  set(row: number, value: number): void {
    this.pages[row >>> pageShift][row & pageMask] = value
  }
}

export class Uint16Column extends Column<Uint16Array<ArrayBuffer>> {
  constructor() {
    super((length) => new Uint16Array(length))
  }

  get(row: number): number {
    return this.pages[row >>> pageShift][row & pageMask]
  }

  set(row: number, value: number): void {
    this.pages[row >>> pageShift][row & pageMask] = value
  }
}

export class ByteColumn extends Column<Uint8Array<ArrayBuffer>> {
  constructor() {
    super((length) => new Uint8Array(length))
  }

  get(row: number): number {
    return this.pages[row >>> pageShift][row & pageMask]
  }

  set(row: number, value: number): void {
    this.pages[row >>> pageShift][row & pageMask] = value
  }
}
