import { readdir, rm } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import {
  manifestName,
  readManifest,
  readSegment,
  type SegmentManifest,
  syncFolder,
} from '../journal/archive-segment.js'
import { type ArchivedRange, readArchive } from '../journal/archived-store.js'
import type { DigestChain } from '../journal/batch.js'
import { readBookRows } from '../journal/book-rows.js'
import type { DatabaseConnection } from '../journal/database.js'
import { Replay } from '../journal/replay.js'
import type { JournalSession } from '../journal/session.js'
import { readInWindows } from '../journal/windows.js'
import { type ArchiveOptions, assertReadable, withArchiveLock } from './archive.js'
import { ChunkSink } from './chunk-sink.js'
import { partitionSeqs } from './empty-partitions.js'

/** Seqs of one partition of the journal (migrations/001-journal.sql). */

/**
 * Puts what has been archived back into the journal, the newest of each stream first, so that what
 * is still in files always begins at seq 1. File by file:
 *
 *     check ─▶ copy ─▶ read the copy and check it ─▶ take the row of daybook.archive away ─▶ remove
 *
 * Until its row is gone the file counts. Broken off anywhere, it is run again.
 */
export async function putArchiveBack(options: ArchiveOptions): Promise<{ records: number }> {
  return await withArchiveLock(options.database, async (connection) => {
    const directory = resolve(options.directory)
    const ranges = await readArchive(connection)
    const total = ranges.reduce((sum, { firstSeq, lastSeq }) => sum + lastSeq - firstSeq + 1, 0)
    const session = await options.store.open()
    let done = 0
    try {
      for (const range of ranges.reverse()) {
        await putBack(range, directory, options, { connection, session })
        done += range.lastSeq - range.firstSeq + 1
        options.onProgress(done, total)
      }
      const { id } = await readBookRows(connection)
      await removeRest(id, directory, options, session)
    } finally {
      session.close()
    }
    return { records: total }
  })
}

async function putBack(
  { stream, firstSeq, lastSeq, file }: ArchivedRange,
  directory: string,
  { chain }: ArchiveOptions,
  { connection, session }: { connection: DatabaseConnection; session: JournalSession },
): Promise<void> {
  const manifest = await readManifest(directory, file)
  await assertReadable(directory, manifest, chain)
  for (let seq = firstSeq; ; seq += partitionSeqs) {
    await session.ensurePartition(Math.min(seq, lastSeq))
    if (seq >= lastSeq) break
  }
  // Copies that an attempt before this one has left.
  await connection.query(
    'delete from daybook.journal where stream = $1 and first_seq >= $2 and first_seq <= $3',
    [stream, firstSeq, lastSeq],
  )
  const sink = new ChunkSink(connection)
  const all = { afterSeq: firstSeq - 1, toSeq: lastSeq }
  for await (const chunk of readSegment(directory, manifest, all)) await sink.add(chunk)
  await sink.flush()
  await assertInJournal(session, manifest, chain)
  await connection.query('delete from daybook.archive where stream = $1 and first_seq = $2', [
    ...[stream, firstSeq],
  ])
  await removeFiles(directory, file)
}

/** What an attempt before this one has put back, and had no time to remove. */
async function removeRest(
  bookId: string,
  directory: string,
  { chain }: ArchiveOptions,
  session: JournalSession,
): Promise<void> {
  const names = await readdir(directory)
  const files = names.filter((name) => name.startsWith(`${bookId}-`) && name.endsWith('.gz'))
  for (const file of files) {
    // Without a manifest it was never finished, or is being removed.
    if (names.includes(manifestName(file))) {
      await assertInJournal(session, await readManifest(directory, file), chain)
    }
    await removeFiles(directory, file)
  }
}

/** Rejects unless the journal itself has all that the segment has. */
async function assertInJournal(
  session: JournalSession,
  { stream, firstSeq, lastSeq, digestBefore, digestAfter }: SegmentManifest,
  chain: DigestChain,
): Promise<void> {
  const digest: Buffer = Buffer.from(digestBefore, 'hex')
  const replay = new Replay(stream, { seq: firstSeq - 1, digest }, chain)
  const all = { afterSeq: firstSeq - 1, toSeq: lastSeq }
  for await (const chunk of readInWindows(session, stream, all)) {
    replay.read(chunk, () => undefined)
  }
  replay.assertEnd(lastSeq, Buffer.from(digestAfter, 'hex'))
}

async function removeFiles(directory: string, file: string): Promise<void> {
  await rm(join(directory, manifestName(file)), { force: true })
  await rm(join(directory, file), { force: true })
  await syncFolder(directory)
}
