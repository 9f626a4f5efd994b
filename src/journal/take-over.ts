import { Layout } from '../layout.js'
import type { Queries } from './database.js'
import { endOldBackends, inTransaction, StillHeldError } from './postgres-session.js'
import { recordVersion } from './record.js'
import { JournalFault } from './session.js'
import { slotsFrom } from './slot-map.js'

/** A book's generations, as one look at its rows saw them. */
export interface BookLayout {
  bookId: string
  /** The newest generation; its streams are the open ones. */
  layout: Layout
  /** Stream of each slot in it. */
  streamOfSlot: Int32Array
  /** Streams of the generations before it, oldest first, each in order of id. All are closed. */
  closed: number[][]
}

/**
 * Reads the layout and refuses a book whose records this program cannot read, or which is only
 * half restored. Takes nothing.
 */
export async function readLayout(connection: Queries): Promise<BookLayout> {
  // One statement sees one state: a generation that opens meanwhile is there as a whole or not at all.
  const { rows } = await connection.query<BookRow>(
    `select id, generation, slots, record_version,
       (select coalesce(json_agg(stream order by stream.generation, stream.id), '[]')
        from (select id, generation, closed from daybook.stream) stream) as streams,
       exists (select from daybook.origin where finished_at is null) as restoring
     from daybook.book`,
  )
  return layoutOf(rows[0])
}

/** A place in a stream, between two chunks. */
export interface StreamEnd {
  stream: number
  seq: number
  /** Of the chunk that ends there. */
  digest: Buffer
}

/**
 * Where all streams end at one moment, in order of id. Nobody applies a message before its cause is
 * committed, so what one statement sees is closed under messages.
 */
export async function readStreamEnds(connection: Queries): Promise<StreamEnd[]> {
  const { rows } = await connection.query<{ id: number; head: string; digest: Buffer }>(
    'select id, head, digest from daybook.stream order by id',
  )
  return rows.map(({ id, head, digest }) => ({ stream: id, seq: Number(head), digest }))
}

/**
 * Takes every open stream over for `owner`: ends the backends that the streams name, then raises
 * all epochs, in one transaction under the book's lock. Tries again for as long as an old writer
 * holds a lock. Rejects with {@link LayoutChangedError} if the book is no longer in the generation
 * of `expected`, and with `newer_version` if this program cannot read the book; before anything is
 * taken, and before a backend of the others is ended.
 */
export async function takeOver(
  connection: Queries,
  owner: string,
  expected: BookLayout,
  log: (message: string) => void,
): Promise<BookLayout> {
  return await underBookLock(connection, log, async () => {
    const book = await readLayout(connection)
    if (!isSameGeneration(book, expected)) throw new LayoutChangedError(expected, book)
    const streams = [...book.layout.streams]
    await endOldBackends(connection, { streams })
    // While the rows were waited for, the process before may have settled, and named other backends.
    await connection.query('select from daybook.stream where not closed for update')
    await connection.query('select pg_stat_clear_snapshot()')
    await endOldBackends(connection, { streams })
    await connection.query(
      `update daybook.stream
       set epoch = epoch + 1, owner = $1, backend_pid = null, backend_start = null
       where not closed`,
      [owner],
    )
    await connection.query(
      'update daybook.book set record_version = greatest(record_version, $1)',
      [recordVersion],
    )
    return book
  })
}

/**
 * Runs `work` in a transaction that holds the lock of the book row, under which alone streams change
 * owner, open and close. Tries again for as long as somebody else holds a lock that is needed.
 */
export async function underBookLock<T>(
  connection: Queries,
  log: (message: string) => void,
  work: () => Promise<T>,
): Promise<T> {
  for (;;) {
    try {
      return await inTransaction(connection, async () => {
        await connection.query('set local synchronous_commit = on')
        // What is read under the lock is read by later statements: this one still sees the state
        // from before it waited.
        await connection.query('select from daybook.book for update')
        return await work()
      })
    } catch (error) {
      if (!isLockTimeout(error) && !(error instanceof StillHeldError)) throw error
      log('a writer before this one still holds its stream; trying again')
    }
  }
}

export function isSameGeneration(one: BookLayout, other: BookLayout): boolean {
  return one.bookId === other.bookId && one.layout.generation === other.layout.generation
}

/** Another process has opened a generation, or this is another book: warm up again. */
class LayoutChangedError extends Error {
  readonly code = 'layout_changed'

  constructor(expected: BookLayout, found: BookLayout) {
    super(
      `warmed up with generation ${expected.layout.generation} of book ${expected.bookId}, ` +
        `which is now generation ${found.layout.generation} of book ${found.bookId}`,
    )
  }
}

/** A restore into this database is under way, or was broken off: what is there is not a book yet. */
class HalfRestoredError extends Error {
  readonly code = 'half_restored'

  constructor() {
    super('the book is half restored: run `daybook restore` again, into this database')
  }
}

interface BookRow {
  id: string
  generation: number
  slots: Buffer
  record_version: number
  /** By generation, then by id. */
  streams: { id: number; generation: number; closed: boolean }[]
  restoring: boolean
}

function layoutOf(book: BookRow | undefined): BookLayout {
  if (book === undefined) throw new Error('the table daybook.book has no row')
  if (book.restoring) throw new HalfRestoredError()
  if (book.record_version > recordVersion) {
    throw new JournalFault(
      'newer_version',
      `the book has records of version ${book.record_version}; this program reads up to ${recordVersion}`,
    )
  }
  const streamOfSlot = slotsFrom(book.slots)
  const layout = new Layout(book.generation, streamOfSlot)
  const closed = new Map<number, number[]>()
  const newest: number[] = []
  for (const { id, generation, closed: isClosed } of book.streams) {
    if (isClosed !== generation < book.generation || generation > book.generation) {
      throw new Error(
        `stream ${id} of generation ${generation} is ${isClosed ? 'closed' : 'open'}, ` +
          `and the book is in generation ${book.generation}`,
      )
    }
    if (!isClosed) newest.push(id)
    else closed.set(generation, [...(closed.get(generation) ?? []), id])
  }
  if (newest.join() !== layout.streams.join()) {
    throw new Error(`the streams ${newest} are open, and the slots name ${layout.streams}`)
  }
  return { bookId: book.id, layout, streamOfSlot, closed: [...closed.values()] }
}

const lockNotAvailableState = '55P03'

function isLockTimeout(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === lockNotAvailableState
}
