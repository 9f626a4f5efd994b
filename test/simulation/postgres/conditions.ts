import { skewed } from '../choices.js'
import type { Scheduler } from '../scheduler.js'
import { ServerError } from './server-error.js'

/** How the server and its disk are at the moment. */
export class Conditions {
  isUp = true
  readonly #scheduler: Scheduler
  readonly #random: () => number
  readonly #onHit: (fault: string) => void
  #slowUntilMs = 0
  #fullUntilMs = 0
  #refusesUntilMs = 0
  #hangsUntilMs = 0

  constructor(scheduler: Scheduler, random: () => number, onHit: (fault: string) => void) {
    this.#scheduler = scheduler
    this.#random = random
    this.#onHit = onHit
  }

  slowDisk(forMs: number): void {
    this.#slowUntilMs = this.#scheduler.nowMs + forMs
  }

  fullDisk(forMs: number): void {
    this.#fullUntilMs = this.#scheduler.nowMs + forMs
  }

  refuseConnects(forMs: number): void {
    this.#refusesUntilMs = this.#scheduler.nowMs + forMs
  }

  hangConnects(forMs: number): void {
    this.#hangsUntilMs = this.#scheduler.nowMs + forMs
  }

  heal(): void {
    this.isUp = true
    this.#slowUntilMs = 0
    this.#fullUntilMs = 0
    this.#refusesUntilMs = 0
    this.#hangsUntilMs = 0
  }

  /** Milliseconds until a commit that starts now is on the disk. */
  flushMs(): number {
    const { nowMs } = this.#scheduler
    if (nowMs >= this.#slowUntilMs) return skewed(this.#random, 0.2, 20)
    this.#onHit('slow disk')
    return skewed(this.#random, 200, 8000)
  }

  /** Throws, now and then, while the disk is full. */
  assertDiskHasRoom(): void {
    if (this.#scheduler.nowMs >= this.#fullUntilMs || this.#random() < 0.5) return
    this.#onHit('full disk')
    throw new ServerError('53100', 'could not extend file: no space left on device')
  }

  /** Whether a connection that is asked for now is refused. */
  refuses(): boolean {
    if (!this.isUp) {
      this.#onHit('connect while Postgres is down')
      return true
    }
    if (this.#scheduler.nowMs >= this.#refusesUntilMs) return false
    this.#onHit('refused connect')
    return true
  }

  /** How much longer a connection that is asked for now gets no answer at all. */
  hangsForMs(): number {
    const ms = this.#hangsUntilMs - this.#scheduler.nowMs
    if (ms <= 0) return 0
    this.#onHit('hanging connect')
    return ms
  }
}
