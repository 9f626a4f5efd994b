import { join } from 'node:path'
import pg from 'pg'
import type { Logger } from 'pino'
import type { Config } from './config.js'
import { type EmbeddedPostgres, startEmbeddedPostgres } from './journal/embedded.js'

/** The Postgres of a node: the one that comes with it, unless a setting names another. */
export class NodePostgres {
  readonly #settings: Pick<Config['process'], 'databaseUrl' | 'dataDirectory' | 'commitTimeoutMs'>
  readonly #log: Logger
  readonly #owner: string
  #embedded: EmbeddedPostgres | undefined

  /** `owner` is what the node calls itself in the rows of its streams. */
  constructor(settings: Config['process'], log: Logger, owner: string) {
    this.#settings = settings
    this.#log = log
    this.#owner = owner
  }

  /** Starts it if it is ours; resolves with where it is. */
  async start(signal: AbortSignal): Promise<string> {
    const { databaseUrl, dataDirectory } = this.#settings
    if (databaseUrl !== undefined) return databaseUrl
    this.#embedded = await startEmbeddedPostgres({
      directory: join(dataDirectory, 'postgres'),
      log: (line) => this.#log.info(line),
      signal,
    })
    return this.#embedded.connectionString
  }

  /** Stops the embedded one, unless another process has taken the book over and uses it. */
  async stop(tookOver: boolean): Promise<void> {
    if (this.#embedded === undefined) return
    // Before the take-over the streams still name the process before us, which may be long gone.
    const mayBeUsed = tookOver || this.#embedded.reused
    if (mayBeUsed && (await this.#isUsed(this.#embedded.connectionString))) {
      this.#log.info('another process uses the embedded Postgres; it is left running')
      return
    }
    await this.#embedded.stop()
  }

  async #isUsed(connectionString: string): Promise<boolean> {
    try {
      return await this.withClient(connectionString, async (client) => {
        const { rowCount } = await client.query(
          'select from daybook.stream where owner is not null and owner <> $1 and not closed',
          [this.#owner],
        )
        return rowCount !== null && rowCount > 0
      })
    } catch {
      // Nobody can use what does not answer.
      return false
    }
  }

  async withClient<T>(
    connectionString: string,
    work: (client: pg.Client) => Promise<T>,
  ): Promise<T> {
    const client = new pg.Client({
      connectionString,
      application_name: 'daybook start',
      connectionTimeoutMillis: this.#settings.commitTimeoutMs,
    })
    client.on('error', () => undefined)
    try {
      await client.connect()
      return await work(client)
    } finally {
      await client.end().catch(() => undefined)
    }
  }
}
