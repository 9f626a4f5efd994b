import { paddedLength, recordHeaderBytes, Word } from './record.js'
import type { StoredChunk } from './replay.js'
import { JournalFault, type JournalSession } from './session.js'
import { chunksAfter, chunksAround } from './windows.js'

type Chunks = Pick<JournalSession, 'readChunks'>

/** Where a stream stood at a moment. */
export interface Moment {
  /** Its last record of that moment or before; 0 if there is none. */
  seq: number
  /** Time of the record after it, in milliseconds since 1970; infinite if there is none. */
  nextTimeMs: number
}

/**
 * Finds the last record of a stream, up to `head`, with a time of at most `timeMs`. Times never run
 * back within a stream, so it takes one look at the journal for each halving.
 */
export async function lastRecordUntil(
  session: Chunks,
  { id, head }: { id: number; head: number },
  timeMs: number,
): Promise<Moment> {
  // Records up to `low` are not later, and those after `high` are; both are ends of chunks.
  let low = 0
  let high = head
  while (low < high) {
    const middle = low + Math.floor((high - low) / 2)
    const [first] = await chunksAfter(session, id, middle)
    // Between the middle and the high end no chunk begins: the one around the middle is the last.
    const chunk =
      first === undefined || first.firstSeq > high
        ? (await chunksAround(session, id, middle + 1)).chunks[0]
        : first
    const times = timesIn(chunk)
    const later = times.findIndex((time) => time > timeMs)
    if (later < 0) low = chunk.firstSeq + chunk.n - 1
    else if (later > 0) return { seq: chunk.firstSeq + later - 1, nextTimeMs: times[later] }
    else high = chunk.firstSeq - 1
  }
  return { seq: low, nextTimeMs: await timeAfter(session, { id, head }, low) }
}

/** Time of the record after `seq`, in milliseconds since 1970; infinite if `seq` is the head. */
export async function timeAfter(
  session: Chunks,
  { id, head }: { id: number; head: number },
  seq: number,
): Promise<number> {
  if (seq >= head) return Number.POSITIVE_INFINITY
  const { chunks } = await chunksAround(session, id, seq + 1)
  return timesIn(chunks[0])[seq + 1 - chunks[0].firstSeq]
}

/** Times of the records that begin in a chunk. Throws if one is cut off. */
function timesIn({ stream, firstSeq, n, payload }: StoredChunk): number[] {
  const times: number[] = []
  for (let at = 0, index = 0; index < n; index++) {
    const length =
      payload.length < at + recordHeaderBytes ? 0 : payload.readUInt32LE(at + Word.length * 4)
    if (length < recordHeaderBytes) {
      throw new JournalFault(
        'broken_chain',
        `stream ${stream} is damaged at seq ${firstSeq + index}: the record is cut off`,
      )
    }
    times.push(Number(payload.readBigInt64LE(at + Word.time * 4)))
    at += paddedLength(length)
  }
  return times
}
