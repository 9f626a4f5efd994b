import { Book } from '../actors/book.js'
import { ShardRecovery } from '../actors/shard-recovery.js'
import type { DigestChain } from '../journal/batch.js'
import type { JournalStore } from '../journal/session.js'
import type { BookLayout, StreamEnd } from '../journal/take-over.js'
import { plansOf } from '../recovery.js'
import type { SnapshotManifest } from './manifest.js'
import type { SnapshotStore } from './store.js'

export interface RebuildParts {
  store: JournalStore
  chain: DigestChain
  random: () => number
  snapshots?: Pick<SnapshotStore, 'readBlock'>
  /** Records read of the journal, and to read, of the shard at hand. */
  onProgress(done: number, total: number): void
}

/**
 * The books of all shards at a position of the newest generation, in memory: from the journal
 * alone, or from a snapshot and what comes after it.
 */
export async function rebuiltBooks(
  parts: RebuildParts,
  at: { book: BookLayout; ends: readonly StreamEnd[] },
  snapshot?: SnapshotManifest,
): Promise<Book[]> {
  const seed = () => Math.floor(parts.random() * 2 ** 32)
  const books: Book[] = []
  for (const plan of plansOf(at.book, at.book.layout.shards, snapshot)) {
    const book = new Book([seed(), seed()], { accountsMax: 0, transactionsMax: 0 }, plan.place)
    const recovery = new ShardRecovery(
      book,
      { ...plan, upTo: at.ends },
      {
        ...parts,
        onProgress: ({ step, done, total }) => {
          if (step === 'journal') parts.onProgress(done, total)
        },
      },
    )
    await recovery.warmUp()
    books.push(book)
  }
  return books
}
