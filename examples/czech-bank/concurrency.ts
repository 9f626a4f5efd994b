/**
 * Runs `work` over the items, at most `inFlightMax` at a time, and answers their results in the
 * items' order. After a failure nothing new is started, and the failure is thrown once what was
 * under way has ended, so that nothing runs on behind the caller's back.
 */
export async function mapConcurrently<Item, Result>(
  items: readonly Item[],
  inFlightMax: number,
  work: (item: Item) => Promise<Result>,
): Promise<Result[]> {
  const results = new Array<Result>(items.length)
  let next = 0
  const lane = async (): Promise<void> => {
    while (next < items.length) {
      const index = next
      next += 1
      try {
        results[index] = await work(items[index])
      } catch (error) {
        next = items.length
        throw error
      }
    }
  }
  const lanes = await Promise.allSettled(Array.from({ length: inFlightMax }, lane))
  for (const ended of lanes) if (ended.status === 'rejected') throw ended.reason
  return results
}
