import { fileURLToPath } from 'node:url'
import { Client } from 'pg'
import { CUSTOMER_OVERDRAFT, createAccounts } from './accounts.js'
import type { Cluster } from './cluster.js'
import { type Books, Journal, TransfersTable } from './gate.js'
import { PEER_SCHEMA } from './peer/schema.js'
import { type Server, startServer } from './server.js'
import type { AccountSet } from './spread.js'

/** What a workload is put on: a server, and the books that it keeps in Postgres. */
export interface Subject {
  readonly name: 'daybook' | 'peer'
  readonly server: Server
  readonly books: Books
  readonly paths: { singles: string; batches: string }
  stop(): Promise<void>
}

export interface DaybookOptions {
  data: string
  /** Each of its threads leaves a CPU profile there when it stops. */
  profile?: string
  /** Absent: as many as Daybook takes by itself. */
  shards?: number
}

/** Daybook with an empty database, and the accounts created over its API. */
export async function startDaybook(
  cluster: Cluster,
  accounts: AccountSet,
  { data, profile, shards }: DaybookOptions,
): Promise<Subject> {
  const database = await cluster.createDatabase('daybook')
  const environment = {
    DATABASE_URL: database,
    DAYBOOK_PORT: '0',
    // Not used with a DATABASE_URL, but never the one that a developer keeps in ./data.
    DAYBOOK_DATA_DIR: data,
    DAYBOOK_LOG_LEVEL: 'warn',
    // The peers keep no read models either.
    DAYBOOK_HISTORY: 'off',
    ...(shards === undefined ? {} : { DAYBOOK_SHARDS: String(shards) }),
  }
  const nodeWords = profile === undefined ? [] : ['--cpu-prof', `--cpu-prof-dir=${profile}`]
  const server = await startServer(program('../src/main.js'), environment, nodeWords)
  try {
    await createAccounts(server, accounts)
    const books = await Journal.open(database)
    const streams = await books.countOpenStreams()
    if (shards !== undefined && streams !== shards) {
      await books.close()
      throw new Error(`Daybook was asked for ${shards} shards and has ${streams} streams`)
    }
    return {
      name: 'daybook',
      server,
      books,
      paths: { singles: '/v1/transactions', batches: '/v1/transactions/batch' },
      stop: async () => {
        await server.stop()
        await books.close()
        await cluster.dropDatabase(database)
      },
    }
  } catch (error) {
    await server.stop()
    await cluster.dropDatabase(database)
    throw error
  }
}

/** The peer: its database lives on while its server is started anew with another pool. */
export class Peer implements Subject {
  readonly name = 'peer'
  readonly paths = { singles: '/transfers', batches: '/transfers/batch' }
  private running: Server | undefined
  poolSize = 0

  private constructor(
    private readonly cluster: Cluster,
    private readonly database: string,
    readonly books: Books,
  ) {}

  static async create(cluster: Cluster, accounts: AccountSet): Promise<Peer> {
    const database = await cluster.createDatabase('peer')
    const client = new Client({ connectionString: database })
    await client.connect()
    await client.query(PEER_SCHEMA)
    await client.query(
      `INSERT INTO accounts (id, overdraft_limit)
       SELECT id, CASE WHEN position > 1 THEN $2::bigint END
       FROM unnest($1::uuid[]) WITH ORDINALITY AS given (id, position)`,
      [accounts.ids, CUSTOMER_OVERDRAFT.minorUnits],
    )
    await client.query('VACUUM ANALYZE accounts')
    await client.end()
    return new Peer(cluster, database, await TransfersTable.open(database))
  }

  get server(): Server {
    if (!this.running) throw new Error('the peer serves only after usePool')
    return this.running
  }

  async usePool(size: number): Promise<void> {
    if (size === this.poolSize) return
    await this.running?.stop()
    this.running = await startServer(program('./peer/main.js'), {
      DATABASE_URL: this.database,
      PEER_POOL: String(size),
    })
    this.poolSize = size
  }

  async stop(): Promise<void> {
    await this.running?.stop()
    await this.books.close()
    await this.cluster.dropDatabase(this.database)
  }
}

function program(path: string): string {
  return fileURLToPath(new URL(path, import.meta.url))
}
