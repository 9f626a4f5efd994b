import { readFile } from 'node:fs/promises'
import type { Database, DatabaseConnection, Queries } from '../journal/database.js'
import { emptyDigest } from '../journal/digest.js'
import { formatKey } from '../key.js'
import { accountColumns } from './account-rows.js'
import { entryColumns } from './entry-rows.js'
import type { Projection } from './projection.js'
import type { BalanceName, PostedSums } from './running-balances.js'
import { holdColumns, transactionColumns } from './transaction-rows.js'

/** Of the schema; one that differs is dropped and built again. */
const historyVersion = 2

/** Held by who writes the read models: one process at a time. */
const lockClass = 4849334

/** How far a stream has been followed. */
export interface Followed {
  stream: number
  seq: number
  /** Of the chunk that ends there. */
  digest: Buffer
  /** Of the last record, in milliseconds since 1970. */
  timeMs: number
}

/** Somebody else has written the read models since we looked. */
class HistoryTakenError extends Error {
  readonly code = 'history_taken'

  constructor() {
    super('another process has written the read models')
  }
}

/** Whether this session may write the read models now; it may until its connection ends. */
export async function tryLock(connection: Queries): Promise<boolean> {
  const { rows } = await connection.query<{ locked: boolean }>(
    `select pg_try_advisory_lock(${lockClass}, 0) as locked`,
  )
  return rows[0].locked
}

/** Ends the session that may write them. Its process opens another one, and waits for the lock. */
export async function endOtherFollower(connection: Queries): Promise<void> {
  await connection.query(
    `select pg_terminate_backend(pid) from pg_locks
     where locktype = 'advisory' and classid = ${lockClass} and objid = 0 and granted
       and database = (select oid from pg_database where datname = current_database())`,
  )
}

/**
 * Whether the read models follow the journal that is beside them: each stream goes on from where
 * they are, or ends there. A journal that was put back as it once was, or another one, does not.
 */
export const isOfJournalSql = `
  not exists (
    select from daybook_history.progress p
    left join daybook.stream s on s.id = p.stream
    left join daybook.journal j on j.stream = p.stream and j.first_seq = p.seq + 1 and j.part = 0
    where p.seq > 0 and (p.seq > coalesce(s.head, 0)
      or p.digest <> case when p.seq = s.head then s.digest else coalesce(j.prev, p.digest) end
      -- What comes next may have been moved to the archive, but not without what is before it.
      or p.seq < s.head and j.stream is null and exists (
        select from daybook.journal e where e.stream = p.stream and e.first_seq <= p.seq)))`

async function isOfJournal(connection: Queries): Promise<boolean> {
  const { rows } = await connection.query<{ is_of_journal: boolean }>(
    `select ${isOfJournalSql} as is_of_journal`,
  )
  return rows[0].is_of_journal
}

/** Makes the schema if it is not there, is of another version, or follows another journal. */
export async function ensureSchema(connection: Queries): Promise<void> {
  const { rows: found } = await connection.query<{ there: boolean }>(
    `select to_regclass('daybook_history.about') is not null as there`,
  )
  if (found[0].there) {
    const { rows } = await connection.query<{ version: number }>(
      'select version from daybook_history.about',
    )
    if (rows[0]?.version === historyVersion && (await isOfJournal(connection))) return
  }
  await recreateSchema(connection)
}

/** Drops everything, and makes it anew without indexes. */
export async function recreateSchema(connection: Queries): Promise<void> {
  const schema = await readFile(new URL('./schema.sql', import.meta.url), 'utf8')
  await connection.query(`begin; drop schema if exists daybook_history cascade; ${schema};
    insert into daybook_history.about (version) values (${historyVersion}); commit`)
}

export async function isIndexed(connection: Queries): Promise<boolean> {
  const { rows } = await connection.query<{ indexed: boolean }>(
    'select indexed from daybook_history.about',
  )
  return rows[0].indexed
}

/**
 * Builds the indexes, those of entries over the second connection; from then on the read models are
 * read. What has been built before it was broken off stays.
 */
export async function buildIndexes(
  connection: Queries,
  second: Pick<DatabaseConnection, 'query'>,
): Promise<void> {
  const text = await readFile(new URL('./indexes.sql', import.meta.url), 'utf8')
  const statements = text
    .replaceAll(/^--.*$/gm, '')
    .split(';')
    .filter((statement) => statement.trim() !== '')
  const isOfEntries = (statement: string) => statement.includes(' daybook_history.entry')
  const build = async (on: Queries, own: string[], tables: string) => {
    await on.query(`set maintenance_work_mem = '${indexMemory}'`)
    for (const statement of own) await on.query(statement)
    await on.query(`analyze ${tables}`)
  }
  const built = await Promise.allSettled([
    build(
      connection,
      statements.filter((statement) => !isOfEntries(statement)),
      'daybook_history.account, daybook_history.transaction',
    ),
    build(second, statements.filter(isOfEntries), 'daybook_history.entry'),
  ])
  for (const one of built) if (one.status === 'rejected') throw one.reason
  await connection.query('update daybook_history.about set indexed = true')
}

/** Of each of the two that build them. */
const indexMemory = '256MB'

export async function readFollowed(connection: Queries): Promise<Followed[]> {
  const { rows } = await connection.query<{
    stream: number
    seq: string
    digest: Buffer
    recorded_at: Date
  }>('select stream, seq, digest, recorded_at from daybook_history.progress order by stream')
  return rows.map(({ stream, seq, digest, recorded_at }) => ({
    ...{ stream, seq: Number(seq), digest },
    timeMs: recorded_at.getTime(),
  }))
}

/**
 * How far the read models have come, by stream; empty if they are not there, are being built or
 * follow another journal.
 */
export async function readProjected(connection: Queries): Promise<[stream: number, seq: number][]> {
  const { rows: found } = await connection.query<{ there: boolean }>(
    `select to_regclass('daybook_history.about') is not null as there`,
  )
  if (!found[0].there || !(await isIndexed(connection))) return []
  if (!(await isOfJournal(connection))) return []
  return (await readFollowed(connection)).map(({ stream, seq }) => [stream, seq])
}

/** As {@link readProjected}, over a connection of its own. */
export async function projectedPositions(
  database: Database,
): Promise<[stream: number, seq: number][]> {
  const connection = await database.connect({ name: 'daybook projected' })
  return await readProjected(connection).finally(() => connection.end())
}

/** Keys of the striped accounts, as tenant and UUID. */
export async function readStriped(connection: Queries): Promise<{ tenant: number; id: string }[]> {
  const { rows } = await connection.query<{ tenant: number; id: string }>(
    'select tenant, id from daybook_history.account where striped',
  )
  return rows
}

/** Sums after the last entry of each account, in the order asked; 0 for those without one. */
export async function readBalances(
  connection: Queries,
  names: readonly BalanceName[],
): Promise<PostedSums[]> {
  const { rows } = await connection.query<{ balance: string | null; debits: string | null }>(
    `select last.balance, last.debits
     from unnest($1::int[], $2::uuid[], $3::int[]) with ordinality
       as asked (tenant, account, stream, place)
     left join lateral (
       select balance, debits from daybook_history.entry e
       where e.tenant = asked.tenant and e.account = asked.account
         and (asked.stream is null or e.stream = asked.stream)
       order by e.stream desc, e.recorded_at desc, e.seq desc, e.nr desc limit 1) last on true
     order by asked.place`,
    [
      names.map(({ tenant }) => tenant),
      names.map(({ account }) => formatKey(account)),
      names.map(({ stream }) => stream ?? null),
    ],
  )
  return rows.map(({ balance, debits }) => ({
    balance: BigInt(balance ?? 0),
    debits: BigInt(debits ?? 0),
  }))
}

/**
 * Writes the rows of a projection and moves the streams on, in one transaction. Rejects with
 * {@link HistoryTakenError} if a stream is not where `from` says.
 */
export async function writeRows(
  connection: DatabaseConnection,
  projection: Projection,
  moves: readonly { from: Followed; to: Followed }[],
): Promise<void> {
  await connection.query('begin')
  try {
    for (const move of moves) await moveOn(connection, move)
    for (const month of projection.months) {
      await connection.query('select daybook_history.ensure_month($1)', [month])
    }
    await copy(connection, 'account', accountColumns, projection.accounts.rows)
    await copy(connection, 'transaction', transactionColumns, projection.transactions.rows)
    await copy(connection, 'hold', holdColumns, projection.transactions.holds)
    await copy(connection, 'entry', entryColumns, projection.entries.rows)
    await writeAccountChanges(connection, projection)
    await writeOutcomes(connection, projection)
    const { command } = await connection.query('commit')
    if (command !== 'COMMIT') throw new Error(`a commit answered ${command}`)
  } catch (error) {
    await connection.query('rollback').catch(() => undefined)
    throw error
  }
}

async function copy(
  connection: DatabaseConnection,
  table: string,
  columns: string,
  rows: { rows: number; finish(): Buffer },
): Promise<void> {
  if (rows.rows === 0) return
  const text = `copy daybook_history.${table} (${columns}) from stdin (format binary)`
  const tags = await connection.copyIn(text, rows.finish())
  if (tags.join(' ') !== 'COPY') throw new Error(`a copy answered ${tags.join(' ')}`)
}

async function writeAccountChanges(connection: Queries, { accounts }: Projection): Promise<void> {
  for (const { tenant, id, timeMs, change } of accounts.changes) {
    const { status, overdraftLimit, minimumBalance, metadata } = change
    await connection.query(
      `update daybook_history.account set
         changed_at = to_timestamp($3::double precision / 1000),
         status = coalesce($4, status),
         overdraft_limit = case when $5 then $6::bigint else overdraft_limit end,
         minimum_balance = coalesce($7::bigint, minimum_balance),
         metadata = coalesce($8::jsonb, metadata)
       where tenant = $1 and id = $2`,
      [
        tenant,
        formatKey(id),
        timeMs,
        status ?? null,
        overdraftLimit !== undefined,
        overdraftLimit ?? null,
        minimumBalance ?? null,
        metadata === undefined ? null : JSON.stringify(metadata),
      ],
    )
  }
}

async function writeOutcomes(connection: Queries, { transactions }: Projection): Promise<void> {
  for (const { tenant, id, state, settled } of transactions.outcomes) {
    await connection.query(
      `update daybook_history.transaction set state = $3, remaining = (
         select array_agg(was - coalesce(now, 0) order by place)
         from unnest(remaining, $4::bigint[]) with ordinality as r (was, now, place)
         where was is not null)
       where tenant = $1 and id = $2`,
      [tenant, formatKey(id), state, settled],
    )
  }
}

async function moveOn(
  connection: Queries,
  { from, to }: { from: Followed; to: Followed },
): Promise<void> {
  const { rowCount } = await connection.query(
    `update daybook_history.progress
     set seq = $3, digest = $4, recorded_at = to_timestamp($5::double precision / 1000)
     where stream = $1 and seq = $2`,
    [from.stream, from.seq, to.seq, to.digest, to.timeMs],
  )
  if (rowCount !== 1) throw new HistoryTakenError()
}

/** A stream that is followed from its beginning on. */
export async function beginStream(connection: Queries, stream: number): Promise<Followed> {
  await connection.query(
    `insert into daybook_history.progress (stream, seq, digest, recorded_at)
     values ($1, 0, $2, to_timestamp(0)) on conflict do nothing`,
    [stream, emptyDigest],
  )
  return { stream, seq: 0, digest: emptyDigest, timeMs: 0 }
}
