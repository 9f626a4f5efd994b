import { chmod, mkdir, mkdtemp, rm } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import pg from 'pg'
import { migrate } from '../src/journal/migrate.js'
import { postgresDatabase } from '../src/journal/postgres.js'
import { Cluster } from './cluster.js'
import { GeneratedJournal } from './generated-journal.js'
import { describeMachine } from './machine.js'

const connectTimeoutMs = 10_000

/** Says on what machine it is, runs `work` with a cluster in a new folder, and removes both. */
export async function withTemporaryCluster(
  directory: string,
  work: (cluster: Cluster) => Promise<void>,
): Promise<void> {
  const { cpu, cores, node, commit } = describeMachine()
  print(`${cpu}, ${cores} cores, Node ${node}, commit ${commit}`)
  await mkdir(directory, { recursive: true })
  const folder = await mkdtemp(join(resolve(directory), 'bench-'))
  await chmod(folder, 0o755)
  const cluster = await Cluster.start(folder)
  try {
    await work(cluster)
  } finally {
    await cluster.stop()
    await rm(folder, { recursive: true, force: true })
  }
}

/** The journal of a new book, and how to end its connection. */
export async function newJournal(
  connectionString: string,
): Promise<{ journal: GeneratedJournal; end(): Promise<void> }> {
  const client = new pg.Client({ connectionString })
  await client.connect()
  await migrate(client).finally(() => client.end())
  const database = postgresDatabase(connectionString, connectTimeoutMs)
  const connection = await database.connect({ name: 'bench' })
  return { journal: new GeneratedJournal(connection), end: () => connection.end() }
}

export function print(line: string): void {
  process.stdout.write(`${line}\n`)
}
