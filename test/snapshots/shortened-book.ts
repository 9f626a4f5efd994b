import { Batch } from '../../src/journal/batch.js'
import { type BookRows, layoutOf, streamsOf } from '../../src/journal/book-rows.js'
import { digestChain, emptyDigest } from '../../src/journal/digest.js'
import { postgresDatabase } from '../../src/journal/postgres.js'
import { postgresStore } from '../../src/journal/postgres-session.js'
import { paddedLength, Word } from '../../src/journal/record.js'
import { Replay, type StoredChunk } from '../../src/journal/replay.js'
import type { JournalSession, JournalStore } from '../../src/journal/session.js'
import type { BookLayout } from '../../src/journal/take-over.js'
import { digestOfJournal } from '../actors/journal-check.js'

/**
 * The digest of a book of which only the records up to a position were ever written: its records
 * are packed anew, in memory, and read by an engine that knows nothing else.
 */
export async function digestUpTo(
  connectionString: string,
  rows: BookRows,
  cut: { generation: number; position: ReadonlyMap<number, number> },
): Promise<bigint> {
  const real = postgresStore(postgresDatabase(connectionString, 5000))
  const session = await real.open()
  const streams = new Map<number, { chunks: StoredChunk[]; head: number; digest: Buffer }>()
  for (const stream of rows.streams.filter(({ generation }) => generation <= cut.generation)) {
    const toSeq = cut.position.get(stream.id) ?? stream.head
    streams.set(stream.id, await packed(session, stream.id, toSeq))
  }
  session.close()
  const store: JournalStore = {
    open: async () =>
      ({
        readHead: async (stream: number) => ({ epoch: 0, ...streams.get(stream) }),
        async *readChunks(stream: number, afterSeq: number, toSeq: number) {
          for (const chunk of streams.get(stream)?.chunks ?? []) {
            if (chunk.firstSeq > afterSeq && chunk.firstSeq <= toSeq) yield chunk
          }
        },
        close: () => undefined,
      }) as unknown as JournalSession,
  }
  const layout = layoutOf(rows, cut.generation)
  const book: BookLayout = {
    bookId: rows.id,
    layout,
    streamOfSlot: layout.streamOfSlots(),
    closed: Array.from({ length: cut.generation - 1 }, (_, index) =>
      streamsOf(rows, index + 1).map(({ id }) => id),
    ),
  }
  return await digestOfJournal(book, store, layout.shards)
}

async function packed(session: JournalSession, stream: number, toSeq: number) {
  const replay = new Replay(stream, { seq: 0, digest: emptyDigest }, digestChain())
  const batch = new Batch(stream)
  batch.restart(1)
  for await (const chunk of session.readChunks(stream, 0, toSeq)) {
    replay.read(chunk, (words, at, seq) => {
      if (seq > toSeq) return
      const bytes = Buffer.from(words.buffer, words.byteOffset + at * 4, words[at + Word.length])
      batch.addBytes(Uint8Array.from(bytes))
    })
  }
  const { copy, digest } = batch.seal(1, emptyDigest, digestChain())
  return { chunks: chunksIn(stream, copy), head: batch.records, digest }
}

/** The rows of a binary COPY of the journal. */
function chunksIn(stream: number, copy: Buffer): StoredChunk[] {
  const chunks: StoredChunk[] = []
  for (let at = 19; copy.readInt16BE(at) !== -1; ) {
    const length = copy.readInt32BE(at + 80)
    if (length !== paddedLength(length)) throw new Error('a payload is not padded')
    chunks.push({
      stream,
      firstSeq: Number(copy.readBigInt64BE(at + 14)),
      part: copy.readInt16BE(at + 26),
      n: copy.readInt32BE(at + 32),
      epoch: copy.readInt32BE(at + 40),
      prev: copy.subarray(at + 48, at + 80),
      payload: copy.subarray(at + 84, at + 84 + length),
    })
    at += 84 + length
  }
  return chunks
}
