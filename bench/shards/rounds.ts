import { join } from 'node:path'
import { makeAccounts, sumAccounts } from '../accounts.js'
import { type Bench, findBestPool } from '../comparison.js'
import { describeRun, type Lane, type LaneResult, runLane } from '../lane.js'
import type { AccountSet } from '../spread.js'
import { Peer, type Subject, startDaybook } from '../subject.js'
import type { ShardsOptions } from './options.js'
import { type NamedSpread, type ShardsLoad, shardsText, UNIFORM } from './workload.js'

export interface ShardsBench extends Bench {
  options: ShardsOptions
}

/** A load with one spread on one number of shards, or on the peer; a result for each round. */
export interface ShardsLane extends Lane {
  load: ShardsLoad
  /** The peer has neither. */
  shards?: number
  spreadName?: string
  /** Only the peer has one. */
  poolSize?: number
  results: LaneResult[]
}

const CUSTOMERS = { short: 1000, full: 10_000 }
/** Good enough for a short run, which shall not look for the best. */
const SHORT_POOL = 8

/**
 * Runs a load: a Daybook for each number of shards stands by, and within a round number and spread
 * change from run to run, so that noise hits all of them. Every second round goes backwards.
 */
export async function runLoadInRounds(bench: ShardsBench, load: ShardsLoad): Promise<ShardsLane[]> {
  const { options, cluster } = bench
  const accounts = makeAccounts(options.short ? CUSTOMERS.short : CUSTOMERS.full, load)
  const subjects: Subject[] = []
  try {
    const daybooks = new Map<number, Subject>()
    for (const shards of options.shards) {
      const settings = {
        data: `${bench.dataDirectory}-${shards}`,
        shards,
        ...(options.profile && { profile: join(options.profile, `${load.name}-${shards}`) }),
      }
      const daybook = await startDaybook(cluster, accounts, settings)
      subjects.push(daybook)
      daybooks.set(shards, daybook)
    }
    const lanes: ShardsLane[] = load.spreads.flatMap((spread) =>
      [...daybooks].map(([shards, subject]) => ({
        ...laneOf(load, spread, subject),
        label: `${load.name}, ${spread.name}, ${shardsText(shards)}`,
        shards,
        spreadName: spread.name,
      })),
    )
    if (load.peer) {
      const peer = await Peer.create(cluster, accounts)
      subjects.push(peer)
      const poolSize = await findPool(bench, load, peer, accounts)
      await peer.usePool(poolSize)
      lanes.push({ ...laneOf(load, UNIFORM, peer), label: `${load.name}, peer`, poolSize })
    }
    // What set-up wrote is not the load's.
    for (const subject of subjects) await subject.books.advance()
    const acknowledged = new Acknowledged()
    if (!options.short) await warmUp(bench, accounts, lanes, acknowledged)
    await runRounds(bench, accounts, lanes, acknowledged)
    for (const [shards, daybook] of daybooks) {
      const name = `${load.name}, ${shardsText(shards)}`
      await checkSums(bench, name, accounts, daybook, acknowledged.of(daybook))
    }
    return lanes
  } finally {
    for (const subject of subjects) await subject.stop()
  }
}

function laneOf(load: ShardsLoad, { name, spread }: NamedSpread, subject: Subject): ShardsLane {
  const { kind, format, batchSize, connections } = load
  return {
    load,
    subject,
    label: name,
    kind,
    spread,
    format,
    batchSize,
    connections,
    results: [],
  }
}

/** The peer does not know of shards, so that any spread is the same to it. */
async function findPool(
  bench: ShardsBench,
  load: ShardsLoad,
  peer: Peer,
  accounts: AccountSet,
): Promise<number> {
  if (bench.options.short) return SHORT_POOL
  const { name, kind, batchSize, connections } = load
  const workload = { name, kind, batchSize, connections, formats: ['json'] as const }
  return findBestPool(bench, { ...workload, spread: 'uniform' }, peer, accounts)
}

/** Minor units that each subject has acknowledged in all of its runs. */
class Acknowledged {
  private readonly amounts = new Map<Subject, bigint>()

  add(subject: Subject, { acknowledged }: LaneResult): void {
    this.amounts.set(subject, this.of(subject) + BigInt(acknowledged.amount))
  }

  of(subject: Subject): bigint {
    return this.amounts.get(subject) ?? 0n
  }
}

/** Who comes first would be measured before its code is compiled: each lane has a run unmeasured. */
async function warmUp(
  bench: ShardsBench,
  accounts: AccountSet,
  lanes: readonly ShardsLane[],
  acknowledged: Acknowledged,
): Promise<void> {
  for (const lane of lanes) {
    const time = { warmupSeconds: 0, seconds: bench.options.warmupSeconds }
    acknowledged.add(lane.subject, await runLane(bench, lane, accounts, time))
  }
}

async function runRounds(
  bench: ShardsBench,
  accounts: AccountSet,
  lanes: readonly ShardsLane[],
  acknowledged: Acknowledged,
): Promise<void> {
  const { rounds } = bench.options
  for (let round = 1; round <= rounds; round++) {
    for (const lane of round % 2 === 1 ? lanes : [...lanes].reverse()) {
      const result = await runLane(bench, lane, accounts, timeOf(bench.options, lane))
      lane.results.push(result)
      acknowledged.add(lane.subject, result)
      bench.print(`  ${round}/${rounds} ${lane.label.padEnd(40)} ${describeRun(result)}`)
    }
  }
}

/** A large batch may take longer than the whole of a short run. */
function timeOf(
  { warmupSeconds, seconds }: ShardsOptions,
  { kind }: Lane,
): {
  warmupSeconds: number
  seconds: number
} {
  return { warmupSeconds, seconds: kind === 'batches' ? Math.max(seconds, 1) : seconds }
}

/**
 * The gate has read the journal; this asks the shards' memory: over all accounts, striped ones as
 * the sum of their parts, everything acknowledged stands once on a debit and once on a credit side.
 */
async function checkSums(
  bench: ShardsBench,
  name: string,
  accounts: AccountSet,
  daybook: Subject,
  acknowledged: bigint,
): Promise<void> {
  const { debited, credited } = await sumAccounts(daybook.server, accounts)
  if (debited === acknowledged && credited === acknowledged) return
  const fault =
    `${name}: acknowledged ${acknowledged} minor units, but the accounts show ` +
    `${debited} debited and ${credited} credited`
  bench.faults.push(fault)
  bench.print(`  WRONG ${fault}`)
}
