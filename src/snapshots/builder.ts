import { MessageChannel } from 'node:worker_threads'
import { Piscina } from 'piscina'
import type { BuildProgress } from './build-snapshot.js'
import type { BuildNews, BuildSummary, BuildTask } from './build-worker.js'

/** Told how a build gets on. */
export interface BuildListener {
  onProgress(progress: BuildProgress): void
  onWarning(message: string): void
}

/** Lower than anything that posts, where the system lets a thread say so (Linux). */
const niceIncrement = 19

/** Builds snapshots in a thread that is there only while it builds. */
export class SnapshotBuilder {
  readonly #task: Omit<BuildTask, 'port'>
  readonly #pool: Piscina

  constructor(task: Omit<BuildTask, 'port'>) {
    this.#task = task
    this.#pool = new Piscina({
      filename: new URL('./build-worker.js', import.meta.url).href,
      name: 'build',
      minThreads: 0,
      maxThreads: 1,
      maxQueue: 1,
      idleTimeout: 0,
      niceIncrement,
    })
  }

  /** Builds a snapshot, unless the newest one is of the same position. */
  async build(listener: BuildListener, signal?: AbortSignal): Promise<BuildSummary> {
    const { port1, port2 } = new MessageChannel()
    port1.on('message', (news: BuildNews) => {
      if ('warning' in news) listener.onWarning(news.warning)
      else listener.onProgress(news.progress)
    })
    try {
      const task: BuildTask = { ...this.#task, port: port2 }
      return (await this.#pool.run(task, {
        transferList: [port2],
        ...(signal === undefined ? {} : { signal }),
      })) as BuildSummary
    } finally {
      port1.close()
    }
  }

  async close(): Promise<void> {
    await this.#pool.destroy()
  }
}
