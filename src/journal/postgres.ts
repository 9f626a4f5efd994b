import pg from 'pg'
import { to as copyTo } from 'pg-copy-streams'
import { CopyCommit } from './copy-commit.js'
import { readCopyRows } from './copy-rows.js'
import type { ConnectOptions, Database, DatabaseConnection, Result } from './database.js'

/** The Postgres at `connectionString`. */
export function postgresDatabase(connectionString: string, connectTimeoutMs: number): Database {
  return {
    async connect({ name, prepare }: ConnectOptions) {
      const client = new pg.Client({
        connectionString,
        connectionTimeoutMillis: connectTimeoutMs,
        keepAlive: true,
        application_name: name,
      })
      // A connection that breaks while idle shows at its next use.
      client.on('error', () => undefined)
      const connection = new PostgresConnection(client)
      // A link that falls silent after the log-in is no connection either.
      const silence = setTimeout(() => connection.close(), connectTimeoutMs)
      try {
        await client.connect()
        await prepare?.(connection)
      } catch (error) {
        connection.close()
        throw error
      } finally {
        clearTimeout(silence)
      }
      return connection
    },
  }
}

class PostgresConnection implements DatabaseConnection {
  readonly #client: pg.Client

  constructor(client: pg.Client) {
    this.#client = client
  }

  async query<Row>(text: string, values?: unknown[], name?: string): Promise<Result<Row>> {
    const result: Result<Row> | Result<Row>[] = await this.#client.query<Row & pg.QueryResultRow>({
      ...{ text, values, name },
    })
    // Several statements in one text have a result each.
    return Array.isArray(result) ? result[result.length - 1] : result
  }

  copyIn(text: string, rows: Buffer): Promise<string[]> {
    return new Promise((resolve, reject) => {
      const onEnd = () => reject(new Error('the connection to the journal has ended'))
      this.#client.once('end', onEnd)
      const commit = new CopyCommit({ text, rows }, (error, tags) => {
        this.#client.removeListener('end', onEnd)
        if (error === undefined) resolve(tags)
        else reject(error)
      })
      this.#client.query(commit)
    })
  }

  copyOut(text: string): AsyncIterable<Buffer[]> {
    return readCopyRows(this.#client.query(copyTo(text)))
  }

  onNotice(listener: (code: string | undefined) => void): void {
    this.#client.on('notice', (notice) => listener(notice.code))
  }

  close(): void {
    this.#client.connection.stream.destroy()
  }

  async end(): Promise<void> {
    await this.#client.end().catch(() => undefined)
  }
}
