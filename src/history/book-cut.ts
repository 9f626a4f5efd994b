import { recordTime } from '../actors/apply.js'
import { ArchiveFault } from '../journal/archive-segment.js'
import { type BookPosition, formatBookPosition } from '../journal/book-position.js'
import type { JournalReader } from '../journal/reader.js'
import type { HistoryQueries, Positions } from './history-pool.js'

/** A stream of the journal, as far as it has come. */
export interface StreamHead {
  id: number
  generation: number
  closed: boolean
  head: number
}

/** A book position, as a report needs it. */
export interface BookCut {
  /** For each stream of one generation, its seq. */
  position: BookPosition
  /** Whether no stream of the generation is written any more. */
  closed: boolean
  /** All streams of which something counts, those of earlier generations at their ends. */
  streams: readonly CutStream[]
}

export interface CutStream {
  stream: number
  seq: number
  /** Milliseconds since 1970: nothing up to there is later. */
  timeMs: number
}

/**
 * All streams, in the order of their generations. Read by one statement, their heads are closed under
 * messages.
 */
export async function readHeads({ client }: Pick<HistoryQueries, 'client'>): Promise<StreamHead[]> {
  const { rows } = await client.query<Omit<StreamHead, 'head'> & { head: string }>({
    name: 'history-streams',
    text: 'select id, generation, closed, head from daybook.stream order by generation, id',
  })
  return rows.map((row) => ({ ...row, head: Number(row.head) }))
}

/** Where the book is. */
export function newestPosition(streams: readonly StreamHead[]): BookPosition {
  const generation = streams[streams.length - 1].generation
  return new Map(streamsOf(streams, generation).map(({ id, head }) => [id, head]))
}

/**
 * What was recorded until a moment. No record is earlier than what caused it, and none of a
 * generation is earlier than one of the generation before, so that this is closed under messages.
 */
export async function positionUntil(
  journal: JournalReader,
  streams: readonly StreamHead[],
  timeMs: number,
): Promise<BookPosition> {
  for (let { generation } = streams[streams.length - 1]; ; generation--) {
    const position = new Map<number, number>()
    for (const stream of streamsOf(streams, generation)) {
      position.set(stream.id, await lastRecordUntil(journal, stream, timeMs))
    }
    const isBegun = [...position.values()].some((seq) => seq > 0)
    if (isBegun || generation === streams[0].generation) return position
  }
}

/** What is wrong with a position that a client has named; undefined if it is one of this book. */
export function faultOf(
  position: BookPosition,
  streams: readonly StreamHead[],
): string | undefined {
  const named = [...position.keys()]
  const generation = streams.find(({ id }) => id === named[0])?.generation
  const own = generation === undefined ? [] : streamsOf(streams, generation)
  if (own.length !== named.length || own.some(({ id }) => !position.has(id))) {
    return 'does not name each stream of one generation of this book'
  }
  const beyond = own.find(({ id, head }) => (position.get(id) ?? 0) > head)
  if (beyond === undefined) return undefined
  return `says ${formatBookPosition(position)}, and stream ${beyond.id} ends at ${beyond.head}`
}

/** Looks up what a report needs to know of a position of this book. */
export async function cutAt(
  journal: JournalReader,
  streams: readonly StreamHead[],
  position: BookPosition,
): Promise<BookCut> {
  const own = streams.filter(({ id }) => position.has(id))
  const { generation, closed } = own[0]
  const cut: CutStream[] = []
  for (const stream of streams) {
    const seq = position.get(stream.id) ?? (stream.generation < generation ? stream.head : 0)
    if (seq === 0) continue
    cut.push({ stream: stream.id, seq, timeMs: await boundOf(journal, stream.id, seq) })
  }
  return { position, closed, streams: cut }
}

/** Whether `later` holds all that `position` does; they are of one generation. */
export function covers(later: Positions, position: Positions): boolean {
  return [...position].every(([stream, seq]) => (later.get(stream) ?? -1) >= seq)
}

function streamsOf(streams: readonly StreamHead[], generation: number): StreamHead[] {
  return streams.filter((stream) => stream.generation === generation)
}

/** The last record of a stream with a time of at most `timeMs`: times never run back within one. */
async function lastRecordUntil(
  journal: JournalReader,
  { id, head }: StreamHead,
  timeMs: number,
): Promise<number> {
  let low = 0
  let high = head
  while (low < high) {
    const middle = Math.ceil((low + high) / 2)
    if ((await timeOf(journal, id, middle)) <= timeMs) low = middle
    else high = middle - 1
  }
  return low
}

/** Nothing up to the record is later than this; without a way to the archive, that says nothing. */
async function boundOf(journal: JournalReader, stream: number, seq: number): Promise<number> {
  return await timeOf(journal, stream, seq).catch((error: Error) => {
    if (error instanceof ArchiveFault) return endOfTimeMs
    throw error
  })
}

const endOfTimeMs = Date.UTC(9999, 11, 31)

async function timeOf(journal: JournalReader, stream: number, seq: number): Promise<number> {
  return recordTime(await journal.readRecord(stream, seq), 0)
}
