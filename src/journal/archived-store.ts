import { ArchiveFault, readManifest, readSegment, type SegmentManifest } from './archive-segment.js'
import type { Database, DatabaseConnection, Queries } from './database.js'
import { type JournalReader, recordIn } from './reader.js'
import type { StoredChunk } from './replay.js'
import type { JournalSession, JournalStore } from './session.js'
import { chunksAround } from './windows.js'

/** A range of records that is in a file, as the table daybook.archive has it. */
export interface ArchivedRange {
  stream: number
  firstSeq: number
  lastSeq: number
  digest: Buffer
  directory: string
  file: string
}

/** The ranges that have been archived, in order; none where an older program has migrated. */
export async function readArchive(connection: Queries): Promise<ArchivedRange[]> {
  const { rows: tables } = await connection.query<{ is_there: boolean }>(
    "select to_regclass('daybook.archive') is not null as is_there",
  )
  if (!tables[0].is_there) return []
  const { rows } = await connection.query<
    Omit<ArchivedRange, 'firstSeq' | 'lastSeq'> & { first_seq: string; last_seq: string }
  >(
    `select stream, first_seq, last_seq, digest, directory, file from daybook.archive
     order by stream, first_seq`,
  )
  return rows.map(({ first_seq, last_seq, ...row }) => ({
    ...row,
    firstSeq: Number(first_seq),
    lastSeq: Number(last_seq),
  }))
}

/**
 * A journal of which a part may have been archived: its sessions read that part from the files in
 * `directory`, and the rest from `store`. Without a directory, reading what is only in files rejects
 * with `archive_fault`, which says where they were put.
 */
export function archivedStore(
  store: JournalStore,
  database: Database,
  directory: string | undefined,
): JournalStore {
  return {
    async open() {
      const session = await store.open()
      return withArchive(session, { database, directory })
    },
  }
}

function withArchive(
  session: JournalSession,
  { database, directory }: { database: Database; directory: string | undefined },
): JournalSession {
  let connection: DatabaseConnection | undefined
  const manifests = new Map<string, Promise<SegmentManifest>>()
  return {
    commit: (batch) => session.commit(batch),
    settle: (stream, owner) => session.settle(stream, owner),
    confirm: (stream, epoch) => session.confirm(stream, epoch),
    ensurePartition: (seq) => session.ensurePartition(seq),
    readHead: (stream) => session.readHead(stream),
    close: () => {
      session.close()
      connection?.close()
    },
    async *readChunks(stream, afterSeq, toSeq): AsyncIterable<StoredChunk> {
      // Asked each time, for more may have been moved since; but only by who reads.
      connection ??= await database.connect({ name: 'daybook archive' })
      let from = afterSeq
      for (const range of await readArchive(connection)) {
        const isAsked = range.lastSeq > from && range.firstSeq <= toSeq
        if (range.stream !== stream || !isAsked) continue
        if (directory === undefined) throw needsArchive(range)
        let manifest = manifests.get(range.file)
        if (manifest === undefined) {
          manifest = readManifest(directory, range.file)
          manifests.set(range.file, manifest)
        }
        yield* readSegment(directory, await manifest, { afterSeq: from, toSeq })
        from = range.lastSeq
      }
      if (from < toSeq) yield* session.readChunks(stream, from, toSeq)
    },
  }
}

function needsArchive({ stream, firstSeq, lastSeq, directory }: ArchivedRange): ArchiveFault {
  return new ArchiveFault(
    `records ${stream}-${firstSeq} to ${stream}-${lastSeq} are needed, and they have been moved to ` +
      `the archive in ${directory}: set DAYBOOK_ARCHIVE_DIR to it, or put them back with ` +
      '`daybook archive --back`',
  )
}

/** A reader that looks into the archive for what the journal does not have any more. */
export function archivedReader(reader: JournalReader, store: JournalStore): JournalReader {
  return {
    async readRecord(stream, seq) {
      try {
        return await reader.readRecord(stream, seq)
      } catch (error) {
        if (!(error instanceof Error) || !error.message.startsWith('no record at')) throw error
        const session = await store.open()
        try {
          const { afterSeq, chunks } = await chunksAround(session, stream, seq)
          const own = chunks.filter((chunk) => chunk.firstSeq === afterSeq + 1)
          return recordIn(
            own.map(({ firstSeq, payload }) => ({ first_seq: String(firstSeq), payload })),
            { stream, seq },
          )
        } finally {
          session.close()
        }
      }
    },
    close: () => reader.close(),
  }
}
