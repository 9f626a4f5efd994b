import type { SnapshotStore } from './store.js'

/**
 * Removes all snapshots of a book but the newest `keep`, and what builds that were cut off have
 * left. Returns the ids of those removed, oldest first, and the number of unfinished ones.
 */
export async function pruneSnapshots(
  store: SnapshotStore,
  bookId: string,
  keep: number,
): Promise<{ removed: string[]; swept: number }> {
  const swept = await store.sweep(bookId)
  const old = (await store.list(bookId)).slice(keep).reverse()
  for (const snapshot of old) await store.remove(snapshot)
  return { removed: old.map(({ id }) => id), swept }
}
