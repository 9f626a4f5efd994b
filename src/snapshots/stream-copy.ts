import type { DigestChain } from '../journal/batch.js'
import type { StreamRow } from '../journal/book-rows.js'
import { emptyDigest } from '../journal/digest.js'
import type { MessageCounts } from '../journal/message-counts.js'
import { Replay, type StoredChunk } from '../journal/replay.js'
import { JournalFault, type JournalSession } from '../journal/session.js'
import { chunksAfter, readInWindows } from '../journal/windows.js'
import type { ChunkSink } from './chunk-sink.js'

export interface CopyParts {
  session: Pick<JournalSession, 'readChunks'>
  sink: Pick<ChunkSink, 'add'>
  chain: DigestChain
  /** Of the stream, if its messages are to be counted. */
  counts?: MessageCounts
  onRecords(records: number): void
}

/**
 * Copies a stream up to and with `toSeq`, proving its chain on the way, also that of the chunk in
 * which it is cut. Resolves with the digest of the copy's last chunk, which is written anew if it
 * holds fewer records than before. Rejects with `broken_chain` where the stream is damaged.
 */
export async function copyStream(
  stream: StreamRow,
  toSeq: number,
  { session, sink, chain, counts, onRecords }: CopyParts,
): Promise<Buffer> {
  const replay = new Replay(stream.id, { seq: 0, digest: emptyDigest }, chain)
  let digest: Buffer = emptyDigest
  for await (const chunk of readInWindows(session, stream.id, { afterSeq: 0, toSeq })) {
    const before = replay.seq
    let cutAtWord: number | undefined
    replay.read(chunk, (words, at, seq) => {
      if (seq > toSeq) cutAtWord ??= at
      else if (counts !== undefined) note(counts, { words, at, seq, chunkSeq: replay.chunkSeq })
    })
    const kept = cutAtWord === undefined ? chunk : firstRecords(chunk, cutAtWord, toSeq)
    digest = kept === chunk ? replay.digest : chain.next(chunk.prev, kept)
    await sink.add(kept)
    onRecords(Math.min(replay.seq, toSeq) - before)
  }
  await assertGoesOn(session, replay, stream, toSeq)
  return digest
}

/** A chunk is proven by the one after it: until then its records may be anything. */
function note(
  counts: MessageCounts,
  of: { words: Uint32Array; at: number; seq: number; chunkSeq: number },
): void {
  try {
    counts.note(of.words, of.at, of.seq, of.chunkSeq)
  } catch (error) {
    if (error instanceof JournalFault) throw error
    throw new JournalFault(
      'broken_chain',
      `stream ${counts.stream} is damaged at seq ${of.chunkSeq}: a record cannot be read`,
      error,
    )
  }
}

/** The chunk up to and with `toSeq`, whose last record ends at `endWord`. */
function firstRecords(chunk: StoredChunk, endWord: number, toSeq: number): StoredChunk {
  return {
    ...chunk,
    n: toSeq - chunk.firstSeq + 1,
    payload: chunk.payload.subarray(0, endWord * 4),
  }
}

/** The last chunk that was read is proven by the one after it, or by the row of the stream. */
export async function assertGoesOn(
  session: Pick<JournalSession, 'readChunks'>,
  replay: Replay,
  { id, head, digest }: StreamRow,
  toSeq: number,
): Promise<void> {
  if (replay.seq >= head || replay.seq < toSeq) return replay.assertEnd(head, digest)
  const [next] = await chunksAfter(session, id, replay.seq)
  if (next?.firstSeq === replay.seq + 1 && next.prev.equals(replay.digest)) return
  throw new JournalFault(
    'broken_chain',
    `stream ${id} is damaged at seq ${replay.chunkSeq}: the chunk after it has another digest`,
  )
}
