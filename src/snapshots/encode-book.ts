import type { Book } from '../actors/book.js'
import type { AnyColumn } from '../actors/column.js'
import type { Hold } from '../actors/holds.js'
import type { KeyTable } from '../actors/key-table.js'
import { packr } from '../journal/record.js'
import { keyToBytes, slotCount, slotOf } from '../key.js'
import { type BlockKind, blockKinds } from './manifest.js'

/**
 * A book as blocks of columns. Accounts are in the order of their slots, so that a shard of another
 * layout takes what belongs to its slots in runs; transactions in that of their age, so that the
 * oldest ones can be let go first.
 *
 *      0 u32 kind (index of blockKinds)   4 u32 rows   8 u32 bytes of msgpack at the end   12 u32 0
 *     16 keys, 16 bytes a row             tenants, u32 a row
 *        every column of the table        msgpack
 *
 * Everything is little-endian, and each column starts at a multiple of 8. The msgpack of accounts
 * is a sequence: row, details, row, details, …; blocks of holds and of what was let go (a part of a
 * layer of the filter a row) are nothing but msgpack.
 */
export interface EncodedBlock {
  kind: BlockKind
  rows: number
  firstSlot: number
  lastSlot: number
  bytes: Buffer
}

/** A hold in a block: tenant, key, when it expires (null: never), postings. */
export type EncodedHold = [
  tenant: number,
  key: Uint8Array,
  expiresAt: number | null,
  postings: [
    debit: Uint8Array,
    credit: Uint8Array,
    currency: string,
    scale: number,
    remaining: bigint,
  ][],
]

export const blockHeaderBytes = 16
/** About 256 KB a block: a commit of the journal waits for what Postgres has to write before it. */
const rowsMax = { accounts: 2048, transactions: 4096, holds: 1024 }
/** Details, or postings of holds, that end a block before its rows do. */
const packedBytesMax = 1 << 18

/** All of the book, a block at a time, in the order of {@link blockKinds}. */
export function* encodeBook(book: Book): Iterable<EncodedBlock> {
  yield* encodeAccounts(book)
  const { keys, columns } = book.transactions
  const rows = Int32Array.from(keys.rows())
  for (let from = 0; from < rows.length; from += rowsMax.transactions) {
    const part = rows.subarray(from, from + rowsMax.transactions)
    yield encodeRows('transactions', { keys, columns, rows: part, packed: [] })
  }
  yield* encodeHolds(book)
  yield* encodeLetGo(book)
}

/** A part of a layer of the filter in a block: its bytes from `offset` on. */
export type EncodedLayer = [
  slot: number,
  layer: number,
  capacity: number,
  count: number,
  offset: number,
  bytes: Uint8Array,
]

function* encodeLetGo({ letGo }: Book): Iterable<EncodedBlock> {
  let parts: EncodedLayer[] = []
  let bytes = 0
  for (let slot = 0; slot < slotCount; slot++) {
    for (const [layer, { capacity, count, bits }] of letGo.filter.layersOf(slot).entries()) {
      for (let offset = 0; offset < bits.length; offset += packedBytesMax) {
        const part = bits.subarray(offset, offset + packedBytesMax)
        parts.push([slot, layer, capacity, count, offset, part])
        bytes += part.length
        if (bytes < packedBytesMax) continue
        yield letGoBlock(parts)
        parts = []
        bytes = 0
      }
    }
  }
  if (parts.length > 0) yield letGoBlock(parts)
}

function letGoBlock(parts: readonly EncodedLayer[]): EncodedBlock {
  const packed = Buffer.concat(parts.map((part) => packr.pack(part)))
  return {
    kind: 'letGo',
    rows: parts.length,
    firstSlot: parts[0][0],
    lastSlot: parts[parts.length - 1][0],
    bytes: Buffer.concat([headerOf('letGo', parts.length, packed.length), packed]),
  }
}

function* encodeAccounts({ accounts }: Book): Iterable<EncodedBlock> {
  const { keys, columns, details } = accounts
  const rows = rowsBySlot(keys)
  for (let from = 0; from < rows.length; ) {
    const packed: Buffer[] = []
    let bytes = 0
    let to = from
    while (to < rows.length && to - from < rowsMax.accounts && bytes < packedBytesMax) {
      const own = details.get(rows[to])
      if (own !== undefined) {
        packed.push(packr.pack(to - from), packr.pack(own))
        bytes += packed[packed.length - 1].length
      }
      to += 1
    }
    yield encodeRows('accounts', { keys, columns, rows: rows.subarray(from, to), packed })
    from = to
  }
}

function* encodeHolds(book: Book): Iterable<EncodedBlock> {
  const slotOfHold = (hold: Hold) => slotOf(book.transactions.keys.keyOf(hold.row))
  const holds = [...book.holds.all()]
  const slots = new Map(holds.map((hold) => [hold, slotOfHold(hold)]))
  const slot = (hold: Hold) => slots.get(hold) as number
  holds.sort((a, b) => slot(a) - slot(b))
  for (let from = 0; from < holds.length; ) {
    const packed: Buffer[] = []
    let bytes = 0
    let to = from
    while (to < holds.length && to - from < rowsMax.holds && bytes < packedBytesMax) {
      packed.push(packr.pack(encodedHold(book, holds[to])))
      bytes += packed[packed.length - 1].length
      to += 1
    }
    const header = headerOf('holds', to - from, bytes)
    yield {
      kind: 'holds',
      rows: to - from,
      firstSlot: slot(holds[from]),
      lastSlot: slot(holds[to - 1]),
      bytes: Buffer.concat([header, ...packed]),
    }
    from = to
  }
}

function encodedHold(book: Book, { row, expiresAt, postings }: Hold): EncodedHold {
  const { keys } = book.transactions
  return [
    keys.tenantOf(row),
    keyToBytes(keys.keyOf(row)),
    Number.isFinite(expiresAt) ? expiresAt : null,
    postings.map(({ debit, credit, currency, scale, remaining }) => [
      keyToBytes(debit),
      keyToBytes(credit),
      currency,
      scale,
      remaining,
    ]),
  ]
}

function encodeRows(
  kind: BlockKind,
  of: { keys: KeyTable; columns: readonly AnyColumn[]; rows: Int32Array; packed: Buffer[] },
): EncodedBlock {
  const { keys, columns, rows } = of
  const words = new Uint32Array(rows.length * 4)
  const tenants = new Uint32Array(rows.length)
  for (let index = 0; index < rows.length; index++) {
    keys.copyKey(rows[index], words, index * 4)
    tenants[index] = keys.tenantOf(rows[index])
  }
  const packed = Buffer.concat(of.packed)
  const parts = [headerOf(kind, rows.length, packed.length), bytesOf(words), bytesOf(tenants)]
  parts.push(...columns.map((column) => column.gather(rows)), packed)
  return {
    kind,
    rows: rows.length,
    ...slotRange(keys, rows),
    bytes: Buffer.concat(parts.flatMap(aligned)),
  }
}

function slotRange(keys: KeyTable, rows: Int32Array): { firstSlot: number; lastSlot: number } {
  let [firstSlot, lastSlot] = [slotCount, 0]
  for (const row of rows) {
    const slot = slotOf(keys.keyOf(row))
    firstSlot = Math.min(firstSlot, slot)
    lastSlot = Math.max(lastSlot, slot)
  }
  return { firstSlot, lastSlot }
}

/** The rows of a table in the order of their slots. */
function rowsBySlot(keys: KeyTable): Int32Array {
  const slots = new Uint16Array(keys.count)
  const next = new Uint32Array(slotCount + 1)
  for (let row = 0; row < keys.count; row++) {
    slots[row] = slotOf(keys.keyOf(row))
    next[slots[row] + 1] += 1
  }
  for (let slot = 0; slot < slotCount; slot++) next[slot + 1] += next[slot]
  const rows = new Int32Array(keys.count)
  for (let row = 0; row < keys.count; row++) {
    rows[next[slots[row]]] = row
    next[slots[row]] += 1
  }
  return rows
}

function headerOf(kind: BlockKind, rows: number, packedBytes: number): Buffer {
  const header = Buffer.alloc(blockHeaderBytes)
  header.writeUInt32LE(blockKinds.indexOf(kind), 0)
  header.writeUInt32LE(rows, 4)
  header.writeUInt32LE(packedBytes, 8)
  return header
}

function bytesOf(array: Uint32Array): Uint8Array {
  return new Uint8Array(array.buffer, array.byteOffset, array.byteLength)
}

function aligned(part: Uint8Array): Uint8Array[] {
  return [part, padding.subarray(0, -part.length & 7)]
}

const padding = new Uint8Array(8)
