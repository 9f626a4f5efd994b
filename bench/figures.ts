import type { LoadResult } from './load.js'

/** Medians over the rounds, each figure by itself. */
export interface Figures {
  transfersPerSecond: number
  latencyMs: LoadResult['latencyMs']
  cores: LoadResult['cores']
  /** Over all rounds: transfers acknowledged, refused or failed, and never answered. */
  acknowledged: number
  failed: number
  unanswered: number
  /** Transfers per second of each round. */
  rounds: number[]
  connections?: number
  /** Only the peer has one. */
  poolSize?: number
}

export function medianFigures(results: readonly LoadResult[]): Figures {
  const middle = (figure: (result: LoadResult) => number): number => median(results.map(figure))
  const total = (count: (result: LoadResult) => number): number =>
    results.reduce((sum, result) => sum + count(result), 0)
  return {
    transfersPerSecond: middle((result) => result.transfersPerSecond),
    latencyMs: {
      p50: middle((result) => result.latencyMs.p50),
      p95: middle((result) => result.latencyMs.p95),
      p99: middle((result) => result.latencyMs.p99),
      max: middle((result) => result.latencyMs.max),
    },
    cores: {
      server: middle((result) => result.cores.server),
      mainThread: middle((result) => result.cores.mainThread),
      postgres: middle((result) => result.cores.postgres),
      generator: middle((result) => result.cores.generator),
    },
    acknowledged: total((result) => result.acknowledged.transfers),
    failed: total((result) => Object.values(result.failures).reduce((sum, n) => sum + n, 0)),
    unanswered: total((result) => result.unanswered),
    rounds: results.map((result) => result.transfersPerSecond),
  }
}

/** The middle value, or the mean of the two middle ones; NaN for none. */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((one, other) => one - other)
  const middle = sorted.length >> 1
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2
}
