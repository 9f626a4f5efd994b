import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { Worker } from 'node:worker_threads'
import type { Cluster } from './cluster.js'
import { median } from './figures.js'
import { positive } from './options.js'
import type { PacedJob, PacedNews } from './paced-singles.js'
import { newJournal, print, withTemporaryCluster } from './temporary-cluster.js'

/**
 * What posting feels of a snapshot that is being built: single postings at a fixed rate, to a
 * server that builds snapshots by its policy; the time in which one was built is compared with as
 * much time just before it. `npm run bench:snapshot-cost -- --accounts 1000000 --rate 2000 --pairs 10`
 */
const { values } = parseArgs({
  options: {
    accounts: { type: 'string' },
    rate: { type: 'string' },
    pairs: { type: 'string' },
    directory: { type: 'string', default: 'data/bench' },
  },
})
const accounts = positive('accounts', values.accounts, 1_000_000)
const perSecond = positive('rate', values.rate, 2000)
const pairs = positive('pairs', values.pairs, 10)
/** Between the beginnings of two snapshots. */
const periodSeconds = 80
const warmupMs = 5000
const program = fileURLToPath(new URL('../src/main.js', import.meta.url))

await withTemporaryCluster(values.directory, run)

async function run(cluster: Cluster): Promise<void> {
  const connectionString = await cluster.createDatabase('cost')
  const { journal, end } = await newJournal(connectionString)
  await journal.addAccounts(accounts)
  await end()
  await cluster.settleWal()
  const server = spawn(process.execPath, ['--max-semi-space-size=64', program], {
    env: {
      ...process.env,
      DATABASE_URL: connectionString,
      DAYBOOK_PORT: '0',
      DAYBOOK_HISTORY: 'off',
      DAYBOOK_SNAPSHOT_RECORDS: String(perSecond * periodSeconds),
    },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const built: { fromMs: number; toMs: number }[] = []
  onLines(server.stderr, (line) => {
    const entry = JSON.parse(line)
    if (entry.level >= 40) print(line)
    const buildMs = entry.snapshot?.buildMs
    if (buildMs === undefined) return
    built.push({ fromMs: entry.time - buildMs, toMs: entry.time })
    print(`snapshot ${built.length}: ${entry.snapshot.accounts} accounts in ${buildMs} ms`)
  })
  const port = await new Promise<number>((found, failed) => {
    onLines(server.stdout, (line) => {
      const address = /serves on http:\/\/127\.0\.0\.1:(\d+)/.exec(line)
      if (address !== null) found(Number(address[1]))
    })
    server.once('exit', () => failed(new Error('the server ended')))
  })
  const job: PacedJob = { port, accounts, perSecond }
  const generator = new Worker(new URL('./paced-singles.js', import.meta.url), { workerData: job })
  const news: PacedNews[] = []
  generator.on('message', (each: PacedNews) => news.push(each))
  const startedMs = Date.now()
  // The first snapshot has the whole journal to read; it is no pair.
  while (built.length < pairs + 1) await once(generator, 'message')
  await generator.terminate()
  server.kill('SIGTERM')
  await once(server, 'exit')
  report(
    news.filter(({ atMs }) => atMs > startedMs + warmupMs),
    built.slice(1),
  )
}

function report(news: readonly PacedNews[], built: readonly { fromMs: number; toMs: number }[]) {
  const within = (fromMs: number, toMs: number) =>
    news
      .filter(({ atMs }) => atMs >= fromMs && atMs < toMs)
      .flatMap(({ latenciesMs }) => latenciesMs)
      .sort((a, b) => a - b)
  const ratios = built.map(({ fromMs, toMs }, index) => {
    const without = percentile(within(fromMs - (toMs - fromMs), fromMs), 0.99)
    const during = percentile(within(fromMs, toMs), 0.99)
    print(
      `pair ${index + 1}: p99 ${without.toFixed(1)} ms without, ${during.toFixed(1)} ms while it is built`,
    )
    return during / without
  })
  const failed = news.reduce((sum, each) => sum + each.failed, 0)
  const low = Math.min(...ratios).toFixed(2)
  const high = Math.max(...ratios).toFixed(2)
  print(
    `p99 while a snapshot is built: ${median(ratios).toFixed(2)} times (median of ${ratios.length}, ${low} to ${high}); ${failed} requests failed`,
  )
}

function percentile(sorted: readonly number[], share: number): number {
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))]
}

function onLines(stream: NodeJS.ReadableStream, take: (line: string) => void): void {
  let text = ''
  stream.setEncoding('utf8')
  stream.on('data', (piece: string) => {
    const lines = (text + piece).split('\n')
    text = lines.pop() ?? ''
    for (const line of lines) take(line)
  })
}
