import type { BlockedWait, HeldLock } from './locks.js'
import type { BookRow, Commit, CommittedTables, JournalRow, StreamRow } from './tables.js'

/** One transaction: what it alone sees, the locks that it holds, and its SET LOCAL. */
export class Transaction {
  /** Begun by a BEGIN, not by a single statement. */
  readonly explicit: boolean
  /** After an error nothing but its end is accepted. */
  failed = false
  lockTimeoutMs = 0
  idleTimeoutMs = 0
  /** Its commit is written to the log: it has changed something, or locked a row. */
  isLogged = false
  readonly locks: HeldLock[] = []
  waitsFor: BlockedWait | undefined
  /** Backends as the first look at them in this transaction has found them. */
  activity: readonly { pid: number; startedAt: string }[] | undefined
  readonly #tables: CommittedTables
  readonly #streams = new Map<number, StreamRow>()
  #book: BookRow | undefined
  readonly #chunks: JournalRow[] = []
  readonly #partitions: number[] = []

  constructor(tables: CommittedTables, explicit: boolean) {
    this.#tables = tables
    this.explicit = explicit
  }

  get book(): BookRow {
    return this.#book ?? this.#tables.book
  }

  /** The row as this transaction sees it: its own version, or the newest committed one. */
  stream(id: number): StreamRow | undefined {
    return this.#streams.get(id) ?? this.#tables.streams.get(id)
  }

  /** Rows as one statement sees them, in order of id. */
  streams(): StreamRow[] {
    const { streams } = this.#tables
    const rows: StreamRow[] = []
    for (const [id, row] of streams) rows.push(this.#streams.get(id) ?? row)
    for (const [id, row] of this.#streams) if (!streams.has(id)) rows.push(row)
    return rows.sort((one, other) => one.id - other.id)
  }

  hasPartition(partition: number): boolean {
    return this.#tables.partitions.has(partition) || this.#partitions.includes(partition)
  }

  putStream(row: StreamRow): void {
    this.#streams.set(row.id, row)
    this.isLogged = true
  }

  putBook(row: BookRow): void {
    this.#book = row
    this.isLogged = true
  }

  addChunk(row: JournalRow): void {
    this.#chunks.push(row)
    this.isLogged = true
  }

  addPartition(partition: number): void {
    this.#partitions.push(partition)
    this.isLogged = true
  }

  /** Forgets everything; the locks are released by the lock table. */
  fail(): void {
    this.failed = true
    this.#streams.clear()
    this.#book = undefined
    this.#chunks.length = 0
    this.#partitions.length = 0
    // A SET LOCAL ends with what has failed, though the block goes on.
    this.lockTimeoutMs = 0
    this.idleTimeoutMs = 0
  }

  /** Makes everything visible to everybody, at once. */
  publish(backend: { pid: number; name: string }): Commit {
    const tables = this.#tables
    const streams = [...this.#streams.values()].map((after) => {
      const before = tables.streams.get(after.id)
      tables.streams.set(after.id, after)
      return { before, after }
    })
    for (const row of this.#chunks) tables.addChunk(row)
    for (const partition of this.#partitions) tables.partitions.add(partition)
    const commit: Commit = { backend, chunks: this.#chunks, streams }
    if (this.#book !== undefined) {
      commit.book = { before: tables.book, after: this.#book }
      tables.book = this.#book
    }
    return commit
  }
}
