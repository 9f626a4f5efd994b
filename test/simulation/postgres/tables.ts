import type { StoredChunk } from '../../../src/journal/replay.js'
import { slotCount } from '../../../src/key.js'

/** The committed state of a simulated Postgres. Rows are never changed, but replaced. */
export interface Tables {
  book: BookRow
  streams: ReadonlyMap<number, StreamRow>
  /** By stream; in order of first_seq and part. */
  chunks: ReadonlyMap<number, readonly StoredChunk[]>
}

export interface BookRow {
  id: string
  generation: number
  /** Stream of each slot, as an int, big-endian. */
  slots: Buffer
  recordVersion: number
}

export interface StreamRow {
  id: number
  generation: number
  closed: boolean
  epoch: number
  head: number
  digest: Buffer
  owner: string | null
  backendPid: number | null
  backendStart: string | null
}

/** What one transaction has changed, at the moment when everybody sees it. */
export interface Commit {
  backend: { pid: number; name: string }
  chunks: readonly StoredChunk[]
  streams: readonly { before: StreamRow | undefined; after: StreamRow }[]
  book?: { before: BookRow; after: BookRow }
}

/** A row of the journal together with the bytes of its columns as COPY carries them. */
export interface JournalRow extends StoredChunk {
  /** first_seq, part, n, epoch, prev, payload. */
  fields: Buffer[]
}

export class CommittedTables implements Tables {
  book: BookRow
  readonly streams = new Map<number, StreamRow>()
  readonly chunks = new Map<number, JournalRow[]>()
  /** Partitions of the journal, each of `partitionSeqs` seqs. */
  readonly partitions = new Set([0])

  /** As the migrations leave them. */
  constructor(bookId: string) {
    const slots = Buffer.alloc(slotCount * 4)
    for (let slot = 0; slot < slotCount; slot++) slots.writeInt32BE(1, slot * 4)
    this.book = { id: bookId, generation: 1, slots, recordVersion: 1 }
    this.streams.set(1, newStream({ id: 1, generation: 1, owner: null }))
  }

  hasChunk({ stream, firstSeq, part }: StoredChunk): boolean {
    const rows = this.chunks.get(stream)
    if (rows === undefined) return false
    const at = rowsBefore(rows, firstSeq, part)
    return at < rows.length && rows[at].firstSeq === firstSeq && rows[at].part === part
  }

  addChunk(row: JournalRow): void {
    const rows = this.chunks.get(row.stream)
    if (rows === undefined) {
      this.chunks.set(row.stream, [row])
      return
    }
    const at = rowsBefore(rows, row.firstSeq, row.part)
    if (at === rows.length) rows.push(row)
    else rows.splice(at, 0, row)
  }

  /** Chunks of a stream with first_seq after `afterSeq` and up to `toSeq`. */
  chunksBetween(stream: number, afterSeq: number, toSeq: number): JournalRow[] {
    const rows = this.chunks.get(stream) ?? []
    return rows.slice(rowsBefore(rows, afterSeq + 1, 0), rowsBefore(rows, toSeq + 1, 0))
  }
}

/** Seqs of one partition of the journal (migrations/001-journal.sql). */
export const partitionSeqs = 10_000_000

export function newStream(of: Pick<StreamRow, 'id' | 'generation' | 'owner'>): StreamRow {
  return {
    ...of,
    closed: false,
    epoch: 0,
    head: 0,
    digest: Buffer.alloc(32),
    backendPid: null,
    backendStart: null,
  }
}

/** How many of the rows, which are in order, come before (`firstSeq`, `part`). */
function rowsBefore(rows: readonly StoredChunk[], firstSeq: number, part: number): number {
  let low = 0
  let high = rows.length
  while (low < high) {
    const middle = (low + high) >>> 1
    const row = rows[middle]
    if (row.firstSeq < firstSeq || (row.firstSeq === firstSeq && row.part < part)) low = middle + 1
    else high = middle
  }
  return low
}
