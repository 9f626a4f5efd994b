import { randomFillSync } from 'node:crypto'
import { chmod, mkdir, mkdtemp, rm } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { parseArgs } from 'node:util'
import pg from 'pg'
import { Batch } from '../src/journal/batch.js'
import type { DatabaseConnection } from '../src/journal/database.js'
import { digestChain, emptyDigest } from '../src/journal/digest.js'
import { startEmbeddedPostgres } from '../src/journal/embedded.js'
import { migrate } from '../src/journal/migrate.js'
import { postgresDatabase } from '../src/journal/postgres.js'
import { fenceText, postgresStore } from '../src/journal/postgres-session.js'
import {
  currencyWords,
  headWord,
  plainPostingBytes,
  RecordKind,
  scaleShift,
  Word,
  writeInteger,
} from '../src/journal/record.js'
import { restore } from '../src/snapshots/restore.js'
import { cpuSecondsOfFamily, cpuSecondsOfProcess } from './cpu.js'
import { positive } from './options.js'

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
const batchRecords = 50_000
const connectTimeoutMs = 10_000
const firstTimeMs = Date.UTC(2026, 0, 1)

await mkdir(values.directory, { recursive: true })
const folder = await mkdtemp(join(resolve(values.directory), 'restore-'))
await chmod(folder, 0o755)
const postgres = await startEmbeddedPostgres({ directory: folder, log: () => undefined })
try {
  await run()
} finally {
  await postgres.stop()
  await rm(folder, { recursive: true, force: true })
}

async function run(): Promise<void> {
  const source = postgresDatabase(postgres.connectionString, connectTimeoutMs)
  await withClient(postgres.connectionString, migrate)
  const connection = await source.connect({ name: 'bench' })
  await writeJournal(connection)
  await connection.query('create database target')
  await connection.query('checkpoint')
  await connection.end()
  const address = new URL(postgres.connectionString)
  address.pathname = '/target'

  const startMs = performance.now()
  const start = {
    own: cpuSecondsOfProcess(process.pid),
    postgres: cpuSecondsOfFamily(postgres.pid),
  }
  let residentMax = process.memoryUsage.rss()
  const residentFirst = residentMax
  const sampler = setInterval(() => {
    residentMax = Math.max(residentMax, process.memoryUsage.rss())
  }, 100)
  const result = await restore({
    source: { database: source, store: postgresStore(source) },
    target: { connectionString: address.href },
    to: { timeMs: firstTimeMs + records - 7 },
    chain: digestChain(),
    onProgress: () => undefined,
    log: () => undefined,
  })
  clearInterval(sampler)
  const seconds = (performance.now() - startMs) / 1000
  const megabytes = (bytes: number) => `${Math.round(bytes / 1e6)} MB`
  process.stdout.write(
    `${result.records} records to ${result.position} in ${seconds.toFixed(1)} s: ` +
      `${Math.round(result.records / seconds)} records/s\n` +
      `CPU: ${(cpuSecondsOfProcess(process.pid) - start.own).toFixed(1)} s here, ` +
      `${(cpuSecondsOfFamily(postgres.pid) - start.postgres).toFixed(1)} s in Postgres\n` +
      `memory: ${megabytes(residentFirst)} at first, ${megabytes(residentMax)} at most\n`,
  )
}

/** Plain postings, one each millisecond, with ids that do not compress. */
async function writeJournal(connection: DatabaseConnection): Promise<void> {
  await connection.query('set synchronous_commit = off')
  const batch = new Batch(1)
  let state = { head: 0, digest: emptyDigest as Buffer }
  while (state.head < records) {
    await connection.query('select daybook.ensure_partition($1)', [state.head + batchRecords])
    batch.restart(state.head + 1)
    const newHead = Math.min(records, state.head + batchRecords)
    for (let seq = state.head + 1; seq <= newHead; seq++) addPosting(batch, seq)
    const { copy, digest } = batch.seal(0, state.digest, digestChain())
    const fence = fenceText({
      ...{ stream: 1, epoch: 0, ...state },
      ...{ newHead, newDigest: digest, copy },
    })
    const tags = await connection.copyIn(fence, copy)
    if (tags.at(-1) !== 'COMMIT') throw new Error(`a commit answered ${tags}`)
    state = { head: newHead, digest }
  }
}

function addPosting(batch: Batch, seq: number): void {
  const at = batch.add(plainPostingBytes)
  const { words } = batch
  randomFillSync(new Uint8Array(words.buffer, at * 4, plainPostingBytes))
  words[at] = headWord(RecordKind.posting, 2 << scaleShift)
  words[at + Word.length] = plainPostingBytes
  writeInteger(words, at + Word.time, firstTimeMs + seq)
  ;[words[at + Word.currency], words[at + Word.currency + 1]] = currencyWords('EUR')
}

async function withClient(
  connectionString: string,
  work: (client: pg.Client) => Promise<void>,
): Promise<void> {
  const client = new pg.Client({ connectionString })
  await client.connect()
  await work(client).finally(() => client.end())
}
