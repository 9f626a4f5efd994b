import { join } from 'node:path'
import { makeAccounts } from './accounts.js'
import { type Figures, medianFigures } from './figures.js'
import { describeRun, type Lane, type LaneResult, runLane, type Surroundings } from './lane.js'
import type { Options } from './options.js'
import type { AccountSet } from './spread.js'
import { Peer, type Subject, startDaybook } from './subject.js'
import type { BatchFormat } from './transfers.js'
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
export interface Bench extends Surroundings {
  options: Options
  dataDirectory: string
  /** The peer's best pool by kind and spread, which a short run does not look for twice. */
  bestPools: Map<string, number>
}

const CUSTOMERS = 10_000
const SWEEP_WARMUP_SECONDS = 0.3

interface MeasuredLane extends Lane {
  results: LaneResult[]
}

/** Runs a workload: Daybook in each format and the peer in turn, round after round. */
export async function compare(bench: Bench, workload: Workload): Promise<Comparison[]> {
  const accounts = makeAccounts(CUSTOMERS)
  const subjects: Subject[] = []
  try {
    const peer = await Peer.create(bench.cluster, accounts)
    subjects.push(peer)
    const poolSize = await findBestPool(bench, workload, peer, accounts)
    await peer.usePool(poolSize)

    const lanes: MeasuredLane[] = []
    for (const format of workload.formats) {
      const subject = await startDaybook(bench.cluster, accounts, {
        data: bench.dataDirectory,
        profile:
          bench.options.profile && join(bench.options.profile, workloadName(workload, format)),
      })
      subjects.push(subject)
      lanes.push({ ...laneOf(workload, subject, format), results: [] })
    }
    const connections = peerConnections(workload, poolSize)
    lanes.push({ ...laneOf(workload, peer, 'json'), connections, results: [] })
    await runRounds(bench, accounts, lanes)
    return summarise(workload, lanes, poolSize)
  } finally {
    for (const subject of subjects) await subject.stop()
  }
}

async function runRounds(bench: Bench, accounts: AccountSet, lanes: MeasuredLane[]): Promise<void> {
  // What set-up wrote is not the workload's.
  for (const lane of lanes) await lane.subject.books.advance()
  const { rounds, seconds, warmupSeconds } = bench.options
  for (let round = 1; round <= rounds; round++) {
    for (const lane of lanes) {
      const result = await runLane(bench, lane, accounts, { warmupSeconds, seconds })
      lane.results.push(result)
      bench.print(`  ${round}/${rounds} ${lane.label.padEnd(36)} ${describeRun(result)}`)
    }
  }
}

function laneOf(workload: Workload, subject: Subject, format: BatchFormat): Lane {
  const { kind, spread, batchSize, connections } = workload
  const label = `${workloadName(workload, format)} ${subject.name}`
  return { subject, label, kind, spread, format, batchSize, connections }
}

/** The pool size with which the peer is fastest; a short run looks only once for each kind and spread. */
export async function findBestPool(
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
    const lane = { ...laneOf(workload, peer, 'json'), connections, label: `peer, pool ${size}` }
    const result = await runLane(bench, lane, accounts, {
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

function summarise(workload: Workload, lanes: MeasuredLane[], poolSize: number): Comparison[] {
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
