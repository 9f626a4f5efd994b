import { formatKey, keyFromWords, timeOfKey } from '../key.js'
import type { Book } from './book.js'
import { IdFilter } from './id-filter.js'
import type { UnderWay } from './under-way.js'

/** By stream, a seq. */
export type Positions = ReadonlyMap<number, number>

/**
 * The transactions that the book has let go, and which it may let go. Nothing is forgotten: an id
 * that may be one of them is looked for in the read models (recall.ts) before it is taken for new.
 *
 *     in memory ──projected, and memory is nearly full──▶ let go ──asked for──▶ in memory
 */
export class LetGo {
  readonly filter = new IdFilter()
  /** By stream, the greatest seq of a record that made a transaction which was let go. */
  readonly horizon = new Map<number, number>()
  /** By stream, the greatest seq of any record that says something of one. */
  readonly coverage = new Map<number, number>()
  /** Greatest date of a v7 id that was let go, in milliseconds since 1970. */
  newestIdMs = Number.NEGATIVE_INFINITY
  /** How far the read models have come, as far as is known here; empty: nothing is let go. */
  projected: Positions = new Map()
  /** Ids that are being decided on, or are not applied everywhere yet: they stay. */
  underWay: Pick<UnderWay, 'has'> = { has: () => false }
  /** Ids that the filter has, and that the read models do not: they were never used. */
  readonly #unused = new Set<string>()

  get isEmpty(): boolean {
    return this.filter.count === 0
  }

  /** Whether the id at word `at`, which is not in memory, may have been let go. */
  mayHave(tenant: number, words: Uint32Array, at: number): boolean {
    if (this.isEmpty) return false
    const [w0, w1, w2, w3] = [words[at], words[at + 1], words[at + 2], words[at + 3]]
    const dateMs = timeOfKey(w0, w1)
    if (dateMs !== undefined && dateMs > this.newestIdMs) return false
    if (!this.filter.mayHave(tenant, w0, w1, w2, w3)) return false
    return this.#unused.size === 0 || !this.#unused.has(nameOf(tenant, words, at))
  }

  /** The read models hold all that was let go, and do not have the id. */
  noteUnused(tenant: number, words: Uint32Array, at: number): void {
    this.#unused.add(nameOf(tenant, words, at))
    if (this.#unused.size <= unusedMax) return
    for (const oldest of this.#unused) {
      this.#unused.delete(oldest)
      return
    }
  }

  /** Lets an id go that was used at that position. */
  add(tenant: number, words: Uint32Array, position: { stream: number; seq: number }): void {
    const [w0, w1, w2, w3] = [words[0], words[1], words[2], words[3]]
    // One that had been brought back is there already: reading old ids must not make it grow.
    if (!this.filter.mayHave(tenant, w0, w1, w2, w3)) this.filter.add(tenant, w0, w1, w2, w3)
    this.newestIdMs = Math.max(this.newestIdMs, timeOfKey(w0, w1) ?? this.newestIdMs)
    raise(this.horizon, position)
    raise(this.coverage, position)
    if (this.#unused.size > 0) this.#unused.delete(nameOf(tenant, words, 0))
  }

  /** What a record at that position says of an id is let go with it. */
  pass(position: { stream: number; seq: number }): void {
    raise(this.coverage, position)
  }
}

/** Moves the position of a stream on, unless it is further. */
export function raise(
  positions: Map<number, number>,
  { stream, seq }: { stream: number; seq: number },
) {
  if (seq > (positions.get(stream) ?? 0)) positions.set(stream, seq)
}

/** Beyond it an id that was looked for is looked for again. */
const unusedMax = 1 << 16

/** Blocks that are emptied between two commands: some 100 microseconds each. */
const blocksMax = 8

/**
 * Lets the oldest transactions go once memory holds 15/16 of what it may, as far as they are
 * projected. Rows change their place; nobody may hold one across this.
 */
export function letGoOfOldest(book: Book): void {
  const { transactions, holds, letGo, limits, rebuild } = book
  // While earlier generations are read, nobody knows which stream a row was changed in.
  if (letGo.projected.size === 0 || rebuild !== undefined) return
  const kept = limits.letGo?.beyond ?? Math.floor((limits.transactionsMax * 15) / 16)
  for (let block = 0; block < blocksMax && transactions.count > kept; block++) {
    // Pending holds stay: where there is little else, there is nothing to be gained.
    if (transactions.count - holds.count <= transactions.count / 8) return
    if (!letGoOfBlock(book)) return
  }
}

/** Empties the oldest block; false if it has to wait for the read models. */
function letGoOfBlock(book: Book): boolean {
  const { transactions, letGo } = book
  const block = transactions.keys.oldestBlock()
  if (block === undefined || !isProjected(book, block)) return false
  const key = new Uint32Array(4)
  for (let row = block.first; row < block.end; row++) {
    const tenant = transactions.keys.tenantOf(row)
    transactions.keys.copyKey(row, key, 0)
    if (isUndecided(book, row) || letGo.underWay.has(tenant, key, 0)) {
      renew(book, row)
      continue
    }
    const position = { stream: transactions.stream.get(row), seq: transactions.seq.get(row) }
    // The filter has the id of a hollow row already.
    if (!transactions.isHollow(row)) letGo.add(tenant, key, position)
    letGo.pass({ stream: book.stream, seq: transactions.touchedSeq.get(row) })
    transactions.keys.remove(row)
  }
  transactions.keys.freeOldestBlock()
  return true
}

function isProjected({ transactions, letGo, stream: own }: Book, block: Rows): boolean {
  const { projected } = letGo
  const ownProjected = projected.get(own) ?? 0
  for (let row = block.first; row < block.end; row++) {
    if (transactions.touchedSeq.get(row) > ownProjected) return false
    const stream = transactions.stream.get(row)
    if (transactions.seq.get(row) > (projected.get(stream) ?? 0)) return false
  }
  return true
}

interface Rows {
  first: number
  end: number
}

function isUndecided({ holds, reversing }: Book, row: number): boolean {
  return holds.get(row) !== undefined || reversing.has(row)
}

function renew({ transactions, holds, reversing }: Book, row: number): void {
  const renewed = transactions.renew(row)
  holds.move(row, renewed)
  if (reversing.delete(row)) reversing.add(renewed)
}

function nameOf(tenant: number, words: Uint32Array, at: number): string {
  return `${tenant} ${formatKey(keyFromWords(words, at))}`
}
