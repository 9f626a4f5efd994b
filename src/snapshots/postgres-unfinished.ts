import type { ClientBase, Pool } from 'pg'

/** First number of the advisory locks; the second is that of the snapshot. */
export const lockSpace = 4849333

/**
 * Blocks that one statement deletes. After a checkpoint all pages that they stand on are logged as
 * a whole, as much WAL as they had bytes: more of it in one transaction, and for as long, would
 * stand in the way of those that post.
 */
const blocksPerDelete = 25

/**
 * Removes a snapshot that has no manifest, unless its lock is taken: then its builder lives, or
 * somebody else is removing it. Resolves with whether it was removed here.
 */
export async function removeForsaken(pool: Pool, number: number): Promise<boolean> {
  const client = await pool.connect()
  try {
    const { rows } = await client.query<{ locked: boolean }>(
      'select pg_try_advisory_lock($1, $2) as locked',
      [lockSpace, number],
    )
    const isRemoved = rows[0].locked && (await removeUnfinished(client, number))
    if (rows[0].locked) await client.query('select pg_advisory_unlock($1, $2)', [lockSpace, number])
    client.release()
    return isRemoved
  } catch (error) {
    // The lock goes with the connection.
    client.release(true)
    throw error
  }
}

/**
 * Removes a snapshot that has no manifest, in many small transactions; resolves with whether there
 * was one. `client` holds its lock. Whether it has a manifest is asked only now that it does: the
 * builder may have finished just before it let the lock go, and a statement that began earlier
 * would not see that.
 */
export async function removeUnfinished(client: ClientBase, number: number): Promise<boolean> {
  const { rowCount } = await client.query(
    'select 1 from daybook.snapshot where number = $1 and manifest is null',
    [number],
  )
  if (rowCount === 0) return false
  for (;;) {
    const { rowCount: removed } = await client.query(
      `delete from daybook.snapshot_block where snapshot = $1 and number in
         (select number from daybook.snapshot_block where snapshot = $1 order by number limit $2)`,
      [number, blocksPerDelete],
    )
    if ((removed ?? 0) < blocksPerDelete) break
  }
  await client.query('delete from daybook.snapshot where number = $1 and manifest is null', [
    number,
  ])
  return true
}
