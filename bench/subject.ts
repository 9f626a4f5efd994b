import { Agent, request } from 'node:http'
import { fileURLToPath } from 'node:url'
import { Client } from 'pg'
import type { Cluster } from './cluster.js'
import { type Books, Journal, TransfersTable } from './gate.js'
import { PEER_SCHEMA } from './peer/schema.js'
import { type Server, startServer } from './server.js'
import type { AccountSet } from './transfers.js'

/** What a workload is put on: a server, and the books that it keeps in Postgres. */
export interface Subject {
  readonly name: 'daybook' | 'peer'
  readonly server: Server
  readonly books: Books
  readonly paths: { singles: string; batches: string }
  stop(): Promise<void>
}

/** No customer ever reaches it, but it has to be checked each time. Decimal text and minor units. */
const CUSTOMER_OVERDRAFT = { decimal: '1000000000.00', minorUnits: '100000000000' }
const SETUP_CONNECTIONS = 32

/**
 * Daybook with an empty database, and the accounts created over its API. With a profile directory
 * each of its threads leaves a CPU profile there when it stops.
 */
export async function startDaybook(
  cluster: Cluster,
  accounts: AccountSet,
  directories: { data: string; profile: string | undefined },
): Promise<Subject> {
  const database = await cluster.createDatabase('daybook')
  const environment = {
    DATABASE_URL: database,
    DAYBOOK_PORT: '0',
    // Not used with a DATABASE_URL, but never the one that a developer keeps in ./data.
    DAYBOOK_DATA_DIR: directories.data,
    DAYBOOK_LOG_LEVEL: 'warn',
  }
  const { profile } = directories
  const nodeWords = profile === undefined ? [] : ['--cpu-prof', `--cpu-prof-dir=${profile}`]
  const server = await startServer(program('../src/main.js'), environment, nodeWords)
  await createAccounts(server, accounts)
  const books = await Journal.open(database)
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

async function createAccounts(server: Server, accounts: AccountSet): Promise<void> {
  const agent = new Agent({ keepAlive: true, maxSockets: SETUP_CONNECTIONS })
  let next = 0
  const lanes = Array.from({ length: SETUP_CONNECTIONS }, async () => {
    while (next < accounts.ids.length) {
      const index = next++
      await postAccount(server, agent, {
        id: accounts.ids[index],
        currency: 'EUR',
        class: 'liability',
        overdraftLimit: index === 0 ? 'unlimited' : CUSTOMER_OVERDRAFT.decimal,
      })
    }
  })
  await Promise.all(lanes)
  agent.destroy()
}

function postAccount(server: Server, agent: Agent, account: object): Promise<void> {
  return new Promise((resolve, reject) => {
    const outgoing = request(
      {
        host: server.host,
        port: server.port,
        path: '/v1/accounts',
        method: 'POST',
        agent,
        headers: { 'content-type': 'application/json' },
      },
      (incoming) => {
        let text = ''
        incoming.setEncoding('utf8')
        incoming.on('data', (part: string) => {
          text += part
        })
        incoming.on('end', () =>
          incoming.statusCode === 201
            ? resolve()
            : reject(new Error(`account not created: ${incoming.statusCode} ${text}`)),
        )
        incoming.on('error', reject)
      },
    )
    outgoing.on('error', reject)
    outgoing.end(JSON.stringify(account))
  })
}
