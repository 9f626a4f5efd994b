import type { AccountDetails } from '../actors/accounts.js'
import type { Book } from '../actors/book.js'
import type { AnyColumn } from '../actors/column.js'
import type { HoldPosting } from '../actors/holds.js'
import { layerBytes } from '../actors/id-filter.js'
import type { KeyTable } from '../actors/key-table.js'
import { raise } from '../actors/let-go.js'
import { packr } from '../journal/record.js'
import { keyFromBytes, slotOfWords } from '../key.js'
import { blockHeaderBytes, type EncodedHold, type EncodedLayer } from './encode-book.js'
import { type BlockKind, blockKinds, SnapshotFault, type SnapshotStream } from './manifest.js'

/**
 * Puts the blocks of one stream into a book; those of accounts and transactions before those of
 * holds. The digest of each block has been checked.
 *
 * Without `book.rebuild` the book is that of the stream's shard, and takes all as it was. With it,
 * the book belongs to a shard of another layout: it takes what its slots own, of a striped account
 * the row that the owner of its slot has, and the rebuild gets the sums of the parts, and the holds
 * of others.
 */
export class BookLoader {
  readonly #book: Book
  readonly #of: SnapshotStream
  readonly #slots: ReadonlySet<number>

  constructor(book: Book, of: SnapshotStream) {
    this.#book = book
    this.#of = of
    this.#slots = new Set(of.slots)
  }

  /** Takes what the manifest says of the stream; before any block of it. */
  begin(): void {
    const { letGo } = this.#book
    const of = this.#of.letGo
    if (of === undefined) return
    for (const [stream, seq] of of.horizon) raise(letGo.horizon, { stream, seq })
    for (const [stream, seq] of of.coverage) raise(letGo.coverage, { stream, seq })
    letGo.newestIdMs = Math.max(letGo.newestIdMs, of.newestIdMs ?? letGo.newestIdMs)
  }

  load(kind: BlockKind, bytes: Buffer): void {
    const block = new BlockView(bytes)
    if (block.kind !== kind) {
      throw new SnapshotFault('damaged_snapshot', `a block of ${kind} holds ${block.kind}`)
    }
    if (kind === 'accounts') this.#loadAccounts(block)
    else if (kind === 'transactions') this.#loadTransactions(block)
    else if (kind === 'holds') this.#loadHolds(block)
    else this.#loadLetGo(block)
  }

  #loadAccounts(block: BlockView): void {
    const { accounts, rebuild } = this.#book
    const table = block.table(accounts.columns)
    const column = (of: AnyColumn) => table.columns[accounts.columns.indexOf(of)]
    const striped = column(accounts.striped)
    if (rebuild !== undefined) this.#sumUp(table, striped, column)
    const slots = this.#slots
    const takes = (row: number, slot: number) =>
      rebuild === undefined || (striped[row] === 1 ? slots.has(slot) : this.#owns(slot))
    const rows = takeRows(table, accounts.keys, accounts.columns, takes)
    const currencies = new Map<number, number>()
    const codes = wordsOf(column(accounts.currency), Uint16Array)
    for (let row = 0; row < block.rows; row++) {
      const own = rows[row]
      if (own < 0) continue
      let currency = currencies.get(codes[row])
      if (currency === undefined) {
        const { code, scale } = this.#of.currencies[codes[row]]
        currency = accounts.currencyIndex(code, scale)
        currencies.set(codes[row], currency)
      }
      if (currency !== codes[row]) accounts.currency.set(own, currency)
      if (striped[row] === 1) accounts.stripedRows.push(own)
      if (rebuild !== undefined) this.#forgetPart(own)
    }
    const details = block.packed()
    for (let index = 0; index < details.length; index += 2) {
      const own = rows[details[index] as number]
      if (own >= 0) accounts.details.set(own, details[index + 1] as AccountDetails)
    }
  }

  /** Parts are summed up for a layout that deals them out anew. */
  #sumUp(table: TableView, striped: Uint8Array, column: (of: AnyColumn) => Uint8Array): void {
    const { accounts, rebuild } = this.#book
    const debits = wordsOf(column(accounts.debitsPosted), BigInt64Array)
    const credits = wordsOf(column(accounts.creditsPosted), BigInt64Array)
    for (let row = striped.indexOf(1); row >= 0; row = striped.indexOf(1, row + 1)) {
      const key = table.key(row)
      rebuild?.addStriped(table.tenants[row], key, true, debits[row])
      rebuild?.addStriped(table.tenants[row], key, false, credits[row])
    }
  }

  /** Seqs and parts of another layout mean nothing here. */
  #forgetPart(row: number): void {
    const { accounts } = this.#book
    accounts.touchedSeq.set(row, 0)
    if (!accounts.isStriped(row)) return
    accounts.debitsPosted.set(row, 0n)
    accounts.creditsPosted.set(row, 0n)
    accounts.debitsPending.set(row, 0n)
    accounts.creditsPending.set(row, 0n)
    accounts.holds.set(row, 0)
  }

  #loadTransactions(block: BlockView): void {
    const { transactions, rebuild } = this.#book
    const table = block.table(transactions.columns)
    const takes = (_row: number, slot: number) => rebuild === undefined || this.#owns(slot)
    const rows = takeRows(table, transactions.keys, transactions.columns, takes)
    if (rebuild === undefined) return
    for (const own of rows) if (own >= 0) transactions.touchedSeq.set(own, 0)
  }

  #loadHolds(block: BlockView): void {
    const { transactions, holds, rebuild } = this.#book
    for (const [tenant, id, expiresAt, list] of block.packed() as EncodedHold[]) {
      const key = keyFromBytes(id, 0)
      const postings = list.map(
        ([debit, credit, currency, scale, remaining]): HoldPosting => ({
          debit: keyFromBytes(debit, 0),
          credit: keyFromBytes(credit, 0),
          currency,
          scale,
          remaining: BigInt(remaining),
        }),
      )
      const row = transactions.find(tenant, key)
      if (row >= 0) {
        const due = expiresAt ?? Number.POSITIVE_INFINITY
        holds.add({ row, postings, expiresAt: due, busy: false, queued: false })
      } else if (rebuild !== undefined) {
        rebuild.addHold(tenant, key, postings)
      } else {
        throw new SnapshotFault('damaged_snapshot', 'a snapshot has a hold without its transaction')
      }
    }
  }

  #loadLetGo(block: BlockView): void {
    const { letGo, rebuild } = this.#book
    for (const part of block.packed() as EncodedLayer[]) {
      const [slot, layer, capacity, count, offset, bytes] = part
      if (rebuild !== undefined && !this.#owns(slot)) continue
      if (offset === 0) {
        letGo.filter.addLayer(slot, { capacity, count, bits: new Uint8Array(layerBytes(capacity)) })
      }
      letGo.filter.layersOf(slot)[layer].bits.set(bytes, offset)
    }
  }

  #owns(slot: number): boolean {
    const { place } = this.#book
    return place.shardOfSlot[slot] === place.shard
  }
}

/**
 * Adds those rows of a block that `takes` says, in runs; returns for each row of the block the row
 * of the table, or -1.
 */
function takeRows(
  table: TableView,
  keys: KeyTable,
  columns: readonly AnyColumn[],
  takes: (row: number, slot: number) => boolean,
): Int32Array {
  const { words, tenants } = table
  const rows = new Int32Array(tenants.length).fill(-1)
  let start = 0
  const copy = (end: number) => {
    if (end === start) return
    for (const [index, column] of columns.entries()) {
      column.scatter(rows[start], table.columns[index], start, end - start)
    }
  }
  for (let row = 0; row < tenants.length; row++) {
    const at = row * 4
    const [w0, w1, w2, w3] = [words[at], words[at + 1], words[at + 2], words[at + 3]]
    if (takes(row, slotOfWords(w0, w1, w2, w3))) {
      rows[row] = keys.insert(tenants[row], w0, w1, w2, w3)
      if (row === start || rows[row] === rows[row - 1] + 1) continue
      copy(row)
      start = row
      continue
    }
    copy(row)
    start = row + 1
  }
  copy(tenants.length)
  return rows
}

interface TableView {
  /** Keys, four words a row. */
  words: Uint32Array
  tenants: Uint32Array
  columns: Uint8Array[]
  key(row: number): { w0: number; w1: number; w2: number; w3: number }
}

class BlockView {
  readonly kind: BlockKind | undefined
  readonly rows: number
  readonly #bytes: Uint8Array
  readonly #packedBytes: number

  constructor(bytes: Buffer) {
    // Columns become typed arrays, which must start where their elements may.
    this.#bytes = bytes.byteOffset % 8 === 0 ? bytes : new Uint8Array(bytes)
    this.kind = blockKinds[bytes.readUInt32LE(0)]
    this.rows = bytes.readUInt32LE(4)
    this.#packedBytes = bytes.readUInt32LE(8)
  }

  table(columns: readonly AnyColumn[]): TableView {
    let at = blockHeaderBytes
    const next = (bytesPerRow: number) => {
      const bytes = this.#bytes.subarray(at, at + this.rows * bytesPerRow)
      at += (bytes.length + 7) & ~7
      return bytes
    }
    const words = wordsOf(next(16), Uint32Array)
    const tenants = wordsOf(next(4), Uint32Array)
    return {
      words,
      tenants,
      columns: columns.map(({ bytesPerRow }) => next(bytesPerRow)),
      key: (row) => ({
        w0: words[row * 4],
        w1: words[row * 4 + 1],
        w2: words[row * 4 + 2],
        w3: words[row * 4 + 3],
      }),
    }
  }

  /** The values that are packed at the end of the block. */
  packed(): unknown[] {
    if (this.#packedBytes === 0) return []
    const isPacked = this.kind === 'holds' || this.kind === 'letGo'
    const padding = isPacked ? 0 : -this.#packedBytes & 7
    const end = this.#bytes.length - padding
    return packr.unpackMultiple(
      this.#bytes.subarray(end - this.#packedBytes, end),
    ) as unknown as unknown[]
  }
}

function wordsOf<T>(
  bytes: Uint8Array,
  as: {
    new (buffer: ArrayBufferLike, offset: number, length: number): T
    BYTES_PER_ELEMENT: number
  },
): T {
  return new as(bytes.buffer, bytes.byteOffset, bytes.byteLength / as.BYTES_PER_ELEMENT)
}
