import { fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { type Bench, type Comparison, compare } from './comparison.js'
import type { MemoryFigures } from './memory.js'
import { type Options, readOptions, USAGE } from './options.js'
import { type Report, renderReport } from './report.js'
import { perform, type Stage } from './stage.js'
import { checkTargets } from './targets.js'
import { listWorkloads } from './workload.js'

await perform({
  results: 'results',
  usage: USAGE,
  readOptions: (words) => {
    const options = readOptions(words)
    if (listWorkloads(options).length === 0 && !includesMemory(options)) {
      throw new Error(`no workload has "${options.only}" in its name`)
    }
    return options
  },
  play: runAll,
  render: renderReport,
})

async function runAll(stage: Stage, options: Options): Promise<Report> {
  const comparisons: Comparison[] = []
  let memory: MemoryFigures | undefined
  const bench: Bench = { ...stage, options, bestPools: new Map() }
  for (const workload of listWorkloads(options)) {
    await stage.attempt(workload.name, async () => {
      comparisons.push(...(await compare(bench, workload)))
    })
  }
  if (includesMemory(options)) {
    await stage.attempt('memory', async () => {
      memory = await measureMemory()
    })
  }
  return {
    ...stage.setting,
    comparisons,
    memory,
    targets: checkTargets(comparisons, memory),
    faults: stage.faults,
  }
}

function includesMemory(options: Options): boolean {
  return 'memory'.includes(options.only)
}

async function measureMemory(): Promise<MemoryFigures> {
  const child = fork(fileURLToPath(new URL('./memory.js', import.meta.url)), {
    execArgv: ['--expose-gc'],
  })
  const figures = new Promise<MemoryFigures>((resolveFigures, reject) => {
    child.once('message', (message) => resolveFigures(message as MemoryFigures))
    child.once('error', reject)
    child.once('exit', (code) => reject(new Error(`the memory benchmark ended with ${code}`)))
  })
  const result = await figures
  if (child.connected) child.disconnect()
  if (child.exitCode === null) await once(child, 'exit')
  return result
}
