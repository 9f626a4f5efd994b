import type { Cluster } from './cluster.js'
import type { Tally } from './gate.js'
import { runLoad } from './generator.js'
import type { LoadJob, LoadResult } from './load.js'
import type { AccountSet, Spread } from './spread.js'
import type { Subject } from './subject.js'
import type { BatchFormat } from './transfers.js'

/** What a run needs from the bench around it. */
export interface Surroundings {
  cluster: Cluster
  stopping: AbortSignal
  print: (line: string) => void
  /** Takes what the correctness gate found; a run with an entry fails. */
  faults: string[]
}

/** A load on one subject. */
export interface Lane {
  subject: Subject
  label: string
  kind: LoadJob['kind']
  spread: Spread
  format: BatchFormat
  /** Transfers in a request. */
  batchSize: number
  connections: number
}

/** A run, and what it wrote. */
export interface LaneResult extends LoadResult {
  /** For each acknowledged transfer, warm-up included. */
  cost: {
    /** Records in the books: in Daybook's journal one, and one more for each further shard. */
    records: number
    /** Write-ahead log of the whole cluster. */
    walBytes: number
  }
}

/** Loads a lane once, checks the books against what was acknowledged, and says what it cost. */
export async function runLane(
  { cluster, stopping, print, faults }: Surroundings,
  lane: Lane,
  accounts: AccountSet,
  time: { warmupSeconds: number; seconds: number },
): Promise<LaneResult> {
  await cluster.checkpoint()
  const { server, paths, books } = lane.subject
  const walBefore = await cluster.walPosition()
  const result = await runLoad(
    {
      kind: lane.kind,
      host: server.host,
      port: server.port,
      path: paths[lane.kind],
      connections: lane.connections,
      accounts,
      spread: lane.spread,
      batchSize: lane.batchSize,
      format: lane.format,
      warmupMs: time.warmupSeconds * 1000,
      measureMs: time.seconds * 1000,
      watch: { server: server.pid, postmaster: cluster.postmaster },
    },
    stopping,
  )
  const walBytes = Number((await cluster.walPosition()) - walBefore)
  const found = await books.advance()
  for (const fault of findFaults(result, found)) {
    faults.push(`${lane.label}: ${fault}`)
    print(`  WRONG ${lane.label}: ${fault}`)
  }
  const { transfers } = result.acknowledged
  return { ...result, cost: { records: found.records / transfers, walBytes: walBytes / transfers } }
}

function findFaults({ acknowledged, unanswered }: LoadResult, found: Tally): string[] {
  const { transfers, amount } = acknowledged
  const faults: string[] = []
  if (found.transfers !== transfers || found.amount.toString() !== amount) {
    faults.push(
      `acknowledged ${transfers} transfers of ${amount} minor units, ` +
        `but the books hold ${found.transfers} of ${found.amount}; ${unanswered} were never answered`,
    )
  }
  if (found.debited !== found.amount || found.credited !== found.amount) {
    faults.push(
      `transfers of ${found.amount} minor units took effect ` +
        `with ${found.debited} on debit and ${found.credited} on credit sides`,
    )
  }
  return faults
}

/** A line about a run, for the terminal. */
export function describeRun(result: LaneResult): string {
  const { latencyMs, cores, failures, unanswered } = result
  const failed = Object.entries(failures).map(([reason, count]) => `${count} × ${reason}`)
  if (unanswered > 0) failed.push(`${unanswered} unanswered`)
  return [
    `${Math.round(result.transfersPerSecond).toLocaleString('en').padStart(9)}/s`,
    `p50 ${latencyMs.p50.toFixed(1)}  p99 ${latencyMs.p99.toFixed(1)} ms`,
    `cores: server ${cores.server.toFixed(2)} (main thread ${cores.mainThread.toFixed(2)}) postgres ${cores.postgres.toFixed(2)}` +
      ` generator ${cores.generator.toFixed(2)}`,
    ...(failed.length > 0 ? [`FAILED ${failed.join(', ')}`] : []),
  ].join('  ')
}
