/** What a part has measured, with what it set out to reach and what stands beside it. */
export interface Figure {
  part: string
  what: string
  measured: string
  wanted?: string
  reached?: boolean
  /** The same done otherwise, in the same run. */
  beside?: string
}

type Measured = Omit<Figure, 'part'>

/** A figure that is to be at most `limit`. */
export function atMost(
  what: string,
  value: number,
  { limit, unit, beside }: { limit: number; unit: string; beside?: string },
): Measured {
  return {
    what,
    measured: withUnit(value, unit),
    wanted: `at most ${limit} ${unit}`,
    reached: value <= limit,
    ...(beside === undefined ? {} : { beside }),
  }
}

/** A rate that is to be at least `limit`, in whole things a second. */
export function rateAtLeast(
  what: string,
  value: number,
  { limit, beside }: { limit: number; beside?: string },
): Measured {
  return {
    what,
    measured: rateText(value),
    wanted: `at least ${rateText(limit)}`,
    reached: value >= limit,
    ...(beside === undefined ? {} : { beside }),
  }
}

export function rateText(value: number): string {
  return `${Math.round(value).toLocaleString('en')}/s`
}

/** Three figures, for latencies are between a tenth of a millisecond and seconds. */
export function withUnit(value: number, unit: string): string {
  const digits = value >= 100 ? 0 : value >= 10 ? 1 : 2
  return `${value.toFixed(digits)} ${unit}`
}
