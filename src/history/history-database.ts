import { systemClock } from '../clock.js'
import type { Database } from '../journal/database.js'
import { impatientDatabase } from '../journal/impatient-database.js'
import { postgresDatabase } from '../journal/postgres.js'

/** While an index is built over years of entries, Postgres says nothing. */
const silenceMsMax = 3_600_000

/** The database for who writes the read models, and for nobody who posts. */
export function historyDatabase(connectionString: string, connectTimeoutMs: number): Database {
  return impatientDatabase(
    postgresDatabase(connectionString, connectTimeoutMs),
    systemClock,
    silenceMsMax,
  )
}
