import { rm } from 'node:fs/promises'
import { Client } from 'pg'
import { type EmbeddedPostgres, startEmbeddedPostgres } from '../src/journal/embedded.js'
import { randomSuffix } from './ids.js'

/** The settings that decide what a commit costs; they are printed with every result. */
const SHOWN_SETTINGS = [
  'server_version',
  'fsync',
  'synchronous_commit',
  'wal_sync_method',
  'full_page_writes',
  'shared_buffers',
  'max_wal_size',
]

/** Makes some 900 MB of write-ahead log, a little less than max_wal_size is by default. */
const FILLER_ROWS = 130_000

/** One Postgres for Daybook and the peer alike, each in its own database. */
export class Cluster {
  private constructor(
    private readonly admin: Client,
    private readonly postgres: EmbeddedPostgres,
    /** By name, as SHOW prints them. */
    readonly settings: Record<string, string>,
  ) {}

  /** Makes a cluster with the embedded default settings in `directory` and starts it. */
  static async start(directory: string): Promise<Cluster> {
    const postgres = await startEmbeddedPostgres({ directory, log: () => {} })
    const admin = new Client({ connectionString: postgres.connectionString })
    await admin.connect()
    const settings: Record<string, string> = {}
    for (const name of SHOWN_SETTINGS) settings[name] = await show(admin, name)
    return new Cluster(admin, postgres, settings)
  }

  /** Process id of the postmaster. */
  get postmaster(): number {
    return this.postgres.pid
  }

  /** The folder that really holds the data, which need not be the one asked for. */
  get directory(): string {
    return this.postgres.directory
  }

  /** Makes an empty database and returns its connection string. */
  async createDatabase(prefix: string): Promise<string> {
    const name = `${prefix}_${randomSuffix()}`
    await this.admin.query(`CREATE DATABASE ${name}`)
    const url = new URL(this.postgres.connectionString)
    url.pathname = `/${name}`
    return url.href
  }

  async dropDatabase(connectionString: string): Promise<void> {
    const name = new URL(connectionString).pathname.slice(1)
    await this.admin.query(`DROP DATABASE IF EXISTS ${name} WITH (FORCE)`)
  }

  /** So that each run starts with nothing left to write from the one before it. */
  async checkpoint(): Promise<void> {
    await this.admin.query('CHECKPOINT')
  }

  /**
   * Brings the write-ahead log to where it is on a server that has run for a while: a checkpoint
   * keeps about as many of its files as the time before it needed, to be written again. Until then
   * each 16 MB need a new file, and all commits wait some 50 ms while it is filled and synced.
   */
  async settleWal(): Promise<void> {
    await this.admin.query('CREATE TABLE filler (text text STORAGE PLAIN)')
    await this.admin.query(
      `INSERT INTO filler SELECT repeat('x', 7000) FROM generate_series(1, ${FILLER_ROWS})`,
    )
    await this.admin.query('DROP TABLE filler')
    await this.admin.query('CHECKPOINT')
  }

  /** Bytes of write-ahead log written since the cluster was made. */
  async walPosition(): Promise<bigint> {
    const { rows } = await this.admin.query<[string]>({
      text: `SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::text`,
      rowMode: 'array',
    })
    return BigInt(rows[0][0])
  }

  /** Stops Postgres and removes its data. */
  async stop(): Promise<void> {
    await this.admin.end()
    await this.postgres.stop()
    await rm(this.directory, { recursive: true, force: true })
  }
}

async function show(client: Client, name: string): Promise<string> {
  const { rows } = await client.query<[string]>({ text: `SHOW ${name}`, rowMode: 'array' })
  return rows[0][0]
}
