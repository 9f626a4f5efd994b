import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { SnapshotBuilder } from '../src/snapshots/builder.js'
import type { Cluster } from './cluster.js'
import { positive } from './options.js'
import { newJournal, print, withTemporaryCluster } from './temporary-cluster.js'

/**
 * How long a server takes to be ready, from a snapshot and a tail, and without the snapshot; and
 * what building one takes: `npm run bench:restart -- --accounts 1000000 --tail 1000000`.
 */
const { values } = parseArgs({
  options: {
    accounts: { type: 'string' },
    tail: { type: 'string' },
    rounds: { type: 'string' },
    directory: { type: 'string', default: 'data/bench' },
  },
})
const accounts = positive('accounts', values.accounts, 1_000_000)
const tail = positive('tail', values.tail, 1_000_000)
const rounds = positive('rounds', values.rounds, 3)
const connectTimeoutMs = 10_000
const program = fileURLToPath(new URL('../src/main.js', import.meta.url))

interface Phase {
  name: string
  ms: number
}

await withTemporaryCluster(values.directory, run)

async function run(cluster: Cluster): Promise<void> {
  const connectionString = await cluster.createDatabase('restart')
  const { journal, end } = await newJournal(connectionString)
  await journal.addAccounts(accounts)
  await cluster.checkpoint()
  print(`from ${count(accounts)} account records, without a snapshot:`)
  await measureStart(connectionString, 'off')
  const builtFirst = await measureBuild(connectionString, accounts)
  print(`snapshot of ${count(accounts)} accounts, from the journal: ${builtFirst}`)
  await journal.addPostings(tail)
  await cluster.checkpoint()
  for (let round = 1; round <= rounds; round++) {
    print(
      `round ${round}: snapshot of ${count(accounts)} accounts, ${count(tail)} postings after it`,
    )
    await measureStart(connectionString, 'postgres')
  }
  const builtNext = await measureBuild(connectionString, tail)
  print(`the next snapshot, from the one before and the ${count(tail)} postings: ${builtNext}`)
  print('from that snapshot, with nothing after it:')
  await measureStart(connectionString, 'postgres')
  await end()
}

async function measureBuild(connectionString: string, records: number): Promise<string> {
  const builder = new SnapshotBuilder({
    connectionString,
    timeoutMs: connectTimeoutMs,
    digestKey: undefined,
    archiveDirectory: undefined,
    snapshots: { kind: 'postgres', connectionString, timeoutMs: connectTimeoutMs },
    transactionsMax: 1e9,
    keep: 3,
    share: 1,
  })
  const began = performance.now()
  const { bytes } = await builder
    .build({ onProgress: () => undefined, onWarning: print })
    .finally(() => builder.close())
  const seconds = (performance.now() - began) / 1000
  const rate = count(Math.round(records / seconds))
  return `${seconds.toFixed(1)} s, ${Math.round(bytes / 1e6)} MB, ${rate} records/s`
}

/** Starts a server, prints its phases, and ends it. */
async function measureStart(connectionString: string, snapshots: string): Promise<void> {
  const began = Date.now()
  const server = spawn(process.execPath, ['--max-semi-space-size=64', program], {
    env: {
      ...process.env,
      DATABASE_URL: connectionString,
      DAYBOOK_PORT: '0',
      DAYBOOK_HISTORY: 'off',
      DAYBOOK_SNAPSHOTS: snapshots,
      DAYBOOK_SNAPSHOT_RECORDS: '2000000000',
      DAYBOOK_SNAPSHOT_MINUTES: '100000',
    },
    stdio: ['ignore', 'ignore', 'pipe'],
  })
  const entered: { phase: string; time: number; rowsTotal: number; recordsTotal: number }[] = []
  let text = ''
  const ready = new Promise<void>((resolve, reject) => {
    server.stderr.setEncoding('utf8').on('data', (piece: string) => {
      text += piece
      const lines = text.split('\n')
      text = lines.pop() ?? ''
      for (const line of lines) {
        const entry = JSON.parse(line)
        if (entry.phase !== undefined) entered.push(entry)
        if (entry.phase === 'serving') resolve()
      }
    })
    server.once('exit', () => reject(new Error(`the server ended: ${text}`)))
  })
  await ready
  server.kill('SIGKILL')
  await once(server, 'exit')
  const phases: Phase[] = entered.map(({ phase, time }, index) => ({
    name: phase.replaceAll('_', ' '),
    ms: (entered[index + 1]?.time ?? time) - time,
  }))
  const last = entered[entered.length - 1]
  const total = last.time - began
  const list = phases.filter(({ ms }) => ms > 0).map(({ name, ms }) => `${name} ${ms} ms`)
  print(
    `  ready after ${(total / 1000).toFixed(2)} s: process ${entered[0].time - began} ms, ${list.join(', ')}`,
  )
}

function count(value: number): string {
  return value.toLocaleString('en')
}
