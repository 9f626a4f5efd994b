import type { StoredChunk } from './replay.js'
import type { JournalSession } from './session.js'

/**
 * Records of one statement when a whole stream is read. One statement for all of it would keep
 * Postgres from cleaning up behind the writer for as long as it runs, and might be sorted on disk.
 */
export const windowRecords = 50_000

/** A chunk has at most 7,800 bytes and a record at least 64: within so many seqs one begins. */
export const chunkRecordsMax = 128

/** The chunks of a stream after seq `afterSeq`, up to and with `toSeq`, read window by window. */
export async function* readInWindows(
  session: Pick<JournalSession, 'readChunks'>,
  stream: number,
  { afterSeq, toSeq }: { afterSeq: number; toSeq: number },
): AsyncIterable<StoredChunk> {
  for (let from = afterSeq; from < toSeq; from += windowRecords) {
    yield* session.readChunks(stream, from, Math.min(from + windowRecords, toSeq))
  }
}

/** A place between chunks: all records up to `seq`, the last of a chunk, are before it. */
export interface ChunkStart {
  /** Seq after which the chunk begins. */
  afterSeq: number
  /** The chunks that were read from there. */
  chunks: StoredChunk[]
}

/**
 * The chunks around a record: those of the chunk that holds `seq`, with all parts, and what follows
 * within a chunk's length. Rejects with {@link NoSuchRecordError} if `seq` is in none.
 */
export async function chunksAround(
  session: Pick<JournalSession, 'readChunks'>,
  stream: number,
  seq: number,
): Promise<ChunkStart> {
  const chunks: StoredChunk[] = []
  const from = Math.max(0, seq - chunkRecordsMax)
  for await (const chunk of session.readChunks(stream, from, seq + chunkRecordsMax)) {
    chunks.push(chunk)
  }
  const at = chunks.findLastIndex((chunk) => chunk.firstSeq <= seq && chunk.part === 0)
  if (at < 0 || chunks[at].firstSeq + chunks[at].n <= seq) {
    throw new NoSuchRecordError(stream, seq)
  }
  return { afterSeq: chunks[at].firstSeq - 1, chunks: chunks.slice(at) }
}

/** The journal has no such record, or has it no more. */
export class NoSuchRecordError extends Error {
  readonly code = 'no_such_record'

  constructor(stream: number, seq: number) {
    super(`stream ${stream} has no record ${seq}`)
  }
}

/** The first chunks of the records that begin within a chunk's length after `afterSeq`. */
export async function chunksAfter(
  session: Pick<JournalSession, 'readChunks'>,
  stream: number,
  afterSeq: number,
): Promise<StoredChunk[]> {
  const chunks: StoredChunk[] = []
  for await (const chunk of session.readChunks(stream, afterSeq, afterSeq + chunkRecordsMax)) {
    if (chunk.part === 0) chunks.push(chunk)
  }
  return chunks
}
