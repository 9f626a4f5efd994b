import pg from 'pg'
import { endOldBackends, inTransaction, StillHeldError } from './postgres-session.js'
import { recordVersion } from './record.js'
import { JournalFault } from './session.js'

/** The newest generation of a book, as it was when its streams were taken over. */
export interface BookLayout {
  bookId: string
  generation: number
  /** Stream of each slot. */
  streamOfSlot: Int32Array
  /** Open streams, in order of id. */
  streams: number[]
}

/** Reads the layout and refuses a book whose records this program cannot read. Takes nothing. */
export async function readLayout(client: pg.Client): Promise<BookLayout> {
  const { rows } = await client.query<BookRow>(
    'select id, generation, slots, record_version from daybook.book',
  )
  const streams = await client.query<{ id: number }>(
    'select id from daybook.stream where not closed order by id',
  )
  return layoutOf(
    rows[0],
    streams.rows.map((row) => row.id),
  )
}

/**
 * Takes every open stream over for `owner`: ends the backends that the streams name, then raises
 * all epochs in one transaction under the book's lock. Tries again for as long as an old writer
 * holds a lock; rejects on a book that this program cannot read, before anything is taken.
 */
export async function takeOver(
  client: pg.Client,
  owner: string,
  log: (message: string) => void,
): Promise<BookLayout> {
  for (;;) {
    const open = await readLayout(client)
    try {
      await endOldBackends(client, { streams: open.streams })
      return await inTransaction(client, async () => {
        const { rows } = await client.query<BookRow>(
          'select id, generation, slots, record_version from daybook.book for update',
        )
        const book = rows[0]
        layoutOf(book, [])
        const taken = await client.query<{ id: number }>(
          `update daybook.stream
           set epoch = epoch + 1, owner = $1, backend_pid = null, backend_start = null
           where not closed returning id`,
          [owner],
        )
        await client.query(
          'update daybook.book set record_version = greatest(record_version, $1)',
          [recordVersion],
        )
        return layoutOf(
          book,
          taken.rows.map((row) => row.id).sort((a, b) => a - b),
        )
      })
    } catch (error) {
      if (!isLockTimeout(error) && !(error instanceof StillHeldError)) throw error
      log('a writer before this one still holds its stream; trying again')
    }
  }
}

interface BookRow {
  id: string
  generation: number
  slots: Buffer
  record_version: number
}

function layoutOf(book: BookRow | undefined, streams: number[]): BookLayout {
  if (book === undefined) throw new Error('the table daybook.book has no row')
  if (book.record_version > recordVersion) {
    throw new JournalFault(
      'newer_version',
      `the book has records of version ${book.record_version}; this program reads up to ${recordVersion}`,
    )
  }
  const streamOfSlot = new Int32Array(book.slots.length / 4)
  for (let slot = 0; slot < streamOfSlot.length; slot++) {
    streamOfSlot[slot] = book.slots.readInt32BE(slot * 4)
  }
  return { bookId: book.id, generation: book.generation, streamOfSlot, streams }
}

const lockNotAvailableState = '55P03'

function isLockTimeout(error: unknown): boolean {
  return error instanceof pg.DatabaseError && error.code === lockNotAvailableState
}
