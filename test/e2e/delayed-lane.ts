import type { Writable } from 'node:stream'

/** One direction of a connection: what is written arrives in order, each part as late as it is told. */
export class DelayedLane {
  readonly #target: Writable
  readonly #delayMs: () => number
  readonly #onTheWay: (() => void)[] = []

  constructor(target: Writable, delayMs: () => number) {
    this.#target = target
    this.#delayMs = delayMs
  }

  write(bytes: Buffer): void {
    this.#pass(() => this.#target.write(bytes))
  }

  /** Calls `then` when everything that was written before has arrived. */
  end(then: () => void): void {
    this.#pass(then)
  }

  #pass(arrive: () => void): void {
    this.#onTheWay.push(arrive)
    if (this.#onTheWay.length === 1) this.#next()
  }

  #next(): void {
    const delayMs = this.#delayMs()
    if (delayMs === 0) this.#arrive()
    else setTimeout(() => this.#arrive(), delayMs)
  }

  #arrive(): void {
    this.#onTheWay[0]?.()
    this.#onTheWay.shift()
    if (this.#onTheWay.length > 0) this.#next()
  }
}
