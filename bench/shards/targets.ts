import type { Target } from '../targets.js'
import type { ShardsFigures } from './figures.js'
import { ALL_ACROSS, shardsText } from './workload.js'

const RATE_TO_ONE_SHARD = 0.5
const P50_OVER_ONE_SHARD_MS = 3
/** As fast: within what rounds differ by. */
const STRIPED_TO_UNIFORM = 0.95

/** Only the targets that the run has measured. */
export function checkShardsTargets(all: readonly ShardsFigures[]): Target[] {
  return all.flatMap((one) => [...acrossTargets(one), ...stripedTargets(one)])
}

function acrossTargets({
  load,
  kind,
  shards,
  spread,
  rateToOneShard,
  p50OverOneShardMs,
}: ShardsFigures): Target[] {
  if (shards !== 2 || spread !== ALL_ACROSS.name) return []
  if (rateToOneShard === undefined || p50OverOneShardMs === undefined) return []
  const targets: Target[] = [
    {
      what: `${load}, ${spread}, 2 shards`,
      wanted: `at least ${RATE_TO_ONE_SHARD} × one shard`,
      measured: `${rateToOneShard.toFixed(2)} × one shard`,
      reached: rateToOneShard >= RATE_TO_ONE_SHARD,
    },
  ]
  if (kind === 'singles') {
    targets.push({
      what: `${load}, ${spread}, 2 shards, p50`,
      wanted: `less than ${P50_OVER_ONE_SHARD_MS} ms over one shard`,
      measured: `${p50OverOneShardMs.toFixed(2)} ms over one shard`,
      reached: p50OverOneShardMs < P50_OVER_ONE_SHARD_MS,
    })
  }
  return targets
}

function stripedTargets({ load, shards, rateToUniform }: ShardsFigures): Target[] {
  if (shards === undefined || rateToUniform === undefined) return []
  return [
    {
      what: `${load}, ${shardsText(shards)}`,
      wanted: `at least ${STRIPED_TO_UNIFORM} × uniform`,
      measured: `${rateToUniform.toFixed(2)} × uniform`,
      reached: rateToUniform >= STRIPED_TO_UNIFORM,
    },
  ]
}
