import type { Queries } from '../journal/database.js'
import { emptyDigest } from '../journal/digest.js'
import {
  assertBlock,
  decodeManifest,
  encodeManifest,
  type SnapshotManifest,
  type SnapshotStream,
} from './manifest.js'
import type { SnapshotStore, StoredSnapshot } from './store.js'

/** The journal that a snapshot must fit: where its streams end, and the database that has it. */
export interface CopiedJournal {
  sourceId: string
  bookId: string
  generation: number
  /** Seq and digest of the end of each stream. */
  ends: ReadonlyMap<number, { seq: number; digest: Buffer }>
  connection: Queries
}

/**
 * Copies the newest snapshot of the source that fits the journal as it was restored, under the id
 * of the new book. One that cannot be read is passed over for the one before it. Resolves with the
 * snapshot's id, or undefined if none fits.
 */
export async function copySnapshot(
  from: SnapshotStore,
  to: SnapshotStore,
  journal: CopiedJournal,
  log: (message: string) => void,
): Promise<string | undefined> {
  await to.sweep(journal.bookId)
  for (const { id, bookId } of await to.list(journal.bookId)) await to.remove({ id, bookId })
  for (const stored of await from.list(journal.sourceId)) {
    try {
      const manifest = decodeManifest(stored.manifest)
      if (!(await fits(manifest, journal))) continue
      await copyBlocks(from, to, stored, { ...manifest, bookId: journal.bookId })
      return stored.id
    } catch (error) {
      log(`snapshot ${stored.id} is passed over: ${(error as Error).message}`)
    }
  }
  return undefined
}

async function fits(manifest: SnapshotManifest, journal: CopiedJournal): Promise<boolean> {
  if (manifest.bookId !== journal.sourceId || manifest.generation > journal.generation) return false
  for (const stream of manifest.streams) {
    const end = journal.ends.get(stream.stream)
    if (end === undefined || stream.seq > end.seq) return false
    const digest = stream.seq === end.seq ? end.digest : await digestAt(journal.connection, stream)
    if (digest === undefined || !digest.equals(stream.digest)) return false
  }
  return true
}

/** Digest of the chunk that ends with the snapshot's last record; undefined if none ends there. */
async function digestAt(
  connection: Queries,
  { stream, seq }: SnapshotStream,
): Promise<Buffer | undefined> {
  if (seq === 0) return emptyDigest
  const { rows } = await connection.query<{ prev: Buffer }>(
    'select prev from daybook.journal where stream = $1 and first_seq = $2 and part = 0',
    [stream, seq + 1],
  )
  return rows[0]?.prev
}

async function copyBlocks(
  from: SnapshotStore,
  to: SnapshotStore,
  { bookId, id }: StoredSnapshot,
  manifest: SnapshotManifest,
): Promise<void> {
  const sink = await to.begin({ bookId: manifest.bookId, id })
  try {
    for (let number = 0; number < manifest.blocks.length; number++) {
      const bytes = await from.readBlock({ bookId, id }, number)
      assertBlock(manifest, number, bytes)
      await sink.put(number, bytes)
    }
    await sink.finish(encodeManifest(manifest))
  } catch (error) {
    await sink.abandon()
    throw error
  }
}
