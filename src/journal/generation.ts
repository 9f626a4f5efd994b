import { dealSlots, shardsMax } from '../layout.js'
import type { Queries } from './database.js'
import { recordVersion } from './record.js'
import { JournalFault } from './session.js'
import { slotBytes } from './slot-map.js'
import { type BookLayout, isSameGeneration, readLayout, underBookLock } from './take-over.js'

/**
 * Opens the generation after `current` with `shards` new streams that belong to `owner`, and closes
 * those of `current`, which must have been taken over by `owner`: one transaction under the book's
 * lock. From then on the fence refuses every batch for the closed streams, so their writers must
 * have been stopped before; the new ones are at head 0 and wait for theirs.
 *
 * Rejects with `fenced`, having changed nothing, if another process has taken the book over or has
 * opened a generation. After any other error the outcome may be unknown: reconnect and call again
 * with the same arguments. If the first call has succeeded after all, the second says so.
 */
export async function openGeneration(
  connection: Queries,
  owner: string,
  current: BookLayout,
  shards: number,
  log: (message: string) => void,
): Promise<BookLayout> {
  if (!Number.isInteger(shards) || shards < 1 || shards > shardsMax) {
    throw new RangeError(`a generation has 1 to ${shardsMax} shards, not ${shards}`)
  }
  return await underBookLock(connection, log, async () => {
    const book = await readLayout(connection)
    if (!(await allOpenBelongTo(connection, owner))) throw fenced('another process has taken over')
    if (isOpened(book, current, shards)) return book
    if (!isSameGeneration(book, current)) throw fenced('another generation has been opened')
    await connection.query(
      `update daybook.stream set closed = true, backend_pid = null, backend_start = null
       where not closed`,
    )
    const generation = current.layout.generation + 1
    const streams = await addStreams(connection, { owner, generation, shards })
    await connection.query(
      `update daybook.book
       set generation = $1, slots = $2, record_version = greatest(record_version, $3)`,
      [generation, slotBytes(dealSlots(streams)), recordVersion],
    )
    return await readLayout(connection)
  })
}

/** Whether an earlier call with the same arguments has committed. */
function isOpened(book: BookLayout, current: BookLayout, shards: number): boolean {
  return (
    book.bookId === current.bookId &&
    book.layout.generation === current.layout.generation + 1 &&
    book.layout.shards === shards
  )
}

/** An owner names one process, and every take-over writes its own: no epoch needs to be compared. */
async function allOpenBelongTo(connection: Queries, owner: string): Promise<boolean> {
  const { rowCount } = await connection.query(
    'select from daybook.stream where not closed and owner is distinct from $1',
    [owner],
  )
  return rowCount === 0
}

/** Rows of streams are never deleted, so the greatest id is the greatest that ever was. */
async function addStreams(
  connection: Queries,
  of: { owner: string; generation: number; shards: number },
): Promise<number[]> {
  const { rows } = await connection.query<{ id: number }>(
    `insert into daybook.stream (id, generation, owner)
     select (select max(id) from daybook.stream) + number, $1, $2
     from generate_series(1, $3) number
     returning id`,
    [of.generation, of.owner, of.shards],
  )
  return rows.map((row) => row.id).sort((a, b) => a - b)
}

function fenced(message: string): JournalFault {
  return new JournalFault('fenced', message)
}
