import { stat } from 'node:fs/promises'
import { join } from 'node:path'
import { systemClock } from '../clock.js'
import { archivedStore } from '../journal/archived-store.js'
import type { Database, DatabaseConnection } from '../journal/database.js'
import { type EmbeddedPostgres, startEmbeddedPostgres } from '../journal/embedded.js'
import { impatientDatabase } from '../journal/impatient-database.js'
import { postgresDatabase } from '../journal/postgres.js'
import { postgresStore } from '../journal/postgres-session.js'
import type { JournalStore } from '../journal/session.js'
import { type CommandContext, UsageError } from './command.js'

const connectTimeoutMs = 10_000

/** A database that a command works on. */
export interface BookAccess {
  /** With password: not for messages. */
  connectionString: string
  database: Database
}

/**
 * The database of the settings. The embedded one is started if no server has started it, and
 * stopped when the command ends, unless somebody uses it by then.
 */
export async function bookAccess(context: CommandContext): Promise<BookAccess> {
  const { databaseUrl, dataDirectory } = context.config.process
  if (databaseUrl !== undefined) return accessTo(databaseUrl)
  const directory = join(dataDirectory, 'postgres')
  if ((await stat(directory).catch(() => undefined)) === undefined) {
    throw new UsageError(
      `there is no book: DATABASE_URL is not set, and ${directory} does not exist`,
    )
  }
  const abort = new AbortController()
  let postgres: EmbeddedPostgres | undefined
  const starting = startEmbeddedPostgres({
    directory,
    log: context.log,
    signal: abort.signal,
  })
  context.onEnd(async () => {
    abort.abort()
    postgres = await starting.catch(() => undefined)
    if (postgres !== undefined && !postgres.reused) await stopUnlessUsed(postgres)
  })
  return accessTo((await starting).connectionString)
}

/** The database of a connection string that was given on the command line. */
export function accessTo(connectionString: string): BookAccess {
  const database = postgresDatabase(connectionString, connectTimeoutMs)
  return { connectionString, database: impatientDatabase(database, systemClock) }
}

/** The journal of a book, with what has been archived as far as DAYBOOK_ARCHIVE_DIR has it. */
export function journalOf({ database }: BookAccess, { config }: CommandContext): JournalStore {
  return archivedStore(postgresStore(database), database, config.process.archiveDirectory)
}

/** Runs `work` with a connection of its own. */
export async function withConnection<T>(
  { database }: BookAccess,
  work: (connection: DatabaseConnection) => Promise<T>,
): Promise<T> {
  const connection = await database.connect({ name: 'daybook command' })
  return await work(connection).finally(() => connection.end())
}

/** A server may have found it running meanwhile, and goes on. */
async function stopUnlessUsed(postgres: EmbeddedPostgres): Promise<void> {
  const others = await withConnection(accessTo(postgres.connectionString), async (connection) => {
    const { rows } = await connection.query(
      `select from pg_stat_activity
       where backend_type = 'client backend' and pid <> pg_backend_pid()
         and application_name not like 'daybook command%' limit 1`,
    )
    return rows.length
  }).catch(() => 0)
  if (others === 0) await postgres.stop()
}
