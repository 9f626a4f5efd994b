import { type Choices, skewed } from './choices.js'
import type { Scheduler, Thread } from './scheduler.js'

/**
 * A way from one thread to another, or over a socket: what is sent arrives in its order, and nothing
 * is said about the order of what comes by different ways. That is what the real ones promise.
 */
export class Channel {
  readonly #scheduler: Scheduler
  readonly #to: Thread
  readonly #random: () => number
  readonly #pace: Pace
  #lastAtMs = 0

  constructor(
    parts: { scheduler: Scheduler; choices: Choices; pace: Pace },
    to: Thread,
    name: string,
  ) {
    this.#scheduler = parts.scheduler
    this.#to = to
    this.#random = parts.choices.of(name)
    this.#pace = parts.pace
  }

  /** Calls `receive` in the receiver's thread, after everything that was sent before. */
  send(receive: () => void): void {
    const random = this.#random
    const isSlow = random() < this.#pace.slowShare
    if (isSlow) this.#pace.onSlow()
    const delayMs = isSlow ? skewed(random, 1, this.#pace.slowMsMax) : skewed(random, 0.005, 1)
    this.#lastAtMs = Math.max(this.#lastAtMs, this.#scheduler.nowMs + delayMs)
    this.#to.at(this.#lastAtMs, receive)
  }
}

/** How slow the ways of one world are. */
export interface Pace {
  /** Share of what is sent that takes long. */
  slowShare: number
  slowMsMax: number
  onSlow(): void
}
