import type { Clock, Timer } from '../../src/clock.js'

/** A clock that stands still until the test moves it. */
export class TestClock implements Clock {
  #nowMs: number
  #monotonicMs = 1000
  readonly #timers = new Set<{ dueMs: number; task: () => void }>()

  constructor(nowMs = Date.UTC(2024, 1, 29, 12)) {
    this.#nowMs = nowMs
  }

  now(): number {
    return this.#nowMs
  }

  monotonic(): number {
    return this.#monotonicMs
  }

  schedule(delayMs: number, task: () => void): Timer {
    const timer = { dueMs: this.#monotonicMs + delayMs, task }
    this.#timers.add(timer)
    return { cancel: () => this.#timers.delete(timer) }
  }

  nextTick(task: () => void): void {
    setImmediate(task)
  }

  /** Time passes at once; then every timer that was due on the way fires, in order, late. */
  advance(ms: number): void {
    this.#nowMs += ms
    this.#monotonicMs += ms
    for (;;) {
      const due = [...this.#timers].filter((timer) => timer.dueMs <= this.#monotonicMs)
      const first = due.sort((a, b) => a.dueMs - b.dueMs)[0]
      if (first === undefined) return
      this.#timers.delete(first)
      first.task()
    }
  }

  /** Somebody sets the wall clock; the monotonic clock goes on. */
  setWall(nowMs: number): void {
    this.#nowMs = nowMs
  }
}
