/**
 * Time and timers, passed in wherever they are needed, so that a simulation can own them.
 */
export interface Clock {
  /** Wall clock, whole milliseconds since 1970. May jump; records never rely on it to be monotonic. */
  now(): number
  /**
   * Milliseconds that never run backwards, for leases and deadlines; the same base in every thread
   * of the process, and running on while the process is frozen.
   */
  monotonic(): number
  /** Calls `task` once after at least `delayMs`; the timer never keeps the process alive. */
  schedule(delayMs: number, task: () => void): Timer
  /** Calls `task` after the events that are already waiting have been handled. */
  nextTick(task: () => void): void
}

export interface Timer {
  cancel(): void
}

/** The real clock of this machine. */
export const systemClock: Clock = {
  now: () => Date.now(),
  monotonic() {
    const [seconds, nanoseconds] = process.hrtime()
    return seconds * 1e3 + nanoseconds / 1e6
  },
  schedule(delayMs, task) {
    const handle = setTimeout(task, delayMs)
    handle.unref()
    return { cancel: () => clearTimeout(handle) }
  },
  nextTick: (task) => {
    setImmediate(task)
  },
}

const dayMs = 86_400_000

/** Days since 1970-01-01 (UTC) of a moment in milliseconds. */
export function dayOf(timeMs: number): number {
  return Math.floor(timeMs / dayMs)
}

/** `YYYY-MM-DD` of a day number. */
export function formatDay(day: number): string {
  if (day !== lastDay.day) {
    lastDay.text = new Date(day * dayMs).toISOString().slice(0, 10)
    lastDay.day = day
  }
  return lastDay.text
}

/** Nearly all transactions are of one day. */
const lastDay = { day: Number.NaN, text: '' }

/** Day number of `YYYY-MM-DD` between the years 0001 and 9999, or undefined if there is no such date. */
export function parseDay(text: string): number | undefined {
  const match = /^(\d{4})-(\d{2})-(\d{2})$/.exec(text)
  if (match === null) return undefined
  const timeMs = Date.parse(`${text}T00:00:00Z`)
  if (Number.isNaN(timeMs) || match[1] === '0000') return undefined
  const day = dayOf(timeMs)
  return formatDay(day) === text ? day : undefined
}
