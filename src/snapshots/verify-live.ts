import { applyRecord } from '../actors/apply.js'
import type { Book } from '../actors/book.js'
import type { SlotDigest } from '../actors/slot-digests.js'
import { SlotIndex, stripedParts } from '../actors/slot-index.js'
import type { DigestChain } from '../journal/batch.js'
import { paddedLength, Word } from '../journal/record.js'
import { Replay } from '../journal/replay.js'
import type { JournalSession, JournalStore } from '../journal/session.js'
import type { BookLayout, StreamEnd } from '../journal/take-over.js'

export interface VerifyLiveOptions {
  /** Where the server is, such as `http://127.0.0.1:3000`. */
  url: string
  store: JournalStore
  chain: DigestChain
  /** Slots compared, and to compare. */
  onProgress(done: number, total: number): void
}

/** What a server has otherwise in memory than the journal says. */
export interface LiveFinding {
  stream: number
  /** -1: the parts of striped accounts. */
  slot: number
  /** The last record that both take into account. */
  seq: number
}

/**
 * Compares what a server has in memory with `books`, the journal's of the same layout, slot by
 * slot: the server says after which record its digest is, and the book is brought there. The
 * server goes on all the while. Rejects if the server serves another layout, or stops.
 */
export async function verifyLive(
  options: VerifyLiveOptions,
  at: { book: BookLayout; ends: readonly StreamEnd[] },
  books: readonly Book[],
): Promise<LiveFinding[]> {
  const { layout, streamOfSlot } = at.book
  const findings: LiveFinding[] = []
  const total = streamOfSlot.length + layout.streams.length
  let done = 0
  for (const [shard, stream] of layout.streams.entries()) {
    const end = at.ends.find((candidate) => candidate.stream === stream)
    if (end === undefined) throw new Error(`nobody says where stream ${stream} ends`)
    const session = await options.store.open()
    try {
      const follower = new BookFollower(books[shard], end, session, options.chain)
      const own = [...streamOfSlot.keys()].filter((slot) => streamOfSlot[slot] === stream)
      for (const slot of [...own, stripedParts]) {
        const live = await digestOf(options.url, stream, slot)
        if ((await follower.digestOf(slot, live)) !== live.digest) {
          findings.push({ stream, slot, seq: live.seq })
        }
        done += 1
        options.onProgress(done, total)
      }
    } finally {
      session.close()
    }
  }
  return findings
}

async function digestOf(url: string, stream: number, slot: number): Promise<SlotDigest> {
  const words = slot === stripedParts ? `stream=${stream}` : `stream=${stream}&slot=${slot}`
  const response = await fetch(`${url}/v1/system/digest?${words}`)
  const body = (await response.json()) as {
    data?: { seq: number; digest: string; horizon: { stream: number; seq: number }[] }
    error?: { message: string }
  }
  if (body.data === undefined) {
    throw new Error(`the server gives no digest of stream ${stream}: ${body.error?.message}`)
  }
  const { seq, digest, horizon } = body.data
  return {
    seq,
    digest: BigInt(`0x${digest}`),
    horizon: horizon.map(({ stream, seq }) => [stream, seq]),
  }
}

/** A book that follows its stream, record by record. */
class BookFollower {
  readonly #book: Book
  readonly #index: SlotIndex
  readonly #stream: number
  readonly #session: JournalSession
  readonly #replay: Replay
  /** Records that have been read and not applied, oldest first. */
  readonly #ahead: { words: Uint32Array; seq: number }[] = []
  #seq: number

  constructor(book: Book, end: StreamEnd, session: JournalSession, chain: DigestChain) {
    this.#book = book
    this.#index = new SlotIndex(book)
    this.#stream = end.stream
    this.#session = session
    this.#replay = new Replay(end.stream, { seq: end.seq, digest: end.digest }, chain)
    this.#seq = end.seq
  }

  /** Digest of a slot after the record `seq`, which is durable. */
  async digestOf(
    slot: number,
    { seq, horizon }: Pick<SlotDigest, 'seq' | 'horizon'>,
  ): Promise<bigint> {
    if (seq < this.#seq) {
      throw new Error(
        `stream ${this.#stream} of the server is at ${seq}, its journal at ${this.#seq}`,
      )
    }
    await this.#follow(seq)
    this.#index.advance(Number.POSITIVE_INFINITY)
    return this.#index.digestOf(slot, new Map(horizon))
  }

  async #follow(seq: number): Promise<void> {
    const from = this.#replay.seq
    if (from < seq) {
      for await (const chunk of this.#session.readChunks(this.#stream, from, seq)) {
        this.#replay.read(chunk, (words, at, own) => {
          const length = paddedLength(words[at + Word.length]) / 4
          this.#ahead.push({ words: words.slice(at, at + length), seq: own })
        })
      }
    }
    this.#book.stream = this.#stream
    while (this.#ahead.length > 0 && this.#ahead[0].seq <= seq) {
      const next = this.#ahead.shift()
      if (next !== undefined) applyRecord(this.#book, next.words, 0, next.seq)
    }
    this.#seq = seq
    if (this.#replay.seq < seq) throw new Error(`stream ${this.#stream} has no record ${seq}`)
  }
}
