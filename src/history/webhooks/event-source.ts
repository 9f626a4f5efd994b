import type { Clock } from '../../clock.js'
import type { DigestChain } from '../../journal/batch.js'
import type { JournalSession } from '../../journal/session.js'
import { keptAfter, streamTail } from '../feed/stream-tail.js'
import { Bell } from './bell.js'
import type { WebhookEvent } from './webhook-event.js'

/** A stream as the database has it. */
export interface StreamHead {
  stream: number
  generation: number
  isClosed: boolean
  head: number
}

/** How far somebody has come in a stream. */
export interface StreamPlace {
  stream: number
  seq: number
  /** Of the chunk that ends there, if one does. */
  digest: Buffer | undefined
}

/** The events after a place, and the place after them. */
export interface EventWindow {
  events: readonly WebhookEvent[]
  seq: number
  digest: Buffer | undefined
}

/** What a delivery needs of an {@link EventSource}. */
export type EventReader = Pick<EventSource, 'next' | 'headOf' | 'keptAfter'>

/** Most receivers are at the end of their streams, and read the same windows. */
const windowsKeptMax = 8

/**
 * The events of all streams for all receivers, over one session: windows are read one after the
 * other, those of a place once for all who are there at that time.
 */
export class EventSource {
  readonly #session: JournalSession
  readonly #chain: DigestChain
  readonly #clock: Clock
  readonly #streams = new Map<number, StreamHead>()
  readonly #windows = new Map<string, Promise<EventWindow | undefined>>()
  readonly #news = new Bell()
  #reading: Promise<unknown> = Promise.resolve()

  constructor(session: JournalSession, { chain, clock }: { chain: DigestChain; clock: Clock }) {
    this.#session = session
    this.#chain = chain
    this.#clock = clock
  }

  /** Takes note of where the streams are. */
  note(heads: readonly StreamHead[]): void {
    let isNews = false
    for (const head of heads) {
      const known = this.#streams.get(head.stream)
      // A window that was read meanwhile may have seen more.
      if (known !== undefined && known.head >= head.head && known.isClosed === head.isClosed)
        continue
      this.#streams.set(head.stream, { ...head, head: Math.max(head.head, known?.head ?? 0) })
      isNews = true
    }
    if (isNews) this.#news.ring()
  }

  /** Seq of the last record that is known of. */
  headOf(stream: number): number {
    return this.#streams.get(stream)?.head ?? 0
  }

  /**
   * The window after a place, as soon as there is one; undefined at the end of a closed stream, or
   * when the signal aborts. Rejects as streamTail does, and if the place is beyond the stream's end.
   */
  async next(place: StreamPlace, signal: AbortSignal): Promise<EventWindow | undefined> {
    while (!signal.aborted) {
      const { stream, seq } = place
      const known = this.#streams.get(stream)
      if (known !== undefined) {
        if (known.head > seq) return await this.#window(place)
        if (known.head < seq) throw new BeyondEndError(stream, { seq, head: known.head })
        if (known.isClosed) return undefined
      }
      await this.#news.wait(signal)
    }
    return undefined
  }

  /** The seq after which the journal still has all records of a stream. */
  async keptAfter(stream: number): Promise<number> {
    return await this.#inTurn(() => keptAfter(this.#session, stream))
  }

  #window(place: StreamPlace): Promise<EventWindow | undefined> {
    const name = `${place.stream}-${place.seq}`
    const kept = this.#windows.get(name)
    if (kept !== undefined) return kept
    const window = this.#inTurn(() => this.#read(place))
    this.#windows.set(name, window)
    window.catch(() => this.#windows.delete(name))
    for (const oldest of this.#windows.keys()) {
      if (this.#windows.size <= windowsKeptMax) break
      this.#windows.delete(oldest)
    }
    return window
  }

  async #read({ stream, seq, digest }: StreamPlace): Promise<EventWindow | undefined> {
    const tail = streamTail(this.#session, {
      ...{ stream, afterSeq: seq, digest, chain: this.#chain, clock: this.#clock },
      // It ends with what is there now, instead of waiting for more.
      isClosed: true,
      signal: forEver,
    })
    for await (const batch of tail) {
      const known = this.#streams.get(stream)
      // Who waits at the head that was known would not hear of it from the next look either.
      if (known !== undefined && known.head < batch.head)
        this.note([{ ...known, head: batch.head }])
      return { events: batch.events, seq: batch.seq, digest: batch.digest }
    }
    return undefined
  }

  /** One statement after the other. */
  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const turn = this.#reading.then(work)
    this.#reading = turn.catch(() => undefined)
    return turn
  }
}

/** Reading ends with its session. */
const forEver = new AbortController().signal

/** A position that the stream has not reached: the journal has lost its end. */
class BeyondEndError extends Error {
  readonly code = 'position_ahead'

  constructor(stream: number, { seq, head }: { seq: number; head: number }) {
    super(`stream ${stream} ends at ${head}, before the position ${seq}`)
  }
}
