import { lockStreams, updateStreams } from './row-locks.js'
import { ServerError } from './server-error.js'
import type { Session } from './session.js'
import type { Outcome, Statement } from './statements.js'
import { newStream, type StreamRow } from './tables.js'
import { EndOfBackend, type Steps } from './waits.js'

/** What is asked of the rows of the streams. */
export const streamStatements: readonly Statement[] = [
  {
    pattern:
      /^select owner, closed, epoch, head, digest from daybook\.stream where id = \$1( for update)?$/,
    aloneKind: 'read',
    *run(session, [id], [, forUpdate]) {
      const rows = forUpdate
        ? yield* lockStreams(session, (row) => row.id === id)
        : session.transaction.streams().filter((row) => row.id === id)
      return { tag: 'SELECT', rows: rows.map(headColumns) }
    },
  },
  {
    pattern: /^select epoch from daybook\.stream where id = \$1 and not closed$/,
    kind: 'confirm',
    run({ transaction }, [id]) {
      const row = transaction.stream(Number(id))
      return { tag: 'SELECT', rows: row === undefined || row.closed ? [] : [{ epoch: row.epoch }] }
    },
  },
  {
    pattern:
      /^update daybook\.stream set epoch = epoch \+ 1, backend_pid = pg_backend_pid\(\), backend_start = \(select backend_start from pg_stat_activity where pid = pg_backend_pid\(\)\) where id = \$1$/,
    run: (session, [id]) =>
      update(
        session,
        (row) => row.id === id,
        (row) => ({
          ...row,
          epoch: row.epoch + 1,
          backendPid: session.pid,
          backendStart: session.startedAt,
        }),
      ),
  },
  {
    pattern:
      /^update daybook\.stream set epoch = epoch \+ 1, owner = \$1, backend_pid = null, backend_start = null where not closed$/,
    kind: 'take-over',
    run: (session, [owner]) =>
      update(
        session,
        (row) => !row.closed,
        (row) => ({
          ...row,
          epoch: row.epoch + 1,
          owner: String(owner),
          backendPid: null,
          backendStart: null,
        }),
      ),
  },
  {
    pattern:
      /^update daybook\.stream set closed = true, backend_pid = null, backend_start = null where not closed$/,
    kind: 'open generation',
    run: (session) =>
      update(
        session,
        (row) => !row.closed,
        (row) => ({ ...row, closed: true, backendPid: null, backendStart: null }),
      ),
  },
  {
    pattern: /^select from daybook\.stream where not closed for update$/,
    kind: 'take-over',
    *run(session) {
      const rows = yield* lockStreams(session, (row) => !row.closed)
      return { tag: 'SELECT', rows: rows.map(() => ({})) }
    },
  },
  {
    pattern: /^select pg_stat_clear_snapshot\(\)$/,
    kind: 'take-over',
    run({ transaction }) {
      transaction.activity = undefined
      return { tag: 'SELECT', rows: [{}] }
    },
  },
  {
    pattern: /^select from daybook\.stream where not closed and owner is distinct from \$1$/,
    kind: 'open generation',
    run({ transaction }, [owner]) {
      const others = transaction.streams().filter((row) => !row.closed && row.owner !== owner)
      return { tag: 'SELECT', rows: others.map(() => ({})) }
    },
  },
  {
    pattern:
      /^insert into daybook\.stream \(id, generation, owner\) select \(select max\(id\) from daybook\.stream\) \+ number, \$1, \$2 from generate_series\(1, \$3\) number returning id$/,
    kind: 'open generation',
    run: addStreams,
  },
  {
    pattern:
      /^select pg_terminate_backend\(activity\.pid, (\d+)\) as gone from daybook\.stream join pg_stat_activity activity on activity\.pid = stream\.backend_pid and activity\.backend_start = stream\.backend_start where stream\.id = any\(\$1\) and activity\.pid <> pg_backend_pid\(\) and \(\$2::text is null or stream\.owner = \$2\)$/,
    aloneKind: 'settle',
    run: terminate,
  },
]

function headColumns({ owner, closed, epoch, head, digest }: StreamRow): object {
  return { owner, closed, epoch, head: String(head), digest }
}

function* update(
  session: Session,
  where: (row: StreamRow) => boolean,
  change: (row: StreamRow) => StreamRow,
): Steps<Outcome> {
  const count = yield* updateStreams(session, where, change)
  return { tag: 'UPDATE', rows: [], count }
}

function* addStreams(
  { server, transaction }: Session,
  [generation, owner, count]: readonly unknown[],
): Steps<Outcome> {
  server.assertDiskHasRoom()
  const last = Math.max(...transaction.streams().map((row) => row.id))
  const rows: { id: number }[] = []
  for (let id = last + 1; id <= last + Number(count); id++) {
    yield* server.locks.take(`key of stream ${id}`, transaction)
    if (transaction.stream(id) !== undefined) {
      throw new ServerError('23505', `duplicate key value violates unique constraint: stream ${id}`)
    }
    transaction.putStream(newStream({ id, generation: Number(generation), owner: String(owner) }))
    rows.push({ id })
  }
  return { tag: 'INSERT', rows }
}

function* terminate(
  session: Session,
  [ids, owner]: readonly unknown[],
  [, timeoutMs]: RegExpExecArray,
): Steps<Outcome> {
  const { server, transaction } = session
  const activity = transaction.activity ?? server.activity()
  if (transaction.explicit) transaction.activity = activity
  const named = transaction.streams().filter((row) => (ids as number[]).includes(row.id))
  const rows: { gone: boolean }[] = []
  for (const { backendPid, backendStart, owner: ofOwner } of named) {
    const isThere = activity.some(
      ({ pid, startedAt }) => pid === backendPid && startedAt === backendStart,
    )
    if (!isThere || backendPid === session.pid) continue
    if (owner !== null && ofOwner !== owner) continue
    const target = server.backends.get(backendPid as number)
    // One that has ended since the look at the list is not one any more, which answers false.
    let gone = false
    if (target !== undefined) {
      target.terminate()
      const wait = new EndOfBackend(server.scheduler, () => target.isGone, Number(timeoutMs))
      gone = (yield wait) as boolean
    }
    // A warning that has no code of its own has that of all warnings.
    if (!gone) session.notice('01000')
    rows.push({ gone })
  }
  return { tag: 'SELECT', rows }
}
