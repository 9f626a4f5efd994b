import type { Clock } from '../../../src/clock.js'
import { Choices } from '../choices.js'
import { Scheduler, Thread } from '../scheduler.js'
import { SimulatedPostgres } from './simulated-postgres.js'
import type { Commit } from './tables.js'

/** A simulated server on its own, with one thread that uses it. */
export class SimulatedSetting {
  readonly scheduler = new Scheduler()
  readonly commits: Commit[] = []
  readonly hits: string[] = []
  readonly postgres: SimulatedPostgres
  readonly thread: Thread
  readonly #waiting: { condition: () => boolean; resolve: () => void }[] = []

  constructor(seed: number) {
    this.postgres = new SimulatedPostgres({
      scheduler: this.scheduler,
      choices: new Choices(seed),
      onCommit: (commit) => this.commits.push(commit),
      onHit: (fault) => this.hits.push(fault),
    })
    this.thread = this.newThread('main')
    this.scheduler.onStep = () => this.#goOn()
  }

  newThread(name: string): Thread {
    return new Thread(this.scheduler, name, (error) => {
      throw error
    })
  }

  /** A clock that runs in the time of the world. */
  clockOf(thread: Thread): Clock {
    return {
      now: () => Math.floor(this.scheduler.nowMs),
      monotonic: () => this.scheduler.nowMs,
      schedule: (delayMs, task) => thread.after(delayMs, task),
      nextTick: (task) => {
        thread.after(0, task)
      },
    }
  }

  /** Lets the world go on until `work` is done, which must be within `limitMs`. */
  async run<T>(work: Promise<T>, limitMs = 300_000): Promise<T> {
    let done = false
    const end = () => {
      done = true
    }
    work.then(end, end)
    const result = await this.scheduler.run(() => done, this.scheduler.nowMs + limitMs)
    if (result === 'done') return await work
    throw new Error(`the work is not done, and the world is ${result}`)
  }

  /** Lets the world go on for a while. */
  async pass(ms: number): Promise<void> {
    await this.scheduler.run(() => false, this.scheduler.nowMs + ms)
  }

  /** For use within `run`: resolves as soon as `condition` holds. */
  until(condition: () => boolean): Promise<void> {
    return new Promise((resolve) => {
      this.#waiting.push({ condition, resolve })
    })
  }

  #goOn(): void {
    for (const [index, { condition, resolve }] of this.#waiting.entries()) {
      if (!condition()) continue
      this.#waiting.splice(index, 1)
      this.scheduler.after(0, resolve)
      return
    }
  }
}
