import type { Options } from './options.js'
import type { BatchFormat } from './transfers.js'

/**
 * One shape of load, put on Daybook in each of its formats and on the peer in JSON, in turn.
 * `name` with a format behind it is what `--only` matches.
 */
export interface Workload {
  name: string
  kind: 'singles' | 'batches'
  spread: (typeof SPREADS)[number]
  formats: readonly BatchFormat[]
  /** Transfers in a request. */
  batchSize: number
  /** Connections to Daybook. A single's peer gets as many; a batch's peer gets its best number. */
  connections: number
}

const SPREADS = ['uniform', 'hot'] as const

/** Pool sizes that are tried for the peer; a batch's peer gets as many connections. */
export const POOL_SIZES = { singles: [4, 8, 16, 32, 64], batches: [1, 2, 4, 8] }

/** All workloads of which at least one format matches, with only the formats that match. */
export function listWorkloads({ only, batchConnections }: Options): Workload[] {
  const all: Workload[] = []
  for (const spread of SPREADS) {
    for (const connections of [64, 256]) {
      all.push({
        name: `singles-${connections}-${spread}`,
        kind: 'singles',
        spread,
        formats: ['json'],
        batchSize: 1,
        connections,
      })
    }
  }
  for (const spread of SPREADS) {
    for (const batchSize of [1000, 8190]) {
      all.push({
        name: `batches-${batchSize}-${spread}`,
        kind: 'batches',
        spread,
        formats: ['json', 'binary'],
        batchSize,
        connections: batchConnections,
      })
    }
  }
  return all
    .map((workload) => ({
      ...workload,
      formats: workload.formats.filter((format) => workloadName(workload, format).includes(only)),
    }))
    .filter((workload) => workload.formats.length > 0)
}

/** Such as `batches-8190-uniform-binary`. */
export function workloadName(workload: Workload, format: BatchFormat): string {
  return `${workload.name}-${format}`
}
