import { dealSlots, Layout } from '../layout.js'
import type { Queries } from './database.js'
import { recordVersion } from './record.js'
import { JournalFault } from './session.js'
import { slotsFrom } from './slot-map.js'

/** The row of a stream, without what only its writer needs. */
export interface StreamRow {
  id: number
  generation: number
  closed: boolean
  epoch: number
  /** Seq of the last record, and the digest of the last chunk. */
  head: number
  digest: Buffer
  owner: string | null
}

/** The rows of a book, as the tools look at them. */
export interface BookRows {
  id: string
  createdAt: Date
  /** The newest generation, and the stream of each slot in it, as the row keeps them. */
  generation: number
  slots: Buffer
  recordVersion: number
  /** All streams, by generation and then by id. */
  streams: StreamRow[]
}

/**
 * Reads the rows of the book and its streams with one statement, so that they are of one moment:
 * the heads together are a book position, closed under messages. Takes and locks nothing. Rejects
 * with `newer_version` if this program cannot read the book's records.
 */
export async function readBookRows(connection: Queries): Promise<BookRows> {
  const { rows } = await connection.query<{
    id: string
    created_at: Date
    generation: number
    slots: Buffer
    record_version: number
    streams: (Omit<StreamRow, 'digest'> & { digest: string })[]
  }>(
    `select id, created_at, generation, slots, record_version,
       (select json_agg(stream order by generation, id) from (
         select id, generation, closed, epoch, head, encode(digest, 'hex') as digest, owner
         from daybook.stream) stream) as streams
     from daybook.book`,
  )
  const [book] = rows
  if (book === undefined) throw new Error('the table daybook.book has no row')
  if (book.record_version > recordVersion) {
    throw new JournalFault(
      'newer_version',
      `the book has records of version ${book.record_version}; this program reads up to ${recordVersion}`,
    )
  }
  return {
    id: book.id,
    createdAt: book.created_at,
    generation: book.generation,
    slots: book.slots,
    recordVersion: book.record_version,
    streams: book.streams.map((row) => ({ ...row, digest: Buffer.from(row.digest, 'hex') })),
  }
}

/** The streams of one generation, in order of id. */
export function streamsOf(book: BookRows, generation: number): StreamRow[] {
  return book.streams.filter((stream) => stream.generation === generation)
}

/**
 * The layout of a generation: the row keeps that of the newest, and the slots of those before were
 * dealt out to their streams in turn.
 */
export function layoutOf(book: BookRows, generation: number): Layout {
  if (generation === book.generation) return new Layout(generation, slotsFrom(book.slots))
  const ids = streamsOf(book, generation).map((stream) => stream.id)
  return new Layout(generation, dealSlots(ids))
}
