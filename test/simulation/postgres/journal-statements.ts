import { updateStreams } from './row-locks.js'
import { ServerError } from './server-error.js'
import type { Session } from './session.js'
import type { Outcome, Statement } from './statements.js'
import { type JournalRow, partitionSeqs } from './tables.js'
import { moreRows, type Steps } from './waits.js'

/** What is written to the journal and read from it. */
export const journalStatements: readonly Statement[] = [
  {
    pattern:
      /^copy daybook\.journal \(stream, first_seq, part, n, epoch, prev, payload\) from stdin \(format binary\)$/,
    kind: 'batch',
    run: copyIn,
  },
  {
    pattern:
      /^call daybook\.fence\((\d+), (-?\d+), (-?\d+), '\\x([0-9a-f]*)', (\d+), '\\x([0-9a-f]*)'\)$/,
    kind: 'batch',
    run: fence,
  },
  {
    pattern: /^select daybook\.ensure_partition\(\$1\) as last$/,
    kind: 'partition',
    run: ensurePartition,
  },
  {
    pattern:
      /^copy \(select first_seq, part, n, epoch, prev, payload from daybook\.journal where stream = (\d+) and first_seq > (-?\d+) and first_seq <= (-?\d+) order by first_seq, part\) to stdout \(format binary\)$/,
    kind: 'read',
    run({ server }, _values, [, stream, afterSeq, toSeq]) {
      const copied = server.tables.chunksBetween(Number(stream), Number(afterSeq), Number(toSeq))
      return { tag: 'COPY', rows: [], copied }
    },
  },
  {
    pattern:
      /^select first_seq, payload from daybook\.journal where stream = \$1 and first_seq = \( ?select first_seq from daybook\.journal where stream = \$1 and first_seq <= \$2 and part = 0 order by first_seq desc limit 1\) order by part$/,
    kind: 'read',
    run({ server }, [stream, seq]) {
      const rows = server.tables.chunksBetween(Number(stream), 0, Number(seq))
      const firstSeq = rows.findLast((row) => row.part === 0)?.firstSeq
      const record = rows.filter((row) => row.firstSeq === firstSeq)
      return {
        tag: 'SELECT',
        rows: record.map((row) => ({ first_seq: String(row.firstSeq), payload: row.payload })),
      }
    },
  },
]

/** COPY gathers so many rows before it inserts them, and a binary one counts no bytes. */
const gatheredRowsMax = 1000

function* copyIn(session: Session): Steps<Outcome> {
  const { server, message } = session
  const { rows } = message
  server.assertDiskHasRoom()
  for (let from = 0; from < rows.length; from += gatheredRowsMax) {
    const to = Math.min(from + gatheredRowsMax, rows.length)
    // The client may have been cut off in the middle of its rows.
    while (message.arrived < to) yield moreRows
    for (let index = from; index < to; index++) yield* insert(session, rows[index])
  }
  if (message.failsAfterItsRows) throw new ServerError('53100', 'could not extend file')
  return { tag: 'COPY', rows: [] }
}

function* insert({ server, transaction }: Session, row: JournalRow): Steps<void> {
  const { stream, firstSeq, part } = row
  if (!transaction.hasPartition(Math.floor(firstSeq / partitionSeqs))) {
    throw new ServerError('23514', 'no partition of relation "journal" found for row')
  }
  const key = `key ${stream}/${firstSeq}/${part}`
  if (server.tables.hasChunk(row)) throw duplicate(key)
  // A key that somebody else has inserted and not committed is waited for.
  const lock = yield* server.locks.take(key, transaction)
  if (lock === 'held before' || server.tables.hasChunk(row)) throw duplicate(key)
  transaction.addChunk(row)
}

function duplicate(key: string): ServerError {
  return new ServerError('23505', `duplicate key value violates unique constraint: ${key}`)
}

function* fence(
  session: Session,
  _values: readonly unknown[],
  [, id, epoch, head, digest, newHead, newDigest]: RegExpExecArray,
): Steps<Outcome> {
  yield* session.beforeTheFence()
  const expected = { epoch: Number(epoch), head: Number(head), digest: Buffer.from(digest, 'hex') }
  const moved = yield* updateStreams(
    session,
    (row) =>
      row.id === Number(id) &&
      row.epoch === expected.epoch &&
      row.head === expected.head &&
      row.digest.equals(expected.digest) &&
      !row.closed,
    (row) => ({ ...row, head: Number(newHead), digest: Buffer.from(newDigest, 'hex') }),
  )
  if (moved === 0) throw new ServerError('DB001', `stream ${id} is fenced`)
  return { tag: 'CALL', rows: [] }
}

function* ensurePartition(
  { server, transaction }: Session,
  [seq]: readonly unknown[],
): Steps<Outcome> {
  const partition = Math.floor(Number(seq) / partitionSeqs)
  yield* server.locks.take('advisory 4849332, 1', transaction)
  if (!transaction.hasPartition(partition)) transaction.addPartition(partition)
  return { tag: 'SELECT', rows: [{ last: String((partition + 1) * partitionSeqs - 1) }] }
}
