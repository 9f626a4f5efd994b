import type { Spread } from '../spread.js'
import type { BatchFormat } from '../transfers.js'
import type { ShardsOptions } from './options.js'

/** A load that is put on Daybook with every number of shards and every spread, in turn. */
export interface ShardsLoad {
  name: string
  kind: 'singles' | 'batches'
  format: BatchFormat
  /** Transfers in a request. */
  batchSize: number
  connections: number
  spreads: readonly NamedSpread[]
  /** The hot account is created striped. */
  striped: boolean
  /** Whether the peer takes its turn. */
  peer: boolean
}

export interface NamedSpread {
  name: string
  spread: Spread
}

/** All transactions between two shards; what the targets are about. */
export const ALL_ACROSS: NamedSpread = { name: '100 % across', spread: { across: 1 } }
export const STRIPED: NamedSpread = { name: 'striped', spread: 'striped' }
/** Any two accounts: what the striped account is compared with. */
export const UNIFORM: NamedSpread = { name: 'uniform', spread: 'uniform' }

const NONE_ACROSS: NamedSpread = { name: '0 % across', spread: { across: 0 } }
const HALF_ACROSS: NamedSpread = { name: '50 % across', spread: { across: 0.5 } }

/** The loads and spreads whose names match; a short run leaves out what lies between. */
export function listLoads({ only, spread, short, batchConnections }: ShardsOptions): ShardsLoad[] {
  const shares = short ? [NONE_ACROSS, ALL_ACROSS] : [NONE_ACROSS, HALF_ACROSS, ALL_ACROSS]
  const singles = (connections: number) => ({
    name: `singles-${connections}`,
    kind: 'singles' as const,
    format: 'json' as const,
    batchSize: 1,
    connections,
  })
  const batches = {
    name: 'batches-8190',
    kind: 'batches' as const,
    format: 'binary' as const,
    batchSize: 8190,
    connections: batchConnections,
  }
  const loads: ShardsLoad[] = [
    ...(short ? [1, 64] : [1, 16, 64]).map((connections) => ({
      ...singles(connections),
      spreads: shares,
      striped: false,
      peer: true,
    })),
    { ...batches, spreads: shares, striped: false, peer: false },
    ...[singles(64), batches].map((load) => ({
      ...load,
      name: `striped-${load.name}`,
      spreads: [STRIPED, UNIFORM],
      striped: true,
      peer: false,
    })),
  ]
  return loads
    .filter(({ name }) => name.includes(only))
    .map((load) => ({ ...load, spreads: load.spreads.filter(({ name }) => name.includes(spread)) }))
    .filter(({ spreads }) => spreads.length > 0)
}

export function shardsText(shards: number): string {
  return shards === 1 ? '1 shard' : `${shards} shards`
}
