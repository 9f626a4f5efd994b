import type { Clock } from '../../clock.js'
import type { DigestChain } from '../../journal/batch.js'
import type { Database } from '../../journal/database.js'
import type { JournalStore } from '../../journal/session.js'
import { FeedListener, faultOf } from './feed-listener.js'
import type { FeedFault, FromFeed, ListenRequest, ToFeed } from './feed-messages.js'
import { FeedPages } from './feed-pages.js'
import { type FeedStream, formatFeedPosition } from './feed-position.js'
import { StreamHeads } from './stream-heads.js'
import { keptAfter, pause } from './stream-tail.js'

export interface ListenerSetParts {
  database: Database
  /** With what has been archived. */
  store: JournalStore
  /** Without. */
  journal: JournalStore
  chain: DigestChain
  clock: Clock
  tell(news: FromFeed, transfer?: ArrayBuffer[]): void
}

/** A listener, and whether its text is wanted. */
interface Seat {
  listener: FeedListener
  hasBegun: boolean
  isWanted: boolean
  isReading: boolean
}

const lagPeriodMs = 1000

/**
 * All who listen to the feed of a process, in the thread that reads for them. While nobody does, it
 * has no connection and does nothing.
 */
export class ListenerSet {
  readonly #parts: ListenerSetParts
  readonly #seats = new Map<number, Seat>()
  readonly #heads: StreamHeads
  readonly #pages: FeedPages
  #looking: AbortController | undefined

  constructor(parts: ListenerSetParts) {
    this.#parts = parts
    const onTrouble = (error: Error) => parts.tell({ trouble: error.message })
    this.#heads = new StreamHeads(parts.database, parts.clock, onTrouble)
    this.#pages = new FeedPages(parts.store, parts.journal, parts.chain)
  }

  receive(message: ToFeed): void {
    if ('listen' in message) void this.#listen(message.listen, message.request)
    else if ('want' in message) this.#want(message.want)
    else this.#leave(message.leave)
  }

  async #listen(id: number, request: ListenRequest): Promise<void> {
    const { clock, tell } = this.#parts
    const parts = {
      ...{ heads: this.#heads, pages: this.#pages, clock },
      onTrouble: (error: Error) => tell({ trouble: error.message }),
    }
    const listener = new FeedListener(request, parts)
    const seat = { listener, hasBegun: false, isWanted: false, isReading: false }
    this.#seats.set(id, seat)
    try {
      const position = await listener.begin()
      if (!this.#seats.has(id)) return
      this.#look()
      tell({ began: id, position })
      seat.hasBegun = true
      if (seat.isWanted) void this.#read(id, seat)
    } catch (error) {
      await this.#fail(id, error)
    }
  }

  #want(id: number): void {
    const seat = this.#seats.get(id)
    if (seat === undefined) return
    seat.isWanted = true
    if (seat.hasBegun && !seat.isReading) void this.#read(id, seat)
  }

  async #read(id: number, seat: Seat): Promise<void> {
    seat.isReading = true
    try {
      while (seat.isWanted) {
        const piece = await seat.listener.next()
        if (piece === undefined) return
        seat.isWanted = false
        const bytes = new TextEncoder().encode(piece.text) as Uint8Array<ArrayBuffer>
        const { position, events } = piece
        this.#parts.tell({ text: id, bytes, position, events }, [bytes.buffer])
      }
    } catch (error) {
      await this.#fail(id, error)
    } finally {
      seat.isReading = false
    }
  }

  async #fail(id: number, error: unknown): Promise<void> {
    const message = (error as Error).message
    const fault: FeedFault = faultOf(error) ?? { code: 'journal_unavailable', message }
    if (fault.code === 'position_gone') {
      fault.kept = await this.#keptPosition().catch(() => undefined)
    }
    if (!this.#seats.has(id)) return
    this.#leave(id)
    this.#parts.tell({ failed: id, fault })
  }

  #leave(id: number): void {
    this.#seats.get(id)?.listener.leave()
    this.#seats.delete(id)
    if (this.#seats.size > 0) return
    this.#looking?.abort()
    this.#looking = undefined
    this.#heads.close()
    this.#pages.close()
  }

  #look(): void {
    if (this.#looking !== undefined) return
    this.#looking = new AbortController()
    void this.#heads.run(this.#looking.signal)
    void this.#tellLag(this.#looking.signal)
  }

  async #tellLag(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      const lags = [...this.#seats.values()].map(({ listener }) => listener.lag)
      this.#parts.tell({ lag: Math.max(0, ...lags) })
      await pause(this.#parts.clock, lagPeriodMs, signal)
    }
    this.#parts.tell({ lag: 0 })
  }

  /** The first place from which on the journal, without what is archived, has everything. */
  async #keptPosition(): Promise<string> {
    const { bookId, streams } = this.#heads.current
    const session = await this.#parts.journal.open()
    try {
      let own: FeedStream[] = []
      let seqs = new Map<number, number>()
      for (const { generation } of streams) {
        if (own[0]?.generation === generation) continue
        own = streams.filter((stream) => stream.generation === generation)
        seqs = new Map()
        for (const { stream } of own) seqs.set(stream, await keptAfter(session, stream))
        if (own.some(({ stream, head }) => (seqs.get(stream) ?? 0) < head)) break
      }
      return formatFeedPosition(bookId, seqs)
    } finally {
      session.close()
    }
  }
}
