import { parseDay } from '../clock.js'
import { invalidField } from './errors.js'

const dayMs = 86_400_000

/** A moment of a request: a whole day, or a millisecond. */
export interface GivenMoment {
  /** Days since 1970; undefined for a moment within a day. */
  day: number | undefined
  /** Its first millisecond since 1970, and the first one after it. */
  fromMs: number
  beforeMs: number
}

/** Reads a date or a date and time; throws `invalid_request` if there is no such moment. */
export function momentField(text: string, field: string): GivenMoment {
  const day = parseDay(text)
  if (day !== undefined) return { day, fromMs: day * dayMs, beforeMs: (day + 1) * dayMs }
  const timeMs = text.includes('T') ? Date.parse(text) : Number.NaN
  // Date.parse takes 2026-02-30 for the second of March.
  if (Number.isNaN(timeMs) || parseDay(text.slice(0, 10)) === undefined) {
    throw invalidField(field, 'is no date, or date and time, that there is')
  }
  return { day: undefined, fromMs: timeMs, beforeMs: timeMs + 1 }
}

/** Reads a date as days since 1970; throws `invalid_request` if there is no such date. */
export function dayField(text: string, field: string): number {
  const day = parseDay(text)
  if (day === undefined) throw invalidField(field, 'is no date that there is')
  return day
}

/** From `from` on and up to and with `to`; either may be open. Throws if it ends before it begins. */
export function rangeFields(
  from: string | undefined,
  to: string | undefined,
): { fromMs: number; beforeMs: number } {
  const fromMs = from === undefined ? 0 : momentField(from, 'from').fromMs
  const beforeMs = to === undefined ? endOfTimeMs : momentField(to, 'to').beforeMs
  if (fromMs >= beforeMs) throw invalidField('to', 'is before `from`')
  return { fromMs: Math.max(0, fromMs), beforeMs: Math.max(0, beforeMs) }
}

const endOfTimeMs = Date.UTC(9999, 11, 31)
