import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { Worker } from 'node:worker_threads'
import type { SnapshotName, SnapshotStoreConfig } from '../../src/snapshots/store.js'
import '../plain-children.js'
import type { Teardown } from '../postgres.js'

const openStore = new URL('../../src/snapshots/open-store.js', import.meta.url)

/** Begins a snapshot, says so after its first block, and then puts one after the other for ever. */
const building = `
  const { openSnapshotStore } = await import(${JSON.stringify(openStore.href)})
  const sink = await openSnapshotStore(config).begin(name)
  await sink.put(0, Buffer.alloc(1000))
  say('building')
  for (let number = 1; ; number += 1) await sink.put(number, Buffer.alloc(100_000))`

const processProgram = `
  const [config, name] = process.argv.slice(1).map((text) => JSON.parse(text))
  const say = console.log
  ${building}`

const threadProgram = `(async () => {
  const { parentPort, workerData: { config, name } } = require('node:worker_threads')
  const say = (text) => parentPort.postMessage(text)
  ${building}
})()`

/** A thread of this process that builds a snapshot until it is terminated. */
export async function startBuildingThread(
  t: Teardown,
  config: SnapshotStoreConfig,
  name: SnapshotName,
): Promise<Worker> {
  const worker = new Worker(threadProgram, { eval: true, workerData: { config, name } })
  t.teardown(() => worker.terminate())
  await once(worker, 'message')
  return worker
}

/** Another process that builds a snapshot until it is killed. */
export class BuildingProcess {
  readonly #child: ChildProcess

  static async start(
    t: Teardown,
    config: SnapshotStoreConfig,
    name: SnapshotName,
  ): Promise<BuildingProcess> {
    const words = ['--input-type=module', '-e', processProgram, JSON.stringify(config)]
    const child = spawn(process.execPath, [...words, JSON.stringify(name)], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    t.teardown(() => child.kill('SIGKILL'))
    const lines = createInterface({ input: child.stdout as NodeJS.ReadableStream })
    const said = await Promise.race([once(lines, 'line'), once(child, 'exit')])
    if (said[0] !== 'building') throw new Error('the builder ended before it had begun')
    return new BuildingProcess(child)
  }

  private constructor(child: ChildProcess) {
    this.#child = child
  }

  /** Kills it in the middle of whatever it does, and waits for its end. */
  async kill(): Promise<void> {
    const exited = once(this.#child, 'exit')
    this.#child.kill('SIGKILL')
    await exited
  }
}
