/**
 * Rows of a table as the bytes of a binary COPY, written field by field. A row has all columns of
 * the COPY, in their order.
 */
const headerBytes = 19
const bytesInitial = 1 << 16
/** One large batch must not keep its memory. */
const bytesKept = 4 << 20
/** Postgres counts from 2000-01-01. */
const epochMs = Date.UTC(2000, 0, 1)
const epochDay = epochMs / 86_400_000
const int8Oid = 20

export class CopyTable {
  rows = 0
  readonly #columns: number
  #bytes: Buffer = Buffer.allocUnsafe(bytesInitial)
  #view = viewOf(this.#bytes)
  #end = headerBytes

  constructor(columns: number) {
    this.#columns = columns
    this.#writeHeader()
  }

  get byteLength(): number {
    return this.#end
  }

  clear(): void {
    this.rows = 0
    this.#end = headerBytes
    if (this.#bytes.length > bytesKept) this.#use(Buffer.allocUnsafe(bytesInitial))
  }

  /** The COPY as a whole; valid until the next row is begun. */
  finish(): Buffer {
    this.#reserve(2)
    this.#view.setInt16(this.#end, -1)
    return this.#bytes.subarray(0, this.#end + 2)
  }

  beginRow(): void {
    // More than all fields of fixed size together.
    this.#reserve(2 + this.#columns * 20)
    this.#view.setInt16(this.#end, this.#columns)
    this.#end += 2
    this.rows += 1
  }

  null(): void {
    this.#view.setInt32(this.#end, -1)
    this.#end += 4
  }

  boolean(value: boolean): void {
    this.#length(1)
    this.#view.setUint8(this.#end, value ? 1 : 0)
    this.#end += 1
  }

  smallint(value: number): void {
    this.#length(2)
    this.#view.setInt16(this.#end, value)
    this.#end += 2
  }

  int(value: number): void {
    this.#length(4)
    this.#view.setInt32(this.#end, value)
    this.#end += 4
  }

  /** A whole number of at most 53 bits. */
  bigint(value: number): void {
    this.#length(8)
    this.#view.setInt32(this.#end, Math.floor(value / 2 ** 32))
    this.#view.setUint32(this.#end + 4, value >>> 0)
    this.#end += 8
  }

  minor(value: bigint): void {
    this.#length(8)
    this.#view.setBigInt64(this.#end, value)
    this.#end += 8
  }

  /** Days since 1970. */
  date(day: number): void {
    this.int(day - epochDay)
  }

  /** Milliseconds since 1970. */
  timestamp(timeMs: number): void {
    this.bigint((timeMs - epochMs) * 1000)
  }

  /** A key that lies in four of `words`. */
  uuid(words: Uint32Array, at: number): void {
    this.#length(16)
    const end = this.#end
    this.#view.setUint32(end, words[at], true)
    this.#view.setUint32(end + 4, words[at + 1], true)
    this.#view.setUint32(end + 8, words[at + 2], true)
    this.#view.setUint32(end + 12, words[at + 3], true)
    this.#end += 16
  }

  /** A 64-bit number that lies in two of `words`, the lower half first. */
  words64(words: Uint32Array, at: number): void {
    this.#length(8)
    this.#view.setUint32(this.#end, words[at + 1])
    this.#view.setUint32(this.#end + 4, words[at])
    this.#end += 8
  }

  /** A key as its 16 bytes. */
  uuidBytes(bytes: Uint8Array): void {
    this.#length(16)
    this.#bytes.set(bytes, this.#end)
    this.#end += 16
  }

  /** Leaves room for an amount that is not known yet; returns where {@link fillIn} has to put it. */
  leaveMinor(): number {
    this.#length(8)
    this.#end += 8
    return this.#end - 8
  }

  fillIn(at: number, value: bigint): void {
    this.#view.setBigInt64(at, value)
  }

  /** NULL if there is none. */
  text(value: string | undefined): void {
    if (value === undefined) this.null()
    else this.#text(value)
  }

  /** NULL if there is none. */
  json(value: object | undefined): void {
    if (value === undefined) this.null()
    else this.#json(JSON.stringify(value))
  }

  #text(value: string): void {
    const bytes = Buffer.byteLength(value)
    this.#reserveText(bytes)
    this.#length(bytes)
    this.#bytes.write(value, this.#end)
    this.#end += bytes
  }

  /** The binary form of jsonb: its version, then the text. */
  #json(text: string): void {
    const bytes = Buffer.byteLength(text)
    this.#reserveText(bytes + 1)
    this.#length(bytes + 1)
    this.#view.setUint8(this.#end, 1)
    this.#bytes.write(text, this.#end + 1)
    this.#end += bytes + 1
  }

  /** An array of one dimension; NULL if there is none. */
  minors(values: readonly bigint[] | undefined): void {
    if (values === undefined) this.null()
    else this.#minors(values)
  }

  #minors(values: readonly bigint[]): void {
    const length = 20 + values.length * 12
    this.#reserveText(length)
    this.#length(length)
    const header = [1, 0, int8Oid, values.length, 1]
    for (const word of header) {
      this.#view.setInt32(this.#end, word)
      this.#end += 4
    }
    for (const value of values) this.minor(value)
  }

  #length(bytes: number): void {
    this.#view.setInt32(this.#end, bytes)
    this.#end += 4
  }

  /** Room for a field of any size, and for the rest of the row after it. */
  #reserveText(bytes: number): void {
    this.#reserve(4 + bytes + this.#columns * 20)
  }

  #reserve(bytes: number): void {
    if (this.#end + bytes <= this.#bytes.length) return
    let size = this.#bytes.length * 2
    while (size < this.#end + bytes) size *= 2
    const old = this.#bytes
    this.#use(Buffer.allocUnsafe(size))
    old.copy(this.#bytes, 0, 0, this.#end)
  }

  #use(bytes: Buffer): void {
    this.#bytes = bytes
    this.#view = viewOf(bytes)
    this.#writeHeader()
  }

  #writeHeader(): void {
    this.#bytes.write('PGCOPY\n\xff\r\n\0', 0, 'latin1')
    this.#bytes.fill(0, 11, headerBytes)
  }
}

function viewOf(bytes: Buffer): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}
