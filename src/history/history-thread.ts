import { Worker } from 'node:worker_threads'
import type { FeedGauges } from './feed/redis-feed.js'
import type { FollowerProgress } from './follower.js'
import type { HistoryNews, HistoryTask } from './history-worker.js'
import type { WebhookGauges } from './webhooks/dispatcher.js'

export interface HistoryListener {
  /** How far the read models have come, whoever writes them; they can be read. */
  onProjected(positions: [stream: number, seq: number][]): void
  onTrouble(message: string): void
  /** The thread has ended by itself; it is started again. */
  onEnd(error: Error): void
}

/** After a thread has ended by itself. */
const restartMs = 1000

/** The thread that follows the journal; posting does not need it. */
export class HistoryThread {
  readonly #task: HistoryTask
  readonly #listener: HistoryListener
  #worker: Worker
  #progress: FollowerProgress | undefined
  #redisGauges: FeedGauges[] = []
  #webhooks: WebhookGauges | undefined
  #isStopping = false

  constructor(task: HistoryTask, listener: HistoryListener) {
    this.#task = task
    this.#listener = listener
    this.#worker = this.#start()
  }

  /** As it was a moment ago; undefined while this process does not follow, for whatever reason. */
  get progress(): FollowerProgress | undefined {
    return this.#progress
  }

  /** How the delivery into Redis was doing a moment ago, stream by stream. */
  get redisGauges(): readonly FeedGauges[] {
    return this.#redisGauges
  }

  /** How the delivery of webhooks was a moment ago; undefined while this process delivers none. */
  get webhooks(): WebhookGauges | undefined {
    return this.#webhooks
  }

  /** A reader waits for what has just been recorded: it looks at the journal now. */
  hurry(): void {
    this.#worker.postMessage('hurry')
  }

  /** Ends it at once: what it has half written does not count, and is written again. */
  async stop(): Promise<void> {
    this.#isStopping = true
    await this.#worker.terminate()
  }

  #start(): Worker {
    const worker = new Worker(new URL('./history-worker.js', import.meta.url), {
      workerData: this.#task,
      name: 'history',
    })
    worker.on('message', (news: HistoryNews) => {
      if ('progress' in news) {
        this.#progress = news.progress
        if (news.progress.indexed) this.#listener.onProjected(news.progress.followed)
        return
      }
      if ('projected' in news) {
        if (news.projected.length > 0) this.#listener.onProjected(news.projected)
        return
      }
      if ('redis' in news) {
        this.#redisGauges = news.redis
        return
      }
      if ('webhooks' in news) {
        this.#webhooks = news.webhooks
        return
      }
      if ('trouble' in news) this.#progress = undefined
      this.#listener.onTrouble('trouble' in news ? news.trouble : news.warning)
    })
    worker.on('error', (error) => this.#listener.onEnd(error as Error))
    worker.on('exit', () => {
      this.#progress = undefined
      this.#redisGauges = []
      this.#webhooks = undefined
      setTimeout(() => {
        if (!this.#isStopping) this.#worker = this.#start()
      }, restartMs).unref()
    })
    return worker
  }
}
