import type { DatabaseConnection } from '../journal/database.js'

/** Seqs of a partition (migrations/001-journal.sql). */
export const partitionSeqs = 10_000_000
/** A writer waits for the lock that dropping needs, and so for no longer than this. */
const lockTimeoutMs = 50
const attemptsMax = 100
const lockNotAvailableState = '55P03'

/**
 * Drops the partitions that lie wholly before what every open stream is going to write, and in which
 * nothing is left. One that is in use for longer than a moment stays, for the next time. Returns
 * the names of those that are gone.
 */
export async function dropEmptyPartitions(connection: DatabaseConnection): Promise<string[]> {
  const dropped: string[] = []
  for (const partition of await partitions(connection)) {
    // Asked once more under the lock, which is only taken for what looks done.
    if (!(await isDone(connection, partition))) continue
    if (await drop(connection, partition)) dropped.push(partition.name)
  }
  return dropped
}

interface Partition {
  name: string
  /** Its seqs begin at so many times {@link partitionSeqs}. */
  number: number
}

async function partitions(connection: DatabaseConnection): Promise<Partition[]> {
  const { rows } = await connection.query<{ name: string }>(
    `select c.relname as name from pg_inherits i join pg_class c on c.oid = i.inhrelid
     where i.inhparent = 'daybook.journal'::regclass order by c.relname`,
  )
  return rows.map(({ name }) => ({ name, number: Number(name.slice('journal_'.length)) }))
}

async function isDone(
  connection: DatabaseConnection,
  { name, number }: Partition,
): Promise<boolean> {
  const { rows } = await connection.query<{ done: boolean }>(
    `select not exists (select from daybook.${name})
       and coalesce(min(head) >= $1, false) as done
     from daybook.stream where not closed`,
    [(number + 1) * partitionSeqs],
  )
  return rows[0].done
}

async function drop(connection: DatabaseConnection, partition: Partition): Promise<boolean> {
  for (let attempt = 0; attempt < attemptsMax; attempt++) {
    try {
      return await dropNow(connection, partition)
    } catch (error) {
      await connection.query('rollback')
      if ((error as { code?: string }).code !== lockNotAvailableState) throw error
    }
  }
  return false
}

/** The journal is locked for as long as it takes to change the catalog. */
async function dropNow(connection: DatabaseConnection, partition: Partition): Promise<boolean> {
  // The first lock is that of daybook.ensure_partition: a writer who needs the partition either has
  // it, and then its stream is not done, or has it made anew.
  await connection.query(
    `begin; set local lock_timeout = ${lockTimeoutMs};
     select pg_advisory_xact_lock(4849332, 1); lock table daybook.journal in access exclusive mode`,
  )
  const isStillDone = await isDone(connection, partition)
  if (isStillDone) await connection.query(`drop table daybook.${partition.name}`)
  await connection.query('commit')
  return isStillDone
}
