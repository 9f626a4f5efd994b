const TERMINAL_INTERVAL_MS = 100
const PLAIN_INTERVAL_MS = 3_000

/** Where progress is written; a terminal has `isTTY`. */
export interface Screen {
  readonly isTTY?: boolean
  write(text: string): unknown
}

/**
 * How far a step is: on a terminal one line that is rewritten, elsewhere (a log, a pipe) a line
 * every few seconds. `done` ends it with a line that stays.
 */
export class Progress {
  readonly #screen: Screen
  readonly #step: string
  readonly #total: number
  readonly #startedMs = performance.now()
  #count = 0
  #shownMs: number

  constructor(screen: Screen, step: string, total: number) {
    this.#screen = screen
    this.#step = step
    this.#total = total
    this.#shownMs = screen.isTTY ? Number.NEGATIVE_INFINITY : this.#startedMs
  }

  advance(count: number): void {
    this.#count += count
    const nowMs = performance.now()
    const intervalMs = this.#screen.isTTY ? TERMINAL_INTERVAL_MS : PLAIN_INTERVAL_MS
    if (nowMs - this.#shownMs < intervalMs) return
    this.#shownMs = nowMs
    const line = this.#line((nowMs - this.#startedMs) / 1_000)
    this.#screen.write(this.#screen.isTTY ? `\r\x1b[K${line}` : `${line}\n`)
  }

  /** Ends the step with what came of it, e.g. `28,205 new, 0 replayed`. */
  done(outcome: string): void {
    const seconds = (performance.now() - this.#startedMs) / 1_000
    const rate = readable(Math.round(this.#count / Math.max(seconds, 0.001)))
    this.clear()
    this.#screen.write(
      `${this.#step}: ${readable(this.#count)} in ${seconds.toFixed(1)} s (${rate}/s): ${outcome}\n`,
    )
  }

  /** Takes the unfinished line away, so that a message can take its place. */
  clear(): void {
    if (this.#screen.isTTY) this.#screen.write('\r\x1b[K')
  }

  #line(seconds: number): string {
    const share = Math.floor((100 * this.#count) / Math.max(this.#total, 1))
    const rate = this.#count / Math.max(seconds, 0.001)
    const left = rate > 0 ? `${Math.ceil((this.#total - this.#count) / rate)} s left` : ''
    return `${this.#step}: ${readable(this.#count)} of ${readable(this.#total)} (${share} %), ${readable(Math.round(rate))}/s, ${left}`
  }
}

/** `28205` becomes `"28,205"`. Counts only; money has its own. */
export function readable(count: number): string {
  return count.toLocaleString('en-US')
}
