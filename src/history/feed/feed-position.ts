/**
 * A place in all streams of a book, as the `id` of an event in `GET /v1/feed` says it:
 *
 *     1f0c9a3e.4-120.5-88     of the book whose id begins so: stream 4 up to 120, stream 5 up to 88
 *     4-120.5-88              the same, of whatever book it is
 *     0                       before the first record
 *
 * All streams that it names are of one generation. Those of the generations before it have been read
 * to their end, as events come generation by generation; those that it does not name, in its own
 * generation or a later one, are at their beginning.
 */
export interface FeedPosition {
  /** The first characters of the book's id, if they are given. */
  book: string | undefined
  /** Seq by stream; empty: before the first record. */
  seqs: ReadonlyMap<number, number>
}

/** A stream as one look at the book's rows saw it. */
export interface FeedStream {
  stream: number
  generation: number
  isClosed: boolean
  /** Its last record, and the digest there. */
  head: number
  digest: Buffer
}

/** All streams of a book at one moment, in the order of their generations and ids. */
export interface BookHeads {
  bookId: string
  streams: readonly FeedStream[]
}

/** Where a listener is: in one generation, with a seq for each of its streams. */
export interface FeedPlace {
  generation: number
  seqs: Map<number, number>
}

const bookLength = 8
const streamsMax = 64

/** The form of a position; one may still name a stream twice. */
export const feedPositionPattern = `^(0|([0-9a-f]{${bookLength}}\\.)?\\d{1,9}-\\d{1,15}(\\.\\d{1,9}-\\d{1,15}){0,${streamsMax - 1}})$`

const form = new RegExp(feedPositionPattern)

/** Undefined if it is no position. */
export function parseFeedPosition(text: string): FeedPosition | undefined {
  if (!form.test(text)) return undefined
  if (text === '0') return { book: undefined, seqs: new Map() }
  const parts = text.split('.')
  const book = parts[0].includes('-') ? undefined : parts.shift()
  const seqs = new Map(
    parts.map((part) => {
      const [stream, seq] = part.split('-')
      return [Number(stream), Number(seq)]
    }),
  )
  return seqs.size === parts.length ? { book, seqs } : undefined
}

export function formatFeedPosition(bookId: string, seqs: ReadonlyMap<number, number>): string {
  const [before, after] = aroundSeq(bookId, seqs)
  return `${before}${after}`
}

/**
 * What stands before and after the seq of `stream` in a position, so that those of many events need
 * little more than that number. Without `stream` the two are the whole position.
 */
export function aroundSeq(
  bookId: string,
  seqs: ReadonlyMap<number, number>,
  stream?: number,
): [before: string, after: string] {
  let before = bookId.slice(0, bookLength)
  let after: string | undefined
  for (const [each, seq] of seqs) {
    if (each === stream) {
      before += `.${each}-`
      after = ''
    } else if (after === undefined) before += `.${each}-${seq}`
    else after += `.${each}-${seq}`
  }
  return [before, after ?? '']
}

/**
 * Where a position is in the book as it is now; without one, behind all that there is. Throws a
 * {@link PositionFault} if the book has no such place.
 */
export function placeOf(
  position: FeedPosition | undefined,
  { bookId, streams }: BookHeads,
): FeedPlace {
  const newest = streams[streams.length - 1].generation
  if (position === undefined) {
    const open = streams.filter(({ generation }) => generation === newest)
    return { generation: newest, seqs: new Map(open.map(({ stream, head }) => [stream, head])) }
  }
  const { book, seqs } = position
  if (book !== undefined && book !== bookId.slice(0, bookLength)) {
    throw new PositionFault('position_unknown', 'is of another book')
  }
  const named = streams.filter(({ stream }) => seqs.has(stream))
  if (named.length < seqs.size) {
    throw new PositionFault('position_unknown', 'names a stream that this book does not have')
  }
  const generation = named[0]?.generation ?? streams[0].generation
  if (named.some((stream) => stream.generation !== generation)) {
    throw new PositionFault('invalid_request', 'names streams of more than one generation')
  }
  assertReached(seqs, named)
  return { generation, seqs: seqsOf(generation, streams, seqs) }
}

/** Throws if a stream ends before the place: another journal, or one that has lost its end. */
export function assertReached(
  seqs: ReadonlyMap<number, number>,
  streams: readonly FeedStream[],
): void {
  for (const { stream, head } of streams) {
    if ((seqs.get(stream) ?? 0) <= head) continue
    throw new PositionFault(
      'position_unknown',
      `is ahead of stream ${stream}, which ends at ${head}: it is of another book, or the journal has lost its end`,
    )
  }
}

/** The beginning of the first generation after `generation`; undefined if it is the newest. */
export function nextPlace(
  generation: number,
  streams: readonly FeedStream[],
): FeedPlace | undefined {
  const next = streams.find((stream) => stream.generation > generation)?.generation
  return next === undefined
    ? undefined
    : { generation: next, seqs: seqsOf(next, streams, new Map()) }
}

function seqsOf(
  generation: number,
  streams: readonly FeedStream[],
  known: ReadonlyMap<number, number>,
): Map<number, number> {
  const own = streams.filter((stream) => stream.generation === generation)
  return new Map(own.map(({ stream }) => [stream, known.get(stream) ?? 0]))
}

/** Why a listener cannot begin, or go on, at its position; the message goes on after its name. */
export class PositionFault extends Error {
  readonly code: 'invalid_request' | 'position_unknown'

  constructor(code: PositionFault['code'], message: string) {
    super(message)
    this.code = code
  }
}
