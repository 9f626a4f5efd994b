import { runBatches } from './batches.js'
import { runSingles } from './singles.js'
import type { AccountSet, Spread } from './spread.js'
import type { BatchFormat } from './transfers.js'

/** What a generator process is asked to do. */
export interface LoadJob {
  kind: 'singles' | 'batches'
  host: string
  port: number
  path: string
  connections: number
  accounts: AccountSet
  spread: Spread
  /** Transfers in a request; 1 for singles. */
  batchSize: number
  format: BatchFormat
  warmupMs: number
  measureMs: number
  /** Processes whose CPU is counted during the measured window. */
  watch: { server: number; postmaster: number }
}

/** What came of it. Amounts are minor units as decimal text, for a message carries no bigint. */
export interface LoadResult {
  /** From the first request to the last answer, warm-up and draining included. */
  acknowledged: { transfers: number; amount: string }
  /** Transfers answered with a refusal or another status than 2xx, by status or code. */
  failures: Record<string, number>
  /** Transfers whose answer never came; their outcome is unknown. */
  unanswered: number
  /** The rest is about the measured window. */
  transfersPerSecond: number
  latencyMs: Latency
  /** Cores kept busy: 1 is one core all the time. The main thread is a part of the server. */
  cores: { server: number; mainThread: number; postgres: number; generator: number }
}

/** Milliseconds per request, so for a batch the time of the whole batch. */
export interface Latency {
  p50: number
  p95: number
  p99: number
  max: number
}

/**
 * The entry of the generator process: it takes one job, runs it, and sends the result. A process
 * for each run keeps the generator's garbage and compiled code out of the next one.
 */
function main(): void {
  process.once('message', (job: LoadJob) => {
    const run = job.kind === 'singles' ? runSingles : runBatches
    run(job).then(
      (result) => process.send?.(result, () => process.exit(0)),
      (error: unknown) => {
        process.stderr.write(`${error instanceof Error ? error.stack : String(error)}\n`)
        process.exit(1)
      },
    )
  })
  process.once('disconnect', () => process.exit(1))
}

main()
