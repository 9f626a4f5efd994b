import type { Session } from './session.js'
import type { StreamRow } from './tables.js'
import type { Steps } from './waits.js'

/**
 * Locks the rows that `where` holds for, and returns them as they then are. As READ COMMITTED does
 * it: the rows are found in the state at the start of the statement; each is locked in turn; after a
 * wait its newest version is looked at again, and it is left out if `where` does not hold any more.
 */
export function* lockStreams(
  session: Session,
  where: (row: StreamRow) => boolean,
): Steps<StreamRow[]> {
  const { server, transaction } = session
  const rows: StreamRow[] = []
  for (const { id } of transaction.streams().filter(where)) {
    yield* server.locks.take(`stream ${id}`, transaction)
    transaction.isLogged = true
    const newest = transaction.stream(id)
    if (newest !== undefined && where(newest)) rows.push(newest)
  }
  return rows
}

/** Changes the rows that `where` holds for, one after the other; returns how many. */
export function* updateStreams(
  session: Session,
  where: (row: StreamRow) => boolean,
  change: (row: StreamRow) => StreamRow,
): Steps<number> {
  session.server.assertDiskHasRoom()
  const rows = yield* lockStreams(session, where)
  for (const row of rows) session.transaction.putStream(change(row))
  return rows.length
}

export function* lockBook({ server, transaction }: Session): Steps<void> {
  yield* server.locks.take('book', transaction)
  transaction.isLogged = true
}
