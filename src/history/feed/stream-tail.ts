import type { Clock } from '../../clock.js'
import type { DigestChain } from '../../journal/batch.js'
import { emptyDigest } from '../../journal/digest.js'
import { Replay } from '../../journal/replay.js'
import { JournalFault, type JournalSession } from '../../journal/session.js'
import {
  chunkRecordsMax,
  chunksAfter,
  chunksAround,
  NoSuchRecordError,
} from '../../journal/windows.js'
import { type FeedEvent, feedEvent } from './feed-event.js'

export interface TailOptions {
  stream: number
  /** The records after this seq are read; it may be in the middle of a chunk, and 0. */
  afterSeq: number
  /** Of the journal at `afterSeq`, if that is the end of a chunk: what follows must go on from it. */
  digest?: Buffer | undefined
  chain: DigestChain
  clock: Pick<Clock, 'schedule'>
  signal: AbortSignal
  /** Ends when all that was there has been read: for a stream that is closed. */
  isClosed?: boolean
  /** Between two looks at the head of a stream in which nothing happens. */
  pollDelayMs?: number
}

/**
 * What one statement has read, to be dealt with as a whole. One without anything new says that the
 * head was looked at.
 */
export interface TailBatch {
  events: FeedEvent[]
  /** Seq of the last record read, the last of a chunk; it, and others, may have no event. */
  seq: number
  /** Of that chunk. */
  digest: Buffer
  /** Seq of the last record committed when this was read. */
  head: number
}

type TailSession = Pick<JournalSession, 'readHead' | 'readChunks'>

/**
 * A batch has the records of at most so many seqs and what else is in their last chunk. It is read
 * whole before it is given out, so that no statement is open while a receiver takes its time.
 */
export const windowRecordsMax = 512

/** After a window of more bytes, the next ones ask for fewer records. */
const windowBytesMax = 1 << 20

const pollDelayMsDefault = 50

/**
 * The committed records of a stream after a position as events, batch by batch, and then those that
 * are committed later, until the signal says to stop. The digest chain is proved from `digest` on, or
 * else from the chunk in which the position is, whose beginning is taken at its word.
 *
 * Rejects with {@link NoSuchRecordError} if the journal has not, or no more, the record after the
 * position, with {@link PositionAheadError} if the stream ends before it, with `broken_chain` if
 * the journal is damaged, does not go on from `digest` or has lost its end, and with whatever
 * Postgres says.
 */
export async function* streamTail(
  session: TailSession,
  options: TailOptions,
): AsyncGenerator<TailBatch, void, undefined> {
  const { stream, afterSeq, signal, clock, pollDelayMs = pollDelayMsDefault } = options
  const { replay, ...start } = await replayFrom(session, options)
  let { head } = start
  let windowRecords = windowRecordsMax
  let delivered = afterSeq
  while (!signal.aborted) {
    if (replay.seq >= head) {
      if (options.isClosed) return
      await pause(clock, pollDelayMs, signal)
      if (signal.aborted) return
      const now = await session.readHead(stream)
      head = now.head
      if (head > replay.seq) continue
      // A server that has lost commits, in a failover perhaps, must not look like an idle one.
      replay.assertEnd(head, now.digest)
      yield { events: [], seq: delivered, digest: replay.digest, head }
      continue
    }
    const toSeq = Math.min(replay.seq + windowRecords, head)
    const { events, bytes } = await readWindow(session, replay, { stream, toSeq, delivered })
    if (signal.aborted) return
    windowRecords = nextWindow(windowRecords, bytes)
    delivered = Math.max(delivered, replay.seq)
    yield { events, seq: delivered, digest: replay.digest, head }
  }
}

/** The seq after which the journal still has all records of a stream; its head if it has none. */
export async function keptAfter(session: TailSession, stream: number): Promise<number> {
  const { head } = await session.readHead(stream)
  const begins = async (afterSeq: number) => (await chunksAfter(session, stream, afterSeq))[0]
  if (head === 0) return 0
  const atOrigin = await begins(0)
  if (atOrigin !== undefined) return atOrigin.firstSeq - 1
  // What has been archived is the beginning of a stream: before the first chunk that is there none
  // begins, and after it one within every chunk's length.
  let gone = 0
  let kept = head - chunkRecordsMax
  if (kept <= gone || (await begins(kept)) === undefined) return head
  while (kept - gone > 1) {
    const middle = Math.floor((gone + kept) / 2)
    if ((await begins(middle)) === undefined) gone = middle
    else kept = middle
  }
  const first = await begins(kept)
  return first.firstSeq - 1
}

/** A replay that begins with the chunk in which the record after the position is. */
async function replayFrom(
  session: TailSession,
  { stream, afterSeq, digest, chain }: TailOptions,
): Promise<{ replay: Replay; head: number }> {
  const end = await session.readHead(stream)
  const { head } = end
  if (afterSeq > head) throw new PositionAheadError(stream, { afterSeq, head })
  const start = { seq: head, digest: end.digest }
  if (afterSeq < head) {
    const around = await chunksAround(session, stream, afterSeq + 1)
    start.seq = around.afterSeq
    start.digest = around.afterSeq === 0 ? emptyDigest : around.chunks[0].prev
  }
  if (digest !== undefined && !(start.seq === afterSeq && digest.equals(start.digest))) {
    const reason = 'the journal does not go on from what was delivered'
    throw new JournalFault('broken_chain', `stream ${stream} after ${afterSeq}: ${reason}`)
  }
  return { head, replay: new Replay(stream, start, chain) }
}

/** The events after `delivered` in the next records of a replay, up to `toSeq` and its chunk's end. */
export async function readWindow(
  session: TailSession,
  replay: Replay,
  { stream, toSeq, delivered }: { stream: number; toSeq: number; delivered: number },
): Promise<{ events: FeedEvent[]; bytes: number }> {
  const fromSeq = replay.seq
  const events: FeedEvent[] = []
  let bytes = 0
  for await (const chunk of session.readChunks(stream, fromSeq, toSeq)) {
    bytes += chunk.payload.length
    replay.read(chunk, (words, at, seq) => {
      // A start in the middle of a chunk: what is before it has been delivered.
      if (seq <= delivered) return
      const event = feedEvent(words, at, { stream, seq })
      if (event !== undefined) events.push(event)
    })
  }
  if (replay.seq < toSeq) throw new NoSuchRecordError(stream, replay.seq + 1)
  if (replay.isWithinRecord) throw new NoSuchRecordError(stream, replay.seq)
  return { events, bytes }
}

/** Records of the next window, after one that asked for `records` and read `bytes`. */
export function nextWindow(records: number, bytes: number): number {
  if (bytes > windowBytesMax) return Math.max(1, records >> 1)
  return bytes < windowBytesMax / 2 ? Math.min(records * 2, windowRecordsMax) : records
}

/** Resolves after the delay, or at once when the signal aborts. */
export function pause(
  clock: Pick<Clock, 'schedule'>,
  delayMs: number,
  signal: AbortSignal,
): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) return resolve()
    const onAbort = () => {
      timer.cancel()
      resolve()
    }
    const timer = clock.schedule(delayMs, () => {
      signal.removeEventListener('abort', onAbort)
      resolve()
    })
    signal.addEventListener('abort', onAbort, { once: true })
  })
}

/** A position that the stream has not reached: it is that of another journal, or of a lost one. */
class PositionAheadError extends Error {
  readonly code = 'position_ahead'

  constructor(stream: number, { afterSeq, head }: { afterSeq: number; head: number }) {
    super(`stream ${stream} ends at ${head}, before the position ${afterSeq}`)
  }
}
