import { cpuSecondsOfFamily, cpuSecondsOfMainThread, cpuSecondsOfProcess } from './cpu.js'
import type { Latency, LoadJob, LoadResult } from './load.js'

interface Reading {
  atMs: number
  server: number
  mainThread: number
  postgres: number
  generator: number
}

/**
 * Counts answers. It counts what was acknowledged from the first request to the last answer, for
 * the correctness gate, and rate, latency and CPU between `open` and `close` only.
 */
export class Meter {
  private transfers = 0
  private amount = 0n
  private readonly failures: Record<string, number> = {}
  private unanswered = 0
  private opened: Reading | undefined
  private closed: Reading | undefined
  private transfersInWindow = 0
  private latencies = new Float64Array(65_536)
  private latencyCount = 0

  constructor(private readonly watch: LoadJob['watch']) {}

  open(): void {
    this.opened = this.read()
  }

  close(): void {
    this.closed = this.read()
  }

  /** One answered request that carried `transfers` acknowledged transfers of `amount` together. */
  acknowledge(answer: { transfers: number; amount: bigint; latencyMs: number }): void {
    this.transfers += answer.transfers
    this.amount += answer.amount
    if (!this.opened || this.closed) return
    this.transfersInWindow += answer.transfers
    if (this.latencyCount === this.latencies.length) {
      const longer = new Float64Array(this.latencies.length * 2)
      longer.set(this.latencies)
      this.latencies = longer
    }
    this.latencies[this.latencyCount++] = answer.latencyMs
  }

  fail(reason: string, transfers: number): void {
    this.failures[reason] = (this.failures[reason] ?? 0) + transfers
  }

  loseAnswer(transfers: number): void {
    this.unanswered += transfers
  }

  result(): LoadResult {
    const { opened, closed } = this
    if (!opened || !closed) throw new Error('the measured window was never opened and closed')
    const seconds = (closed.atMs - opened.atMs) / 1000
    if (this.latencyCount === 0) {
      throw new Error(`nothing was answered in the ${seconds.toFixed(1)} s measured: ask for more`)
    }
    return {
      acknowledged: { transfers: this.transfers, amount: this.amount.toString() },
      failures: this.failures,
      unanswered: this.unanswered,
      transfersPerSecond: this.transfersInWindow / seconds,
      latencyMs: percentiles(this.latencies.subarray(0, this.latencyCount)),
      cores: {
        server: (closed.server - opened.server) / seconds,
        mainThread: (closed.mainThread - opened.mainThread) / seconds,
        postgres: (closed.postgres - opened.postgres) / seconds,
        generator: (closed.generator - opened.generator) / seconds,
      },
    }
  }

  private read(): Reading {
    const own = process.cpuUsage()
    return {
      atMs: performance.now(),
      server: cpuSecondsOfProcess(this.watch.server),
      mainThread: cpuSecondsOfMainThread(this.watch.server),
      postgres: cpuSecondsOfFamily(this.watch.postmaster),
      generator: (own.user + own.system) / 1e6,
    }
  }
}

/** Sorts the samples in place. */
export function percentiles(samples: Float64Array): Latency {
  samples.sort()
  const at = (share: number): number =>
    samples[Math.min(samples.length - 1, Math.ceil(samples.length * share) - 1)] ?? Number.NaN
  return { p50: at(0.5), p95: at(0.95), p99: at(0.99), max: at(1) }
}
