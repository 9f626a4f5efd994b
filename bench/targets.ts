import type { Comparison } from './comparison.js'
import type { MemoryFigures } from './memory.js'

/** What the first version set out to reach, on two cores shared with generator and Postgres. */
export interface Target {
  what: string
  wanted: string
  measured: string
  reached: boolean
}

const SINGLES_RATIO = { uniform: 3, hot: 6 }
const BATCHES_OF_8190_PER_SECOND = { json: 100_000, binary: 200_000 }
const SINGLES_64_P99_MS = 25
const ACCOUNT_BYTES = 150
const ID_BYTES = 64

/** Only the targets that the run has measured. */
export function checkTargets(
  comparisons: readonly Comparison[],
  memory: MemoryFigures | undefined,
): Target[] {
  const targets = comparisons.flatMap(targetsOf)
  if (memory) {
    targets.push(atMost('state of a plain account', memory.accountBytes, ACCOUNT_BYTES, 'bytes'))
    targets.push(atMost('state of a remembered id', memory.idBytes, ID_BYTES, 'bytes'))
  }
  return targets
}

function targetsOf({ name, workload, format, daybook, ratio }: Comparison): Target[] {
  if (workload.kind === 'batches') {
    if (workload.batchSize !== 8190) return []
    const wanted = BATCHES_OF_8190_PER_SECOND[format]
    return [
      {
        what: name,
        wanted: `${wanted.toLocaleString('en')} transfers/s`,
        measured: `${Math.round(daybook.transfersPerSecond).toLocaleString('en')} transfers/s`,
        reached: daybook.transfersPerSecond >= wanted,
      },
    ]
  }
  const wanted = SINGLES_RATIO[workload.spread]
  const targets: Target[] = [
    {
      what: name,
      wanted: `${wanted} × the peer`,
      measured: `${ratio.toFixed(1)} × the peer`,
      reached: ratio >= wanted,
    },
  ]
  if (workload.connections === 64) {
    targets.push(atMost(`${name}, p99`, daybook.latencyMs.p99, SINGLES_64_P99_MS, 'ms'))
  }
  return targets
}

function atMost(what: string, measured: number, limit: number, unit: string): Target {
  return {
    what,
    wanted: `at most ${limit} ${unit}`,
    measured: `${measured.toFixed(1)} ${unit}`,
    reached: measured <= limit,
  }
}
