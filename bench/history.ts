import { measureCatchUp } from './history/catch-up.js'
import { measureFeed } from './history/feed.js'
import type { Figure } from './history/figure.js'
import { measureLag } from './history/lag.js'
import { measureOldIds } from './history/old-ids.js'
import {
  HISTORY_USAGE,
  type HistoryBench,
  type HistoryOptions,
  type PartName,
  readHistoryOptions,
} from './history/options.js'
import { measurePage } from './history/page.js'
import { measureRebuild } from './history/rebuild.js'
import { type HistoryReport, lineOf, renderHistoryReport } from './history/report.js'
import { measureSingles } from './history/singles.js'
import { perform, type Stage } from './stage.js'

/** What the read models, the feed and old ids cost, and how far behind they are. */
const parts: Record<PartName, (bench: HistoryBench) => Promise<Omit<Figure, 'part'>[]>> = {
  rebuild: measureRebuild,
  'catch-up': measureCatchUp,
  lag: measureLag,
  singles: measureSingles,
  page: measurePage,
  feed: measureFeed,
  'old-ids': measureOldIds,
}

await perform({
  results: 'history-results',
  usage: HISTORY_USAGE,
  readOptions: readHistoryOptions,
  play: runAll,
  render: renderHistoryReport,
})

async function runAll(stage: Stage, options: HistoryOptions): Promise<HistoryReport> {
  const figures: Figure[] = []
  await stage.cluster.settleWal()
  for (const part of options.only) {
    await stage.attempt(part, async () => {
      for (const figure of await parts[part]({ ...stage, options })) {
        figures.push({ part, ...figure })
        stage.print(`  ${lineOf(figure)}`)
      }
    })
  }
  return { ...stage.setting, figures, faults: stage.faults }
}
