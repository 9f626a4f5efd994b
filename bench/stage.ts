import { chmod, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { Cluster } from './cluster.js'
import { type Disk, measureDisk } from './disk.js'
import type { Surroundings } from './lane.js'
import { describeMachine } from './machine.js'
import type { RunOptions } from './options.js'
import type { Setting } from './report.js'

const RESULTS_DIRECTORY = 'bench'

/** What a benchmark runs on: a cluster of its own, and a folder that is removed afterwards. */
export interface Stage extends Surroundings {
  setting: Setting
  /** For a Daybook's DAYBOOK_DATA_DIR. */
  dataDirectory: string
  /** Runs a part; what it throws becomes a fault, and the next part has its turn. */
  attempt: (name: string, run: () => Promise<void>) => Promise<void>
}

/**
 * The whole of a benchmark program but for its work: reads the options, sets the stage, lets `play`
 * make the report, prints it, and writes it to bench/`results`.md and .json if that is asked for.
 * Ends the process with 0, or 1 for faults, 2 for a wrong option, 130 if it was stopped.
 */
export async function perform<O extends RunOptions, R extends { faults: string[] }>(program: {
  results: string
  usage: string
  /** Throws if the options make no sense. */
  readOptions: (words: string[]) => O
  play: (stage: Stage, options: O) => Promise<R>
  render: (report: R) => string
}): Promise<void> {
  let options: O
  try {
    options = program.readOptions(process.argv.slice(2))
  } catch (error) {
    print(`${messageOf(error)}\n\n${program.usage}`)
    process.exitCode = 2
    return
  }
  const stopping = stopOnSignals()
  const report = await onStage(options, stopping, (stage) => program.play(stage, options))
  const text = program.render(report)
  print(`\n${text}`)
  if (stopping.aborted) {
    process.exitCode = 130
    return
  }
  if (options.write) await writeResults(program.results, text, report)
  process.exitCode = report.faults.length === 0 ? 0 : 1
}

function stopOnSignals(): AbortSignal {
  const stopping = new AbortController()
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.on(signal, () => {
      print('stopping')
      stopping.abort(new Error(`stopped by ${signal}`))
    })
  }
  return stopping.signal
}

async function onStage<R>(
  options: RunOptions,
  stopping: AbortSignal,
  play: (stage: Stage) => Promise<R>,
): Promise<R> {
  await mkdir(options.directory, { recursive: true })
  const directory = await mkdtemp(join(resolve(options.directory), 'run-'))
  // As root, Postgres runs under another account, which must get in.
  await chmod(directory, 0o755)
  let cluster: Cluster | undefined
  try {
    cluster = await Cluster.start(join(directory, 'postgres'))
    const disk = measureDisk(cluster.directory)
    printSetting(disk, cluster)
    const faults: string[] = []
    return await play({
      cluster,
      stopping,
      print,
      faults,
      dataDirectory: join(directory, 'daybook'),
      setting: {
        date: new Date().toISOString(),
        options,
        machine: describeMachine(),
        disk,
        postgres: cluster.settings,
      },
      attempt: async (name, run) => {
        if (stopping.aborted) return
        print(name)
        try {
          await run()
        } catch (error) {
          if (stopping.aborted) return
          faults.push(`${name} could not be run: ${messageOf(error)}`)
          print(`  WRONG ${messageOf(error)}`)
        }
      },
    })
  } finally {
    await cluster?.stop()
    await rm(directory, { recursive: true, force: true })
  }
}

function printSetting(disk: Disk, cluster: Cluster): void {
  print(`data in ${cluster.directory} (${disk.fileSystem})`)
  print(
    `8 KB written and flushed in ${disk.flushMs.toFixed(2)} ms, p95 ${disk.flushP95Ms.toFixed(2)}`,
  )
  for (const [name, value] of Object.entries(cluster.settings)) print(`${name} = ${value}`)
}

async function writeResults(name: string, text: string, report: object): Promise<void> {
  const path = join(RESULTS_DIRECTORY, name)
  await writeFile(`${path}.md`, text)
  await writeFile(`${path}.json`, `${JSON.stringify(report, null, 2)}\n`)
  print(`written: ${path}.md, ${path}.json`)
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}

function print(line: string): void {
  process.stdout.write(`${line}\n`)
}
