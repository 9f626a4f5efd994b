import { type Figures, median, medianFigures } from '../figures.js'
import type { LaneResult } from '../lane.js'
import type { ShardsLane } from './rounds.js'
import { STRIPED, UNIFORM } from './workload.js'

/** A lane's figures. What compares it with another lane is the median of the rounds' comparisons. */
export interface ShardsFigures {
  load: string
  kind: 'singles' | 'batches'
  /** Absent: the peer. */
  shards?: number
  spread?: string
  figures: Figures
  /** For each transfer, as {@link LaneResult} has it. */
  cost: LaneResult['cost']
  /** Of the rate with one shard under the same load; absent if that was not measured. */
  rateToOneShard?: number
  /** Milliseconds by which the median latency is longer than with one shard. */
  p50OverOneShardMs?: number
  /** Of the peer's rate. */
  rateToPeer?: number
  /** Striped only: of the rate between any two accounts with as many shards. */
  rateToUniform?: number
}

/** The figures of all lanes of one load. */
export function compareLanes(lanes: readonly ShardsLane[]): ShardsFigures[] {
  const find = (shards: number | undefined, spread: string | undefined): ShardsLane | undefined =>
    lanes.find((lane) => lane.shards === shards && lane.spreadName === spread)
  return lanes.map((lane) => {
    const { load, shards, spreadName: spread, results, connections } = lane
    const oneShard = shards === undefined ? undefined : find(1, spread)
    const peer = shards === undefined ? undefined : find(undefined, undefined)
    const uniform = spread === STRIPED.name ? find(shards, UNIFORM.name) : undefined
    return {
      load: load.name,
      kind: load.kind,
      shards,
      spread,
      figures: { ...medianFigures(results), connections, poolSize: lane.poolSize },
      cost: {
        records: median(results.map(({ cost }) => cost.records)),
        walBytes: median(results.map(({ cost }) => cost.walBytes)),
      },
      rateToOneShard: pair(lane, oneShard, rateRatio),
      p50OverOneShardMs: pair(lane, oneShard, p50Difference),
      rateToPeer: pair(lane, peer, rateRatio),
      rateToUniform: pair(lane, uniform, rateRatio),
    }
  })
}

/** What one run is to another of the same round, as the median of the rounds. */
function pair(
  lane: ShardsLane,
  other: ShardsLane | undefined,
  compare: (result: LaneResult, other: LaneResult) => number,
): number | undefined {
  if (!other) return undefined
  return median(lane.results.map((result, round) => compare(result, other.results[round])))
}

function rateRatio(result: LaneResult, other: LaneResult): number {
  return result.transfersPerSecond / other.transfersPerSecond
}

function p50Difference(result: LaneResult, other: LaneResult): number {
  return result.latencyMs.p50 - other.latencyMs.p50
}
