import type { DigestChain } from '../journal/batch.js'
import { type BookPosition, formatBookPosition } from '../journal/book-position.js'
import { type BookRows, type StreamRow, streamsOf } from '../journal/book-rows.js'
import { lastRecordUntil, timeAfter } from '../journal/moment.js'
import { type AppliedBody, RecordKind, readBody, readInteger, Word } from '../journal/record.js'
import { Replay } from '../journal/replay.js'
import type { JournalSession } from '../journal/session.js'
import { chunksAround, readInWindows } from '../journal/windows.js'

/** What to go back to: a seq in each stream of one generation, or a moment. */
export type RestorePoint = { position: BookPosition } | { timeMs: number }

/** Where each stream is cut; those of generations before are taken whole, later ones not at all. */
export interface RestoreCut {
  generation: number
  /** Of the generation. */
  position: BookPosition
}

type Chunks = Pick<JournalSession, 'readChunks'>

/**
 * The book position that `point` names, which is closed under messages: rejects with a
 * {@link RestoreRefusal} that names the record if it is not.
 */
export async function findCut(
  session: Chunks,
  book: BookRows,
  point: RestorePoint,
  chain: DigestChain,
): Promise<RestoreCut> {
  if ('timeMs' in point) return await cutAtTime(session, book, point.timeMs)
  const cut = cutAtPosition(book, point.position)
  await assertClosed(session, streamsOf(book, cut.generation), cut.position, chain)
  return cut
}

/**
 * No record is earlier than what caused it, and none of a generation is earlier than one of the
 * generation before: what happened until a moment is closed under messages.
 */
async function cutAtTime(session: Chunks, book: BookRows, timeMs: number): Promise<RestoreCut> {
  for (let generation = book.generation; ; generation--) {
    const position = new Map<number, number>()
    for (const stream of streamsOf(book, generation)) {
      position.set(stream.id, (await lastRecordUntil(session, stream, timeMs)).seq)
    }
    const isBegun = [...position.values()].some((seq) => seq > 0)
    if (isBegun || generation === 1) return { generation, position }
  }
}

export function cutAtPosition(book: BookRows, position: BookPosition): RestoreCut {
  const named = [...position.keys()]
  const generation = book.streams.find((stream) => stream.id === named[0])?.generation
  const streams = generation === undefined ? [] : streamsOf(book, generation)
  if (generation === undefined || named.some((id) => streams.every((row) => row.id !== id))) {
    throw new RestoreRefusal(
      `${formatBookPosition(position)} names streams that are not of one generation of this book`,
    )
  }
  for (const { id, head } of streams) {
    const seq = position.get(id)
    if (seq === undefined) {
      throw new RestoreRefusal(
        `the position must name every stream of generation ${generation}; ${id} is missing`,
      )
    }
    if (seq > head) {
      throw new RestoreRefusal(`the position says ${id}-${seq}, and stream ${id} ends at ${head}`)
    }
  }
  return { generation, position }
}

/**
 * Looks for an applied record whose cause is beyond the position. It cannot be earlier than its
 * cause, so only records are read that are not earlier than the first one left out.
 */
async function assertClosed(
  session: Chunks,
  streams: readonly StreamRow[],
  position: BookPosition,
  chain: DigestChain,
): Promise<void> {
  if (streams.length === 1) return
  let firstLeftOutMs = Number.POSITIVE_INFINITY
  for (const stream of streams) {
    const next = await timeAfter(session, stream, position.get(stream.id) ?? 0)
    firstLeftOutMs = Math.min(firstLeftOutMs, next)
  }
  if (firstLeftOutMs === Number.POSITIVE_INFINITY) return
  for (const stream of streams) {
    const toSeq = position.get(stream.id) ?? 0
    const { seq } = await lastRecordUntil(session, stream, firstLeftOutMs - 1)
    if (seq >= toSeq) continue
    const { afterSeq } = await chunksAround(session, stream.id, seq + 1)
    await assertCausesWithin(session, { stream: stream.id, afterSeq, toSeq }, position, chain)
  }
}

async function assertCausesWithin(
  session: Chunks,
  { stream, afterSeq, toSeq }: { stream: number; afterSeq: number; toSeq: number },
  position: BookPosition,
  chain: DigestChain,
): Promise<void> {
  let replay: Replay | undefined
  for await (const chunk of readInWindows(session, stream, { afterSeq, toSeq })) {
    replay ??= new Replay(stream, { seq: afterSeq, digest: chunk.prev }, chain)
    replay.read(chunk, (words, at, seq) => {
      const cause = seq > toSeq ? undefined : causeOf(words, at)
      if (cause === undefined || cause.seq <= (position.get(cause.stream) ?? 0)) return
      throw new RestoreRefusal(
        `the position is not closed under messages: record ${stream}-${seq} applies record ` +
          `${cause.stream}-${cause.seq}, and the position ends at ` +
          `${cause.stream}-${position.get(cause.stream) ?? 0}`,
      )
    })
  }
}

/** The record of another stream that an applied record follows; undefined for any other record. */
function causeOf(words: Uint32Array, at: number): { stream: number; seq: number } | undefined {
  const kind = words[at] & 0xff
  if (kind === RecordKind.postingApplied) {
    return { stream: words[at + Word.causeStream], seq: readInteger(words, at + Word.causeSeq) }
  }
  if (kind !== RecordKind.applied) return undefined
  const [stream, seq] = readBody<AppliedBody>(words, at).cause
  return { stream, seq }
}

/** A restore that cannot be; nothing has been written. */
export class RestoreRefusal extends Error {
  readonly code = 'restore_refused'
}
