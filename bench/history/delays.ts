/** Times in whole milliseconds, counted: many millions of them take no room. */
export class Delays {
  readonly counts: Float64Array
  total = 0
  maxMs = 0

  constructor(counts = new Float64Array(msMax + 1)) {
    this.counts = counts
    for (const [ms, count] of counts.entries()) {
      this.total += count
      if (count > 0) this.maxMs = ms
    }
  }

  /** A negative time is none: the clocks of two threads may be a millisecond apart. */
  add(ms: number, count = 1): void {
    const whole = Math.max(0, Math.min(msMax, Math.round(ms)))
    this.counts[whole] += count
    this.total += count
    this.maxMs = Math.max(this.maxMs, whole)
  }

  /** The time that this share of them took at most; NaN without any. */
  percentile(share: number): number {
    let rest = Math.ceil(this.total * share)
    for (let ms = 0; ms <= this.maxMs && this.total > 0; ms++) {
      rest -= this.counts[ms]
      if (rest <= 0) return ms
    }
    return Number.NaN
  }
}

/** Longer ones count as this. */
const msMax = 120_000
