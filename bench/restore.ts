import { parseArgs } from 'node:util'
import { digestChain } from '../src/journal/digest.js'
import { postgresDatabase } from '../src/journal/postgres.js'
import { postgresStore } from '../src/journal/postgres-session.js'
import { restore } from '../src/snapshots/restore.js'
import type { Cluster } from './cluster.js'
import { cpuSecondsOfFamily, cpuSecondsOfProcess } from './cpu.js'
import { firstTimeMs } from './generated-journal.js'
import { positive } from './options.js'
import { newJournal, print, withTemporaryCluster } from './temporary-cluster.js'

/**
 * How long `daybook restore` takes for a journal of plain postings, which is written by COPY first,
 * and how much memory and CPU: node dist/bench/restore.js --records 10000000 --directory data/bench
 */
const { values } = parseArgs({
  options: {
    records: { type: 'string' },
    directory: { type: 'string', default: 'data/bench' },
  },
})
const records = positive('records', values.records, 10_000_000)
/** The rest are postings between them. */
const accounts = Math.min(10_000, records - 1)
const connectTimeoutMs = 10_000

await withTemporaryCluster(values.directory, run)

async function run(cluster: Cluster): Promise<void> {
  const connectionString = await cluster.createDatabase('source')
  const { journal, end } = await newJournal(connectionString)
  await journal.addAccounts(accounts)
  await journal.addPostings(records - accounts)
  await end()
  const source = postgresDatabase(connectionString, connectTimeoutMs)
  const target = await cluster.createDatabase('target')
  await cluster.checkpoint()

  const startMs = performance.now()
  const start = {
    own: cpuSecondsOfProcess(process.pid),
    postgres: cpuSecondsOfFamily(cluster.postmaster),
  }
  let residentMax = process.memoryUsage.rss()
  const residentFirst = residentMax
  const sampler = setInterval(() => {
    residentMax = Math.max(residentMax, process.memoryUsage.rss())
  }, 100)
  const result = await restore({
    source: { database: source, store: postgresStore(source) },
    target: { connectionString: target },
    to: { timeMs: firstTimeMs + records - 7 },
    chain: digestChain(),
    onProgress: () => undefined,
    log: () => undefined,
  })
  clearInterval(sampler)
  const seconds = (performance.now() - startMs) / 1000
  const megabytes = (bytes: number) => `${Math.round(bytes / 1e6)} MB`
  print(
    `${result.records} records to ${result.position} in ${seconds.toFixed(1)} s: ` +
      `${Math.round(result.records / seconds)} records/s\n` +
      `CPU: ${(cpuSecondsOfProcess(process.pid) - start.own).toFixed(1)} s here, ` +
      `${(cpuSecondsOfFamily(cluster.postmaster) - start.postgres).toFixed(1)} s in Postgres\n` +
      `memory: ${megabytes(residentFirst)} at first, ${megabytes(residentMax)} at most`,
  )
}
