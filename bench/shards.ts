import { compareLanes, type ShardsFigures } from './shards/figures.js'
import { readShardsOptions, SHARDS_USAGE, type ShardsOptions } from './shards/options.js'
import { renderShardsReport, type ShardsReport } from './shards/report.js'
import { runLoadInRounds, type ShardsBench } from './shards/rounds.js'
import { checkShardsTargets } from './shards/targets.js'
import { listLoads } from './shards/workload.js'
import { perform, type Stage } from './stage.js'

await perform({
  results: 'shards-results',
  usage: SHARDS_USAGE,
  readOptions: (words) => {
    const options = readShardsOptions(words)
    if (listLoads(options).length === 0) {
      throw new Error(`no load has "${options.only}" in its name`)
    }
    return options
  },
  play: runAll,
  render: renderShardsReport,
})

async function runAll(stage: Stage, options: ShardsOptions): Promise<ShardsReport> {
  const figures: ShardsFigures[] = []
  const bench: ShardsBench = { ...stage, options, bestPools: new Map() }
  for (const load of listLoads(options)) {
    await stage.attempt(load.name, async () => {
      figures.push(...compareLanes(await runLoadInRounds(bench, load)))
    })
  }
  return { ...stage.setting, figures, targets: checkShardsTargets(figures), faults: stage.faults }
}
