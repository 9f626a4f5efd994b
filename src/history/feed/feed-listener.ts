import type { Clock } from '../../clock.js'
import { ArchiveFault } from '../../journal/archive-segment.js'
import { JournalFault } from '../../journal/session.js'
import { NoSuchRecordError } from '../../journal/windows.js'
import type { FeedFault, ListenRequest } from './feed-messages.js'
import type { FeedPage, FeedPages, WrittenEvent } from './feed-pages.js'
import {
  aroundSeq,
  assertReached,
  type FeedPlace,
  type FeedStream,
  formatFeedPosition,
  nextPlace,
  PositionFault,
  parseFeedPosition,
  placeOf,
} from './feed-position.js'
import type { StreamHeads } from './stream-heads.js'
import { pause } from './stream-tail.js'

export interface FeedListenerParts {
  heads: StreamHeads
  pages: FeedPages
  clock: Pick<Clock, 'monotonic' | 'schedule'>
  /** A page could not be read, and is tried again. */
  onTrouble(error: Error): void
}

/** Some events, and where the listener is after them. */
export interface FeedText {
  text: string
  position: string
  /** The id of the last event: what follows it up to `position` does not pass the filter. */
  lastId: string
  events: number
}

/** One piece of text has at most so many characters, and the rest of its last event. */
const pieceCharactersMax = 64 * 1024
/** Where a listener is that hears nothing, because of its filter, is told so often at most. */
const positionPeriodMs = 1000
/** Before a page that could not be read is asked for again. */
const retryMs = 500

/**
 * What one listener is to hear, piece by piece: the events of its tenant after its position that pass
 * its filter, as server-sent events. Streams take turns; generations come one after the other, so
 * that what happened on an account comes in order also where the account has moved to another stream.
 *
 *     created ──▶ begun ──▶ (reading ──▶ at the heads ──▶ …) ──▶ failed, or no longer asked
 *
 * It keeps a position and nothing else between two pieces.
 */
export class FeedListener {
  readonly #request: ListenRequest
  readonly #parts: FeedListenerParts
  readonly #accounts: ReadonlySet<string> | undefined
  readonly #types: ReadonlySet<string> | undefined
  #place: FeedPlace = { generation: 0, seqs: new Map() }
  /** The stream that had its turn last. */
  #lastStream = 0
  #toldId = ''
  #toldAtMs = 0
  #hasLeft = false

  constructor(request: ListenRequest, parts: FeedListenerParts) {
    const { accounts, types } = request
    this.#request = request
    this.#parts = parts
    this.#accounts = accounts && new Set(accounts)
    this.#types = types && new Set<string>(types)
  }

  /** Finds its place, and makes sure that the journal has what follows; resolves with its position. */
  async begin(): Promise<string> {
    const { heads, pages, clock } = this.#parts
    const { after } = this.#request
    const position = after === undefined ? undefined : parseFeedPosition(after)
    if (after !== undefined && position === undefined) {
      throw new PositionFault('invalid_request', 'is not a position that the feed has given')
    }
    const now = await heads.look()
    this.#place = placeOf(position, now)
    for (const stream of this.#ownStreams()) {
      const seq = this.#seqOf(stream)
      if (seq < stream.head) await pages.after(stream, seq)
    }
    this.#toldId = this.#position()
    this.#toldAtMs = clock.monotonic()
    return this.#toldId
  }

  /** The next piece, as soon as there is one; undefined once it has left. Rejects with a fault. */
  async next(): Promise<FeedText | undefined> {
    while (!this.#hasLeft) {
      const { hasRead, piece } = await this.#readRound()
      if (this.#hasLeft) return undefined
      const told = piece ?? this.#positionDue()
      if (told !== undefined) {
        this.#toldId = told.lastId
        this.#toldAtMs = this.#parts.clock.monotonic()
        return told
      }
      if (!hasRead) await this.#parts.heads.next()
    }
    return undefined
  }

  /** A page of each stream that has something, as one piece, or as much of that as one may have. */
  async #readRound(): Promise<{ hasRead: boolean; piece: FeedText | undefined }> {
    const seen = new Set<number>()
    let piece: FeedText | undefined
    while (piece === undefined || piece.text.length < pieceCharactersMax) {
      const stream = this.#nextStream()
      if (stream === undefined || seen.has(stream.stream) || this.#hasLeft) break
      const page = await this.#read(stream)
      if (page === undefined) break
      seen.add(stream.stream)
      piece = joined(piece, this.#take(page))
    }
    return { hasRead: seen.size > 0, piece }
  }

  leave(): void {
    this.#hasLeft = true
  }

  /** Records of its generation that are before it. */
  get lag(): number {
    return this.#ownStreams().reduce((sum, of) => sum + Math.max(0, of.head - this.#seqOf(of)), 0)
  }

  /** The next page of a stream; undefined if it cannot be read now. */
  async #read(stream: FeedStream): Promise<FeedPage | undefined> {
    const { pages, clock, onTrouble } = this.#parts
    try {
      return await pages.after(stream, this.#seqOf(stream))
    } catch (error) {
      if (faultOf(error) !== undefined) throw error
      onTrouble(error as Error)
      await pause(clock, retryMs, neverAborted)
      return undefined
    }
  }

  /** The stream whose turn it is, of those that have something; at the end of a generation, the next. */
  #nextStream(): FeedStream | undefined {
    for (;;) {
      const streams = this.#ownStreams()
      assertReached(this.#place.seqs, streams)
      const behind = streams.filter((stream) => this.#seqOf(stream) < stream.head)
      const next = behind.find(({ stream }) => stream > this.#lastStream) ?? behind[0]
      if (next !== undefined) {
        this.#lastStream = next.stream
        return next
      }
      const place = streams.every(({ isClosed }) => isClosed)
        ? nextPlace(this.#place.generation, this.#parts.heads.current.streams)
        : undefined
      if (place === undefined) return undefined
      this.#place = place
    }
  }

  /** What it is to hear of a page, and moves on behind it; undefined if that is nothing. */
  #take({ stream, seq: pageSeq, events }: FeedPage): FeedText | undefined {
    const { seqs } = this.#place
    const from = seqs.get(stream) ?? 0
    const [before, after] = aroundSeq(this.#bookId, seqs, stream)
    let [text, lastId, count, reached] = ['', '', 0, pageSeq]
    for (const event of events) {
      if (event.seq <= from || !this.#hears(event)) continue
      lastId = `${before}${event.seq}${after}`
      text += `${event.text}id: ${lastId}\n\n`
      count += 1
      if (text.length < pieceCharactersMax) continue
      reached = event.seq
      break
    }
    seqs.set(stream, reached)
    return count === 0 ? undefined : { text, lastId, position: this.#position(), events: count }
  }

  #hears({ tenant, type, accounts }: WrittenEvent): boolean {
    return (
      tenant === this.#request.tenant &&
      (this.#types?.has(type) ?? true) &&
      (this.#accounts === undefined || accounts.some((account) => this.#accounts?.has(account)))
    )
  }

  /** Where it is, if it has not been told for a while. */
  #positionDue(): FeedText | undefined {
    if (this.#parts.clock.monotonic() < this.#toldAtMs + positionPeriodMs) return undefined
    const position = this.#position()
    if (position === this.#toldId) return undefined
    return { text: positionText(position), lastId: position, position, events: 0 }
  }

  #position(): string {
    return formatFeedPosition(this.#bookId, this.#place.seqs)
  }

  #seqOf({ stream }: FeedStream): number {
    return this.#place.seqs.get(stream) ?? 0
  }

  #ownStreams(): FeedStream[] {
    const { streams } = this.#parts.heads.current
    return streams.filter(({ generation }) => generation === this.#place.generation)
  }

  get #bookId(): string {
    return this.#parts.heads.current.bookId
  }
}

function joined(one: FeedText | undefined, next: FeedText | undefined): FeedText | undefined {
  if (one === undefined || next === undefined) return one ?? next
  return { ...next, text: one.text + next.text, events: one.events + next.events }
}

/** What ends a listener; undefined if an error passes by itself. */
export function faultOf(error: unknown): FeedFault | undefined {
  if (error instanceof PositionFault) return { code: error.code, message: error.message }
  if (error instanceof NoSuchRecordError || error instanceof ArchiveFault) {
    const message = 'is before what the journal still has; the rest has been archived'
    return { code: 'position_gone', message }
  }
  if (error instanceof JournalFault && error.code === 'broken_chain') {
    return { code: 'journal_damaged', message: error.message }
  }
  return undefined
}

const neverAborted = new AbortController().signal

/** An event that says no more than where the listener is. It has data: parsers pass over one without. */
export function positionText(position: string): string {
  return `event: position\ndata: ${JSON.stringify({ position })}\nid: ${position}\n\n`
}
