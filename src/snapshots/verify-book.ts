import type { Book } from '../actors/book.js'
import { bookDigest, horizonOf } from '../actors/digest.js'
import type { BookLayout, StreamEnd } from '../journal/take-over.js'
import { snapshotFault } from './choose-snapshot.js'
import { decodeManifest, SnapshotFault } from './manifest.js'
import { type RebuildParts, rebuiltBooks } from './rebuilt-books.js'
import type { SnapshotStore } from './store.js'

export interface VerifyBookOptions extends Omit<RebuildParts, 'snapshots'> {
  snapshots: SnapshotStore | undefined
}

/** A snapshot that is not what the journal says. */
export interface SnapshotFinding {
  snapshot: string
  what: string
}

export interface VerifiedBook {
  /** The books of all shards, as the journal alone makes them. */
  books: Book[]
  /** Their digest, in hexadecimal digits. */
  digest: string
  /** Snapshots that were compared, newest first. */
  snapshots: string[]
  findings: SnapshotFinding[]
}

/**
 * Rebuilds the book from the journal alone, at the position of `ends`, and again from each snapshot
 * and what comes after it: all must come to the same. Every block of every snapshot is read.
 */
export async function verifyBook(
  options: VerifyBookOptions,
  at: { book: BookLayout; ends: readonly StreamEnd[] },
): Promise<VerifiedBook> {
  const books = await rebuiltBooks(options, at)
  const digest = bookDigest(books)
  const verified: VerifiedBook = {
    books,
    digest: digest.toString(16).padStart(64, '0'),
    snapshots: [],
    findings: [],
  }
  if (options.snapshots === undefined) return verified
  for (const stored of await options.snapshots.list(at.book.bookId)) {
    const what = await faultOf({ ...options, snapshots: options.snapshots }, at, stored, books)
    verified.snapshots.push(stored.id)
    if (what !== undefined) verified.findings.push({ snapshot: stored.id, what })
  }
  return verified
}

async function faultOf(
  options: VerifyBookOptions & { snapshots: SnapshotStore },
  at: { book: BookLayout; ends: readonly StreamEnd[] },
  stored: Awaited<ReturnType<SnapshotStore['list']>>[number],
  journal: readonly Book[],
): Promise<string | undefined> {
  const session = await options.store.open()
  const fault = await snapshotFault(stored, at.book, session).finally(() => session.close())
  if (fault !== undefined) return fault
  const snapshot = decodeManifest(stored.manifest)
  const end = (stream: number) => at.ends.find((candidate) => candidate.stream === stream)
  if (snapshot.streams.some(({ stream, seq }) => seq > (end(stream)?.seq ?? 0))) {
    // It was made after the check began, and is one for the next check.
    return undefined
  }
  try {
    const books = await rebuiltBooks(options, at, snapshot)
    const horizon = horizonOf(books)
    if (bookDigest(books, horizon) !== bookDigest(journal, horizon)) {
      return 'it leads to another state than the journal'
    }
    return forgotten(journal, books)
      ? 'it does not know of a transaction that it let go'
      : undefined
  } catch (error) {
    if (error instanceof SnapshotFault) return error.message
    throw error
  }
}

/** Whether a transaction of the journal is neither in memory nor among those let go. */
export function forgotten(journal: readonly Book[], books: readonly Book[]): boolean {
  const key = new Uint32Array(4)
  return journal.some(({ transactions }, shard) => {
    const { letGo, transactions: own } = books[shard]
    for (const row of transactions.keys.rows()) {
      transactions.keys.copyKey(row, key, 0)
      const tenant = transactions.keys.tenantOf(row)
      const isKnown = own.keys.find(tenant, key[0], key[1], key[2], key[3]) >= 0
      if (!isKnown && !letGo.mayHave(tenant, key, 0)) return true
    }
    return false
  })
}
