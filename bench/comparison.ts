import { join } from 'node:path'
import type { Cluster } from './cluster.js'
import { type Figures, medianFigures } from './figures.js'
import { runLoad } from './generator.js'
import { IdSource } from './ids.js'
import type { LoadResult } from './load.js'
import type { Options } from './options.js'
import { Peer, type Subject, startDaybook } from './subject.js'
import type { AccountSet, BatchFormat } from './transfers.js'
import { POOL_SIZES, type Workload, workloadName } from './workload.js'

/** A workload's figures, Daybook's beside the peer's. */
export interface Comparison {
  name: string
  workload: Workload
  format: BatchFormat
  daybook: Figures
  peer: Figures
  /** Of the transfers per second. */
  ratio: number
}

/** Everything that a comparison needs from the run around it. */
export interface Bench {
  cluster: Cluster
  options: Options
  dataDirectory: string
  stopping: AbortSignal
  print: (line: string) => void
  /** Takes what the correctness gate found; a run with an entry fails. */
  faults: string[]
  /** The peer's best pool by kind and spread, which a short run does not look for twice. */
  bestPools: Map<string, number>
}

const CUSTOMERS = 10_000
const SWEEP_WARMUP_SECONDS = 0.3

interface Lane {
  subject: Subject
  format: BatchFormat
  connections: number
  label: string
  results: LoadResult[]
}

/** Runs a workload: Daybook in each format and the peer in turn, round after round. */
export async function compare(bench: Bench, workload: Workload): Promise<Comparison[]> {
  const accounts = makeAccounts()
  const subjects: Subject[] = []
  try {
    const peer = await Peer.create(bench.cluster, accounts)
    subjects.push(peer)
    const poolSize = await findBestPool(bench, workload, peer, accounts)
    await peer.usePool(poolSize)

    const lanes: Lane[] = []
    for (const format of workload.formats) {
      const subject = await startDaybook(bench.cluster, accounts, {
        data: bench.dataDirectory,
        profile:
          bench.options.profile && join(bench.options.profile, workloadName(workload, format)),
      })
      subjects.push(subject)
      const label = workload.formats.length > 1 ? `daybook ${format}` : 'daybook'
      lanes.push({ subject, format, connections: workload.connections, label, results: [] })
    }
    const connections = peerConnections(workload, poolSize)
    lanes.push({ subject: peer, format: 'json', connections, label: 'peer', results: [] })
    await runRounds(bench, workload, accounts, lanes)
    return summarise(workload, lanes, poolSize)
  } finally {
    for (const subject of subjects) await subject.stop()
  }
}

/**
 * The hot account gets the greatest id. The peer locks accounts in the order of their ids, so that
 * it holds the lock that everybody waits for as shortly as it can.
 */
function makeAccounts(): AccountSet {
  const source = new IdSource()
  const ids = Array.from({ length: CUSTOMERS + 1 }, () => source.next())
  return { ids: ids.sort().reverse() }
}

async function runRounds(
  bench: Bench,
  workload: Workload,
  accounts: AccountSet,
  lanes: Lane[],
): Promise<void> {
  // What set-up wrote is not the workload's.
  for (const lane of lanes) await lane.subject.books.advance()
  const { rounds, seconds, warmupSeconds } = bench.options
  for (let round = 1; round <= rounds; round++) {
    for (const lane of lanes) {
      const result = await runOnce(bench, workload, accounts, lane, { warmupSeconds, seconds })
      lane.results.push(result)
      bench.print(`  ${round}/${rounds} ${lane.label.padEnd(15)} ${describe(result)}`)
    }
  }
}

async function runOnce(
  bench: Bench,
  workload: Workload,
  accounts: AccountSet,
  lane: Pick<Lane, 'subject' | 'format' | 'connections' | 'label'>,
  time: { warmupSeconds: number; seconds: number },
): Promise<LoadResult> {
  await bench.cluster.checkpoint()
  const { server, paths, books } = lane.subject
  const result = await runLoad(
    {
      kind: workload.kind,
      host: server.host,
      port: server.port,
      path: paths[workload.kind],
      connections: lane.connections,
      accounts,
      spread: workload.spread,
      batchSize: workload.batchSize,
      format: lane.format,
      warmupMs: time.warmupSeconds * 1000,
      measureMs: time.seconds * 1000,
      watch: { server: server.pid, postmaster: bench.cluster.postmaster },
    },
    bench.stopping,
  )
  const found = await books.advance()
  const { transfers, amount } = result.acknowledged
  if (found.transfers !== transfers || found.amount.toString() !== amount) {
    const fault =
      `${workload.name} ${lane.label}: acknowledged ${transfers} transfers of ${amount} minor units, ` +
      `but the books hold ${found.transfers} of ${found.amount}; ${result.unanswered} were never answered`
    bench.faults.push(fault)
    bench.print(`  WRONG ${fault}`)
  }
  return result
}

async function findBestPool(
  bench: Bench,
  workload: Workload,
  peer: Peer,
  accounts: AccountSet,
): Promise<number> {
  const known = `${workload.kind}-${workload.spread}`
  const remembered = bench.bestPools.get(known)
  if (bench.options.short && remembered !== undefined) return remembered
  const tried: string[] = []
  let best = { size: 0, perSecond: -1 }
  for (const size of POOL_SIZES[workload.kind]) {
    await peer.usePool(size)
    const connections = peerConnections(workload, size)
    const lane = {
      subject: peer,
      format: 'json' as const,
      connections,
      label: `peer, pool ${size}`,
    }
    const result = await runOnce(bench, workload, accounts, lane, {
      warmupSeconds: SWEEP_WARMUP_SECONDS,
      seconds: bench.options.sweepSeconds,
    })
    const perSecond = result.transfersPerSecond
    tried.push(`${size}: ${Math.round(perSecond)}/s`)
    if (perSecond > best.perSecond) best = { size, perSecond }
  }
  bench.print(`  peer's pool: ${best.size} (${tried.join(', ')})`)
  bench.bestPools.set(known, best.size)
  return best.size
}

/** A batch holds a connection of the pool until it is answered, so that more would only queue. */
function peerConnections(workload: Workload, poolSize: number): number {
  return workload.kind === 'singles' ? workload.connections : poolSize
}

function summarise(workload: Workload, lanes: Lane[], poolSize: number): Comparison[] {
  const peerLane = lanes[lanes.length - 1]
  const peer = { ...medianFigures(peerLane.results), connections: peerLane.connections, poolSize }
  return lanes.slice(0, -1).map((lane) => {
    const daybook = { ...medianFigures(lane.results), connections: lane.connections }
    return {
      name: workloadName(workload, lane.format),
      workload,
      format: lane.format,
      daybook,
      peer,
      ratio: daybook.transfersPerSecond / peer.transfersPerSecond,
    }
  })
}

function describe(result: LoadResult): string {
  const { latencyMs, cores, failures, unanswered } = result
  const failed = Object.entries(failures).map(([reason, count]) => `${count} × ${reason}`)
  if (unanswered > 0) failed.push(`${unanswered} unanswered`)
  return [
    `${Math.round(result.transfersPerSecond).toLocaleString('en').padStart(9)}/s`,
    `p50 ${latencyMs.p50.toFixed(1)}  p99 ${latencyMs.p99.toFixed(1)} ms`,
    `cores: server ${cores.server.toFixed(2)} postgres ${cores.postgres.toFixed(2)}` +
      ` generator ${cores.generator.toFixed(2)}`,
    ...(failed.length > 0 ? [`FAILED ${failed.join(', ')}`] : []),
  ].join('  ')
}
