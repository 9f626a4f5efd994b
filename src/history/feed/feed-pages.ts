import type { DigestChain } from '../../journal/batch.js'
import { emptyDigest } from '../../journal/digest.js'
import { Replay } from '../../journal/replay.js'
import { JournalFault, type JournalSession, type JournalStore } from '../../journal/session.js'
import { chunksAround, NoSuchRecordError } from '../../journal/windows.js'
import type { FeedEvent, FeedEventType } from './feed-event.js'
import type { FeedStream } from './feed-position.js'
import { nextWindow, readWindow, windowRecordsMax } from './stream-tail.js'

/** The events of a stretch of a stream, decoded and written once for all who listen. */
export interface FeedPage {
  stream: number
  /** The records after this seq, up to and with `seq`, the last of a chunk. */
  afterSeq: number
  seq: number
  digest: Buffer
  /** Of the text of its events. */
  bytes: number
  events: WrittenEvent[]
}

/** An event as text, with what filters ask of it. */
export interface WrittenEvent {
  seq: number
  tenant: number
  type: FeedEventType
  accounts: readonly string[]
  /** Its lines `event:` and `data:`; what is missing is the line `id:`, and the empty one. */
  text: string
}

/** What is kept for those who come after: who listens at the head finds it here. */
const keptBytesMax = 16 << 20
const keptPagesMax = 256

/**
 * Pages of the journal's streams. Whoever asks for a page that somebody has just read, or is reading,
 * gets that one: at the head all listeners share each page, and whoever lags behind reads for itself.
 * The chain of digests is proved from page to page; where reading begins in the middle of a stream,
 * its first chunk is taken at its word.
 */
export class FeedPages {
  readonly #chain: DigestChain
  /** Who is far behind must not keep those at the head waiting. */
  readonly #atHead: PageReading
  readonly #behind: PageReading
  /** In the order of their last use. */
  readonly #kept = new Set<FeedPage>()
  #keptBytes = 0
  readonly #underWay = new Map<string, Promise<FeedPage>>()
  /** Where each stream has been read to, furthest. */
  readonly #ends = new Map<number, { seq: number; digest: Buffer }>()

  /** `store` has what is archived, too, for which each read asks; `journal` has not. */
  constructor(store: JournalStore, journal: JournalStore, chain: DigestChain) {
    this.#chain = chain
    this.#atHead = new PageReading(journal)
    this.#behind = new PageReading(store)
  }

  /**
   * A page with the record after `seq`, which is before the head. Rejects with NoSuchRecordError or
   * with `archive_fault` if the journal has it no more, with `broken_chain` if it is damaged, and with
   * whatever Postgres says.
   */
  async after(of: FeedStream, seq: number): Promise<FeedPage> {
    for (const page of this.#kept) {
      if (page.stream !== of.stream || page.afterSeq > seq || page.seq <= seq) continue
      this.#kept.delete(page)
      this.#kept.add(page)
      return page
    }
    const key = `${of.stream}-${seq}`
    let reading = this.#underWay.get(key)
    if (reading === undefined) {
      reading = this.#read(of, seq).finally(() => this.#underWay.delete(key))
      this.#underWay.set(key, reading)
    }
    return await reading
  }

  /** Forgets everything, and ends its sessions. */
  close(): void {
    this.#atHead.close()
    this.#behind.close()
    this.#kept.clear()
    this.#keptBytes = 0
    this.#ends.clear()
  }

  async #read(of: FeedStream, seq: number): Promise<FeedPage> {
    const isAtHead = of.head - seq <= windowRecordsMax
    const page = await this.#readIn(isAtHead ? this.#atHead : this.#behind, of, seq).catch(
      (error: Error) => {
        if (!isGap(error)) throw error
        // It may be in the archive by now. If it is there no more, this says so, and not of damage.
        return this.#readIn(this.#behind, of, seq, true)
      },
    )
    this.#keep(page)
    return page
  }

  async #readIn(
    reading: PageReading,
    of: FeedStream,
    seq: number,
    isAgain = false,
  ): Promise<FeedPage> {
    return await reading.use(async (session) => {
      try {
        if (isAgain) await chunksAround(session, of.stream, seq + 1)
        return await this.#readWith(session, reading, of, seq)
      } catch (error) {
        // The journal may have lost its end and go on otherwise: nothing that is kept of it counts.
        if (isAgain && isGap(error)) this.#forget(of.stream)
        throw error
      }
    })
  }

  async #readWith(
    session: JournalSession,
    reading: PageReading,
    { stream, head, digest }: FeedStream,
    seq: number,
  ): Promise<FeedPage> {
    const start = await this.#startAt(session, stream, seq)
    const replay = new Replay(stream, start, this.#chain)
    const { windowRecords } = reading
    // Windows of different readers have the same ends, so that they meet in the same pages.
    const toSeq = Math.min(head, (Math.floor(seq / windowRecords) + 1) * windowRecords)
    const { events, bytes } = await readWindow(session, replay, { stream, toSeq, delivered: seq })
    reading.windowRecords = nextWindow(windowRecords, bytes)
    // The head may have moved on since it was looked at, but never within a chunk.
    if (replay.seq === head) replay.assertEnd(head, digest)
    const written = events.map(writeEvent)
    return {
      ...{ stream, afterSeq: seq, seq: replay.seq, digest: replay.digest, events: written },
      bytes: written.reduce((sum, { text }) => sum + text.length, 0),
    }
  }

  async #startAt(
    session: JournalSession,
    stream: number,
    seq: number,
  ): Promise<{ seq: number; digest: Buffer }> {
    const end = this.#ends.get(stream)
    if (end?.seq === seq) return end
    if (seq === 0) return { seq, digest: emptyDigest }
    const { afterSeq, chunks } = await chunksAround(session, stream, seq + 1)
    return { seq: afterSeq, digest: chunks[0].prev }
  }

  #forget(stream: number): void {
    this.#ends.delete(stream)
    for (const page of this.#kept) {
      if (page.stream === stream) this.#drop(page)
    }
  }

  #drop(page: FeedPage): void {
    this.#kept.delete(page)
    this.#keptBytes -= page.bytes
  }

  #keep(page: FeedPage): void {
    const end = this.#ends.get(page.stream)
    if (end === undefined || end.seq < page.seq) this.#ends.set(page.stream, page)
    this.#kept.add(page)
    this.#keptBytes += page.bytes
    for (const oldest of this.#kept) {
      if (this.#keptBytes <= keptBytesMax && this.#kept.size <= keptPagesMax) return
      this.#drop(oldest)
    }
  }
}

function isGap(error: unknown): boolean {
  const isBroken = error instanceof JournalFault && error.code === 'broken_chain'
  return isBroken || error instanceof NoSuchRecordError
}

function writeEvent(event: FeedEvent): WrittenEvent {
  const { type, tenant, accounts, position } = event
  return {
    ...{ type, tenant, accounts },
    seq: Number(position.slice(position.indexOf('-') + 1)),
    text: `event: ${type}\ndata: ${JSON.stringify(event)}\n`,
  }
}

/** A session that reads one page after the other, and is opened anew after an error. */
class PageReading {
  windowRecords = windowRecordsMax
  readonly #store: JournalStore
  #session: Promise<JournalSession> | undefined
  #last: Promise<unknown> = Promise.resolve()

  constructor(store: JournalStore) {
    this.#store = store
  }

  use(work: (session: JournalSession) => Promise<FeedPage>): Promise<FeedPage> {
    const result = this.#last.then(() => this.#run(work))
    this.#last = result.catch(() => undefined)
    return result
  }

  close(): void {
    void this.#session?.then((session) => session.close()).catch(() => undefined)
    this.#session = undefined
  }

  async #run(work: (session: JournalSession) => Promise<FeedPage>): Promise<FeedPage> {
    this.#session ??= this.#store.open()
    try {
      return await work(await this.#session)
    } catch (error) {
      this.close()
      throw error
    }
  }
}
