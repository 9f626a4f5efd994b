import { fork } from 'node:child_process'
import { once } from 'node:events'
import { chmod, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { Cluster } from './cluster.js'
import { type Bench, type Comparison, compare } from './comparison.js'
import { type Disk, measureDisk } from './disk.js'
import { describeMachine } from './machine.js'
import type { MemoryFigures } from './memory.js'
import { type Options, readOptions, USAGE } from './options.js'
import { type Report, renderReport } from './report.js'
import { checkTargets } from './targets.js'
import { listWorkloads } from './workload.js'

const RESULTS_DIRECTORY = 'bench'

/** Runs what the command line asks for; the exit code. */
async function main(): Promise<number> {
  let options: Options
  try {
    options = readOptions(process.argv.slice(2))
  } catch (error) {
    print(`${messageOf(error)}\n\n${USAGE}`)
    return 2
  }
  if (listWorkloads(options).length === 0 && !includesMemory(options)) {
    print(`no workload has "${options.only}" in its name`)
    return 2
  }
  const stopping = new AbortController()
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.on(signal, () => {
      print('stopping')
      stopping.abort(new Error(`stopped by ${signal}`))
    })
  }
  const report = await runAll(options, stopping.signal)
  print(`\n${renderReport(report)}`)
  if (stopping.signal.aborted) return 130
  if (options.write) await writeResults(report)
  return report.faults.length === 0 ? 0 : 1
}

async function runAll(options: Options, stopping: AbortSignal): Promise<Report> {
  await mkdir(options.directory, { recursive: true })
  const directory = await mkdtemp(join(resolve(options.directory), 'run-'))
  // As root, Postgres runs under another account, which must get in.
  await chmod(directory, 0o755)
  const faults: string[] = []
  const comparisons: Comparison[] = []
  let memory: MemoryFigures | undefined
  let cluster: Cluster | undefined
  try {
    cluster = await Cluster.start(join(directory, 'postgres'))
    const disk = measureDisk(cluster.directory)
    printSetting(disk, cluster)
    const bench: Bench = {
      cluster,
      options,
      dataDirectory: join(directory, 'daybook'),
      stopping,
      print,
      faults,
      bestPools: new Map(),
    }
    const attempt = async (name: string, run: () => Promise<void>): Promise<void> => {
      if (stopping.aborted) return
      print(name)
      try {
        await run()
      } catch (error) {
        if (stopping.aborted) return
        faults.push(`${name} could not be run: ${messageOf(error)}`)
        print(`  WRONG ${messageOf(error)}`)
      }
    }
    for (const workload of listWorkloads(options)) {
      await attempt(workload.name, async () => {
        comparisons.push(...(await compare(bench, workload)))
      })
    }
    if (includesMemory(options)) {
      await attempt('memory', async () => {
        memory = await measureMemory()
      })
    }
    return {
      date: new Date().toISOString(),
      options,
      machine: describeMachine(),
      disk,
      postgres: cluster.settings,
      comparisons,
      memory,
      targets: checkTargets(comparisons, memory),
      faults,
    }
  } finally {
    await cluster?.stop()
    await rm(directory, { recursive: true, force: true })
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

function printSetting(disk: Disk, cluster: Cluster): void {
  print(`data in ${cluster.directory} (${disk.fileSystem})`)
  print(
    `8 KB written and flushed in ${disk.flushMs.toFixed(2)} ms, p95 ${disk.flushP95Ms.toFixed(2)}`,
  )
  for (const [name, value] of Object.entries(cluster.settings)) print(`${name} = ${value}`)
}

async function writeResults(report: Report): Promise<void> {
  await writeFile(join(RESULTS_DIRECTORY, 'results.md'), renderReport(report))
  await writeFile(join(RESULTS_DIRECTORY, 'results.json'), `${JSON.stringify(report, null, 2)}\n`)
  print(`written: ${RESULTS_DIRECTORY}/results.md, ${RESULTS_DIRECTORY}/results.json`)
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}

function print(line: string): void {
  process.stdout.write(`${line}\n`)
}

process.exitCode = await main()
