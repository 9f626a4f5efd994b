import type { JournalSession } from '../journal/session.js'
import type { BookLayout } from '../journal/take-over.js'
import { decodeManifest, SnapshotFault, type SnapshotManifest } from './manifest.js'
import type { SnapshotStore, StoredSnapshot } from './store.js'

/**
 * The snapshots of a book that its journal goes on from, newest first. What is damaged or belongs
 * elsewhere is passed over with a warning; so are all of them if the store cannot say what it has.
 * Rejects with `newer_version` if a snapshot is of a version that this program does not know: a
 * newer program has served the book.
 */
export async function usableSnapshots(
  store: SnapshotStore,
  book: BookLayout,
  session: JournalSession,
  warn: (message: string) => void,
): Promise<SnapshotManifest[]> {
  const usable: SnapshotManifest[] = []
  for (const stored of await listed(store, book.bookId, warn)) {
    try {
      usable.push(await readSnapshot(stored, book, session))
    } catch (error) {
      if (!(error instanceof SnapshotFault) || error.code === 'newer_version') throw error
      warn(`snapshot ${stored.id} is passed over: ${error.message}`)
    }
  }
  return usable
}

/** Why a start would not use the snapshot; undefined if it would. */
export async function snapshotFault(
  stored: StoredSnapshot,
  book: BookLayout,
  session: JournalSession,
): Promise<string | undefined> {
  try {
    await readSnapshot(stored, book, session)
    return undefined
  } catch (error) {
    if (error instanceof SnapshotFault) return error.message
    throw error
  }
}

async function readSnapshot(
  stored: StoredSnapshot,
  book: BookLayout,
  session: JournalSession,
): Promise<SnapshotManifest> {
  const snapshot = decodeManifest(stored.manifest)
  assertOfBook(snapshot, stored, book)
  await assertOfJournal(snapshot, session)
  return snapshot
}

async function listed(
  store: SnapshotStore,
  bookId: string,
  warn: (message: string) => void,
): Promise<StoredSnapshot[]> {
  try {
    return await store.list(bookId)
  } catch (error) {
    warn(`the snapshots cannot be listed: ${(error as Error).message}`)
    return []
  }
}

function assertOfBook(
  snapshot: SnapshotManifest,
  stored: StoredSnapshot,
  { bookId, layout, closed }: BookLayout,
): void {
  if (snapshot.bookId !== bookId) throw foreign(`it is of book ${snapshot.bookId}`)
  if (snapshot.id !== stored.id) throw foreign(`it calls itself ${snapshot.id}`)
  const generations = [...closed, layout.streams]
  const streams = snapshot.streams.map(({ stream }) => stream).join()
  if (!generations.some((generation) => generation.join() === streams)) {
    throw foreign(`the book has no generation with the streams ${streams}`)
  }
}

/** Every stream must go on, with the digest that the snapshot names, or end there. */
async function assertOfJournal(snapshot: SnapshotManifest, session: JournalSession): Promise<void> {
  for (const { stream, seq, digest } of snapshot.streams) {
    const end = await session.readHead(stream)
    let found = end.head === seq ? end.digest : undefined
    if (end.head > seq) {
      for await (const chunk of session.readChunks(stream, seq, seq + 1)) found ??= chunk.prev
    }
    if (found?.equals(digest) !== true) {
      throw foreign(`stream ${stream} of the journal does not go on from its record ${seq}`)
    }
  }
}

function foreign(message: string): SnapshotFault {
  return new SnapshotFault('foreign_snapshot', message)
}
