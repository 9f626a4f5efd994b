import { pipeline } from 'node:stream/promises'
import { parseArgs } from 'node:util'
import pg from 'pg'
import { from as copyFrom } from 'pg-copy-streams'
import { Batch } from '../src/journal/batch.js'
import { digestChain, emptyDigest } from '../src/journal/digest.js'
import { migrate } from '../src/journal/migrate.js'
import { postgresDatabase } from '../src/journal/postgres.js'
import { fenceText, postgresStore } from '../src/journal/postgres-session.js'
import type { SealedBatch } from '../src/journal/session.js'
import { median } from './figures.js'
import { positive, type RunOptions } from './options.js'
import { renderCorrectness, renderSetting, type Setting, table } from './report.js'
import { perform, type Stage } from './stage.js'

/** Records in a batch, and bytes of each: a plain posting. */
const batchSizes = [1, 30, 1000]
const recordBytes = 128

type Way = 'daybook' | 'pg-copy-streams'

interface CommitFigures {
  records: number
  way: Way
  commitsPerSecond: number
  microsecondsOfCpu: number
}

interface CommitsReport extends Setting {
  figures: CommitFigures[]
  faults: string[]
}

function readOptions(words: string[]): RunOptions {
  const { values } = parseArgs({
    args: words,
    options: {
      seconds: { type: 'string' },
      rounds: { type: 'string' },
      directory: { type: 'string', default: 'data/bench' },
      write: { type: 'boolean', default: false },
    },
  })
  return {
    seconds: positive('seconds', values.seconds, 2),
    warmupSeconds: 0.3,
    rounds: positive('rounds', values.rounds, 5),
    directory: values.directory,
    write: values.write,
    command: ['npm run bench:commits', ...(words.length > 0 ? ['--', ...words] : [])].join(' '),
  }
}

async function runAll(stage: Stage, options: RunOptions): Promise<CommitsReport> {
  const figures: CommitFigures[] = []
  for (const records of batchSizes) {
    await stage.attempt(`${records} records`, async () => {
      const runs: Record<Way, CommitFigures[]> = { daybook: [], 'pg-copy-streams': [] }
      for (let round = 0; round < options.rounds && !stage.stopping.aborted; round++) {
        for (const way of ['daybook', 'pg-copy-streams'] as const) {
          const run = await measure(stage, { way, records, ...options })
          stage.print(`  ${way}: ${Math.round(run.commitsPerSecond)} commits/s`)
          runs[way].push(run)
        }
      }
      figures.push(...Object.values(runs).map(medianOf))
    })
  }
  return { ...stage.setting, figures, faults: stage.faults }
}

function medianOf(runs: CommitFigures[]): CommitFigures {
  return {
    ...runs[0],
    commitsPerSecond: median(runs.map((run) => run.commitsPerSecond)),
    microsecondsOfCpu: median(runs.map((run) => run.microsecondsOfCpu)),
  }
}

/** Commits one batch after the other to an empty journal; its head must be what was committed. */
async function measure(
  { cluster }: Stage,
  run: { way: Way; records: number; seconds: number; warmupSeconds: number },
): Promise<CommitFigures> {
  const database = await cluster.createDatabase('commits')
  const admin = new pg.Client({ connectionString: database })
  await admin.connect()
  await migrate(admin)
  await admin.query("update daybook.stream set owner = 'bench'")
  const session = await postgresStore(postgresDatabase(database, 5000)).open()
  const copier = new pg.Client({ connectionString: database })
  await copier.connect()
  try {
    const state = await session.settle(1, 'bench')
    await session.ensurePartition(1_000_000)
    const commit = (batch: SealedBatch) =>
      run.way === 'daybook' ? session.commit(batch) : copyThrough(copier, batch)
    const stream = new StreamWriter(state.epoch, run.records, commit)
    await stream.commitFor(run.warmupSeconds)
    const figures = await stream.commitFor(run.seconds)
    const { head } = await session.readHead(1)
    if (head !== stream.head) throw new Error(`the head is ${head}, not ${stream.head}`)
    return { records: run.records, way: run.way, ...figures }
  } finally {
    session.close()
    await copier.end()
    await admin.end()
    await cluster.dropDatabase(database)
  }
}

/** The same transaction as a session's, with the library's COPY. */
async function copyThrough(client: pg.Client, batch: SealedBatch): Promise<void> {
  const stream = client.query(copyFrom(fenceText(batch), { highWaterMark: batch.copy.length + 1 }))
  await pipeline([batch.copy], stream)
}

class StreamWriter {
  head = 0
  #digest: Buffer = emptyDigest
  readonly #chain = digestChain()
  readonly #batch = new Batch(1)
  readonly #epoch: number
  readonly #records: number
  readonly #commit: (batch: SealedBatch) => Promise<void>

  constructor(epoch: number, records: number, commit: (batch: SealedBatch) => Promise<void>) {
    this.#epoch = epoch
    this.#records = records
    this.#commit = commit
  }

  async commitFor(
    seconds: number,
  ): Promise<{ commitsPerSecond: number; microsecondsOfCpu: number }> {
    const cpuBefore = process.cpuUsage()
    const startedAt = performance.now()
    let commits = 0
    while (performance.now() < startedAt + seconds * 1000) {
      await this.#commitNext()
      commits += 1
    }
    const elapsedSeconds = (performance.now() - startedAt) / 1000
    const { user, system } = process.cpuUsage(cpuBefore)
    return {
      commitsPerSecond: commits / elapsedSeconds,
      microsecondsOfCpu: (user + system) / commits,
    }
  }

  async #commitNext(): Promise<void> {
    const batch = this.#batch
    batch.restart(this.head + 1)
    for (let record = 0; record < this.#records; record++) {
      const at = batch.add(recordBytes)
      batch.words.fill(7, at, at + recordBytes / 4)
    }
    const { copy, digest } = batch.seal(this.#epoch, this.#digest, this.#chain)
    const newHead = this.head + this.#records
    await this.#commit({
      stream: 1,
      epoch: this.#epoch,
      head: this.head,
      digest: this.#digest,
      newHead,
      newDigest: digest,
      copy,
    })
    this.head = newHead
    this.#digest = digest
  }
}

function renderReport(report: CommitsReport): string {
  const rows = report.figures.map(({ records, way, commitsPerSecond, microsecondsOfCpu }) => {
    const peer = report.figures.find(
      (figures) => figures.records === records && figures.way === 'pg-copy-streams',
    )
    return [
      String(records),
      way,
      Math.round(commitsPerSecond).toLocaleString('en'),
      (commitsPerSecond / (peer?.commitsPerSecond ?? Number.NaN)).toFixed(2),
      (1000 / commitsPerSecond).toFixed(2),
      microsecondsOfCpu.toFixed(0),
    ]
  })
  return [
    ...renderSetting('Benchmark results: commits', report),
    'One connection, one batch in flight; `begin; copy; call fence; commit` each.',
    '',
    ...table(['records', 'way', 'commits /s', '× peer', 'ms each', 'µs of our CPU each'], rows),
    '',
    ...renderCorrectness(report.faults, ['The head of the stream is what was committed.']),
    '',
  ].join('\n')
}

/** How long one commit of the journal takes, beside the same transaction through pg-copy-streams. */
await perform({
  results: 'commits-results',
  usage: `npm run bench:commits -- [options]
  --seconds N        measured seconds of each run (default 2)
  --rounds N         rounds; figures are their medians (default 5)
  --directory PATH   where the database is put (default ./data/bench)
  --write            write bench/commits-results.md and bench/commits-results.json
`,
  readOptions,
  play: runAll,
  render: renderReport,
})
