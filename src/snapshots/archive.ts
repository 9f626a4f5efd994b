import { mkdir } from 'node:fs/promises'
import { resolve } from 'node:path'
import {
  ArchiveFault,
  assertSegment,
  readManifest,
  readSegment,
  type SegmentManifest,
  SegmentWriter,
  writeManifest,
} from '../journal/archive-segment.js'
import { type ArchivedRange, readArchive } from '../journal/archived-store.js'
import type { DigestChain } from '../journal/batch.js'
import type { BookPosition } from '../journal/book-position.js'
import { type BookRows, readBookRows, type StreamRow } from '../journal/book-rows.js'
import type { Database, DatabaseConnection } from '../journal/database.js'
import { emptyDigest } from '../journal/digest.js'
import { Replay } from '../journal/replay.js'
import type { JournalSession, JournalStore } from '../journal/session.js'
import { windowRecords } from '../journal/windows.js'
import { dropEmptyPartitions } from './empty-partitions.js'
import { assertGoesOn } from './stream-copy.js'

export interface ArchiveOptions {
  database: Database
  /** The journal in Postgres, without what has been archived. */
  store: JournalStore
  directory: string
  chain: DigestChain
  /** Bytes of chunks in one file; one is checked and taken out of the journal before the next. */
  segmentBytes?: number
  onProgress(done: number, total: number): void
}

export interface ArchiveResult {
  /** What was moved now, by file. */
  moved: { stream: number; firstSeq: number; lastSeq: number; file: string; bytes: number }[]
  /** Partitions in which nothing was left. */
  dropped: string[]
}

const segmentBytesByDefault = 256 << 20
/** Seqs of one DELETE: some thousand rows, gone before anybody notices. */
const deletedSeqs = 50_000

/**
 * Moves the chunks that end at or before a book position, those of older generations whole, from
 * the journal to files. File by file:
 *
 *     write, fsync ─▶ read back and check ─▶ manifest ─▶ row in daybook.archive ─▶ delete, piece by piece
 *
 * From the row on the file counts, and readers look there (journal/archived-store.ts). Broken off
 * anywhere, it is run again and goes on: a file without its row is written anew, and rows that were
 * left are deleted. Partitions in which nothing is left go at the end: only that locks something that
 * a writer needs, for a moment.
 */
export async function archiveJournal(
  before: { generation: number; position: BookPosition },
  options: ArchiveOptions,
): Promise<ArchiveResult> {
  return await withArchiveLock(options.database, async (connection) => {
    const directory = resolve(options.directory)
    await mkdir(directory, { recursive: true })
    const book = await readBookRows(connection)
    const ranges = await readArchive(connection)
    for (const range of ranges) {
      await readManifest(directory, range.file)
      await deleteRows(connection, range)
    }
    const session = await options.store.open()
    try {
      const moving = { book, connection, session, directory, ranges }
      const moved = await moveStreams(before, options, moving)
      return { moved, dropped: await dropEmptyPartitions(connection) }
    } finally {
      session.close()
    }
  })
}

interface Moving {
  book: BookRows
  connection: DatabaseConnection
  session: JournalSession
  directory: string
  ranges: readonly ArchivedRange[]
}

async function moveStreams(
  before: { generation: number; position: BookPosition },
  options: ArchiveOptions,
  moving: Moving,
): Promise<ArchiveResult['moved']> {
  const wanted = moving.book.streams.flatMap((stream) => {
    const toSeq =
      stream.generation < before.generation ? stream.head : (before.position.get(stream.id) ?? 0)
    const archived = moving.ranges.findLast((range) => range.stream === stream.id)
    const start = { seq: archived?.lastSeq ?? 0, digest: archived?.digest ?? emptyDigest }
    return toSeq > start.seq ? [{ stream, toSeq, start }] : []
  })
  const total = wanted.reduce((sum, { toSeq, start }) => sum + toSeq - start.seq, 0)
  const moved: ArchiveResult['moved'] = []
  let done = 0
  for (const { stream, toSeq, start } of wanted) {
    let from = start
    for (;;) {
      const manifest = await moveSegment(stream, from, toSeq, options, moving)
      if (manifest === undefined) break
      const { firstSeq, lastSeq, file, bytes } = manifest
      moved.push({ stream: stream.id, firstSeq, lastSeq, file, bytes })
      done += lastSeq - from.seq
      options.onProgress(done, total)
      from = { seq: lastSeq, digest: Buffer.from(manifest.digestAfter, 'hex') }
    }
  }
  return moved
}

/** Moves the chunks after `start`, as many as go into one file; undefined if there is none. */
async function moveSegment(
  stream: StreamRow,
  start: { seq: number; digest: Buffer },
  toSeq: number,
  options: ArchiveOptions,
  { book, connection, session, directory }: Moving,
): Promise<SegmentManifest | undefined> {
  const { chain, segmentBytes = segmentBytesByDefault } = options
  const file = `${book.id}-${stream.id}-${String(start.seq + 1).padStart(12, '0')}.gz`
  const writer = await SegmentWriter.open(directory, file)
  const replay = new Replay(stream.id, start, chain)
  let bytes = 0
  try {
    let isFull = false
    for (let from = start.seq; from < toSeq && !isFull; from += windowRecords) {
      // A statement is read to its end: its session could not be used again otherwise.
      const windowEnd = Math.min(from + windowRecords, toSeq)
      for await (const chunk of session.readChunks(stream.id, from, windowEnd)) {
        const isNew = chunk.part === 0
        isFull ||= isNew && (bytes >= segmentBytes || chunk.firstSeq + chunk.n - 1 > toSeq)
        if (isFull) continue
        replay.read(chunk, () => undefined)
        await writer.add(chunk)
        bytes += chunk.payload.length
      }
    }
    if (replay.seq === start.seq) return undefined
    await assertGoesOn(session, replay, stream, replay.seq)
    const manifest: SegmentManifest = {
      ...{ format: 1, bookId: book.id, stream: stream.id },
      ...{ firstSeq: start.seq + 1, lastSeq: replay.seq, file },
      digestBefore: start.digest.toString('hex'),
      digestAfter: replay.digest.toString('hex'),
      ...(await writer.finish()),
    }
    await assertReadable(directory, manifest, chain)
    await writeManifest(directory, manifest)
    const range = { ...manifest, digest: replay.digest, directory }
    await connection.query(
      `insert into daybook.archive (stream, first_seq, last_seq, digest, directory, file)
       values ($1, $2, $3, $4, $5, $6)`,
      [stream.id, range.firstSeq, range.lastSeq, range.digest, directory, file],
    )
    await deleteRows(connection, range)
    return manifest
  } finally {
    await writer.close()
  }
}

/** Rejects unless the file holds the chain from the manifest's one digest to the other. */
export async function assertReadable(
  directory: string,
  manifest: SegmentManifest,
  chain: DigestChain,
): Promise<void> {
  await assertSegment(directory, manifest)
  const { stream, firstSeq, lastSeq } = manifest
  const digest: Buffer = Buffer.from(manifest.digestBefore, 'hex')
  const replay = new Replay(stream, { seq: firstSeq - 1, digest }, chain)
  const all = { afterSeq: firstSeq - 1, toSeq: lastSeq }
  for await (const chunk of readSegment(directory, manifest, all)) {
    replay.read(chunk, () => undefined)
  }
  replay.assertEnd(lastSeq, Buffer.from(manifest.digestAfter, 'hex'))
}

async function deleteRows(
  connection: DatabaseConnection,
  { stream, firstSeq, lastSeq }: Pick<ArchivedRange, 'stream' | 'firstSeq' | 'lastSeq'>,
): Promise<void> {
  const { rows } = await connection.query<{ first: string | null }>(
    `select min(first_seq) as first from daybook.journal
     where stream = $1 and first_seq >= $2 and first_seq <= $3`,
    [stream, firstSeq, lastSeq],
  )
  if (rows[0].first === null) return
  for (let from = Number(rows[0].first); from <= lastSeq; from += deletedSeqs) {
    await connection.query(
      'delete from daybook.journal where stream = $1 and first_seq >= $2 and first_seq <= $3',
      [stream, from, Math.min(lastSeq, from + deletedSeqs - 1)],
    )
  }
}

/** Runs `work` while no other archive command works on the book; the lock ends with its connection. */
export async function withArchiveLock<T>(
  database: Database,
  work: (connection: DatabaseConnection) => Promise<T>,
): Promise<T> {
  const connection = await database.connect({ name: 'daybook archive' })
  try {
    const { rows } = await connection.query<{ alone: boolean }>(
      'select pg_try_advisory_lock(4849332, 3) as alone',
    )
    if (!rows[0].alone) throw new ArchiveFault('another daybook archive is under way on this book')
    return await work(connection)
  } finally {
    connection.close()
  }
}
