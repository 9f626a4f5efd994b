import { Presets, SingleBar } from 'cli-progress'

const linesEveryMs = 5000

/**
 * How far a command has come, on standard error: a bar on a terminal, else a line every few seconds.
 */
export class Progress {
  #bar: SingleBar | undefined
  #what = ''
  #lineAtMs = 0

  /** `done` of `total` units of `what`, such as records. */
  report(what: string, done: number, total: number): void {
    if (process.stderr.isTTY) this.#draw(what, done, total)
    else this.#say(what, done, total)
  }

  /** The bar stays as it is, and what follows is written below it. */
  end(): void {
    this.#bar?.stop()
    this.#bar = undefined
    this.#what = ''
  }

  #draw(what: string, done: number, total: number): void {
    if (this.#bar === undefined || this.#what !== what) {
      this.end()
      this.#what = what
      const format = `${what} {bar} {percentage}% | {value}/{total} | {eta_formatted} left`
      this.#bar = new SingleBar({ format, fps: 4, etaBuffer: 50 }, Presets.shades_classic)
      this.#bar.start(total, done)
    }
    this.#bar.setTotal(total)
    this.#bar.update(done)
  }

  #say(what: string, done: number, total: number): void {
    const now = Date.now()
    if (this.#what !== what) this.#lineAtMs = now + linesEveryMs
    this.#what = what
    if (now < this.#lineAtMs) return
    this.#lineAtMs = now + linesEveryMs
    const percent = total === 0 ? 100 : Math.floor((done / total) * 100)
    process.stderr.write(`${what}: ${done} of ${total} (${percent}%)\n`)
  }
}
