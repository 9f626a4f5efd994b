import { lockBook } from './row-locks.js'
import type { Session } from './session.js'
import type { Outcome, Statement } from './statements.js'
import type { BookRow } from './tables.js'
import type { Steps } from './waits.js'

/** What is asked of the row of the book. */
export const bookStatements: readonly Statement[] = [
  {
    pattern: /^select from daybook\.book for update$/,
    *run(session) {
      yield* lockBook(session)
      return { tag: 'SELECT', rows: [{}] }
    },
  },
  {
    pattern:
      /^select id, generation, slots, record_version, \(select coalesce\(json_agg\(stream order by stream\.generation, stream\.id\), '\[\]'\) from \(select id, generation, closed from daybook\.stream\) stream\) as streams, exists \(select from daybook\.origin where finished_at is null\) as restoring from daybook\.book$/,
    aloneKind: 'read',
    run({ transaction }) {
      const { id, generation, slots, recordVersion } = transaction.book
      const streams = transaction
        .streams()
        .map((row) => ({ id: row.id, generation: row.generation, closed: row.closed }))
        .sort((one, other) => one.generation - other.generation || one.id - other.id)
      const row = {
        id,
        generation,
        slots,
        record_version: recordVersion,
        streams,
        restoring: false,
      }
      return { tag: 'SELECT', rows: [row] }
    },
  },
  {
    pattern: /^select id, head, digest from daybook\.stream order by id$/,
    aloneKind: 'read',
    run({ transaction }) {
      const rows = transaction
        .streams()
        .map(({ id, head, digest }) => ({ id, head: String(head), digest }))
        .sort((one, other) => one.id - other.id)
      return { tag: 'SELECT', rows }
    },
  },
  {
    pattern: /^update daybook\.book set record_version = greatest\(record_version, \$1\)$/,
    kind: 'take-over',
    run: (session, [version]) =>
      update(session, (book) => ({
        ...book,
        recordVersion: Math.max(book.recordVersion, Number(version)),
      })),
  },
  {
    pattern:
      /^update daybook\.book set generation = \$1, slots = \$2, record_version = greatest\(record_version, \$3\)$/,
    kind: 'open generation',
    run: (session, [generation, slots, version]) =>
      update(session, (book) => ({
        ...book,
        generation: Number(generation),
        slots: slots as Buffer,
        recordVersion: Math.max(book.recordVersion, Number(version)),
      })),
  },
]

function* update(session: Session, change: (book: BookRow) => BookRow): Steps<Outcome> {
  session.server.assertDiskHasRoom()
  yield* lockBook(session)
  session.transaction.putBook(change(session.transaction.book))
  return { tag: 'UPDATE', rows: [], count: 1 }
}
