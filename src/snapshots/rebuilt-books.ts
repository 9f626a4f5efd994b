import { Book, type BookLimits } from '../actors/book.js'
import { type RecoveryParts, type RecoveryPlan, ShardRecovery } from '../actors/shard-recovery.js'
import type { BookLayout, StreamEnd } from '../journal/take-over.js'
import { plansOf } from '../recovery.js'
import type { SnapshotManifest } from './manifest.js'

export interface RebuildParts extends RecoveryParts {
  random: () => number
  /** Beyond it transactions are let go, as far as the plan says that they are projected. */
  transactionsMax?: number
  letGo?: BookLimits['letGo']
}

/** The book of the shard of a plan, as it was where the plan ends, and what its streams had counted. */
export async function rebuiltBook(
  parts: RebuildParts,
  plan: RecoveryPlan,
): Promise<{ book: Book; recovery: ShardRecovery }> {
  const seed = () => Math.floor(parts.random() * 2 ** 32)
  const { transactionsMax = Number.POSITIVE_INFINITY, letGo } = parts
  const limits = { accountsMax: Number.POSITIVE_INFINITY, transactionsMax, letGo }
  const book = new Book([seed(), seed()], limits, plan.place)
  const recovery = new ShardRecovery(book, plan, parts)
  await recovery.warmUp()
  return { book, recovery }
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
  const books: Book[] = []
  for (const plan of plansOf(at.book, at.book.layout.shards, snapshot)) {
    books.push((await rebuiltBook(parts, { ...plan, upTo: at.ends })).book)
  }
  return books
}
