import { Worker } from 'node:worker_threads'
import type { FollowerProgress } from './follower.js'
import type { HistoryNews, HistoryTask } from './history-worker.js'

export interface HistoryListener {
  onTrouble(message: string): void
  /** The thread has ended by itself. */
  onEnd(error: Error): void
}

/** The thread that follows the journal; posting does not need it. */
export class HistoryThread {
  readonly #worker: Worker
  #progress: FollowerProgress | undefined
  #isStopping = false

  constructor(task: HistoryTask, listener: HistoryListener) {
    this.#worker = new Worker(new URL('./history-worker.js', import.meta.url), {
      workerData: task,
      name: 'history',
    })
    this.#worker.on('message', (news: HistoryNews) => {
      if ('progress' in news) this.#progress = news.progress
      else listener.onTrouble(news.trouble)
    })
    this.#worker.on('error', (error) => listener.onEnd(error as Error))
    this.#worker.on('exit', (code) => {
      if (!this.#isStopping && code !== 0) listener.onEnd(new Error(`it ended with code ${code}`))
    })
  }

  /** As it was a moment ago; undefined while another process follows, or before the first look. */
  get progress(): FollowerProgress | undefined {
    return this.#progress
  }

  /** Ends it at once: what it has half written does not count, and is written again. */
  async stop(): Promise<void> {
    this.#isStopping = true
    await this.#worker.terminate()
  }
}
