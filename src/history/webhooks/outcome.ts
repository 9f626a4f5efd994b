import type { SendError, WebhookAnswer } from './webhook-sender.js'

/**
 * What an attempt came to.
 *
 * - `delivered`: 2xx.
 * - `refused`: the receiver has looked at it and does not want it (400, 413, 422): it would not want
 *   it the next time either.
 * - `wait`: the receiver asks for time (429, or 503 with Retry-After).
 * - `gone`: 410, the receiver wants nothing any more.
 * - `failed`: all else. No answer, a redirect, a fault of the receiver, a URL or credential that it
 *   does not take: somebody has to do something, and then the same request may succeed.
 */
export type OutcomeKind = 'delivered' | 'refused' | 'wait' | 'gone' | 'failed'

export interface Outcome {
  kind: OutcomeKind
  /** Of HTTP; undefined if there was no answer. */
  status?: number
  /** Why there was none. */
  error?: string
  /** How long the receiver wants to be left alone. */
  waitMs?: number
}

const waitMsMin = 1000
/** A receiver that asks for more is asked again after this. */
const waitMsMax = 600_000

export function outcomeOf({ status, retryAfter }: WebhookAnswer, nowMs: number): Outcome {
  if (status >= 200 && status < 300) return { kind: 'delivered', status }
  if (status === 429 || (status === 503 && retryAfter !== undefined)) {
    return { kind: 'wait', status, waitMs: waitMsOf(retryAfter, nowMs) }
  }
  if (status === 410) return { kind: 'gone', status }
  const isRefusal = status === 400 || status === 413 || status === 422
  return { kind: isRefusal ? 'refused' : 'failed', status }
}

export function outcomeOfError({ code }: SendError): Outcome {
  return { kind: 'failed', error: code }
}

/** Of a Retry-After: seconds or a date; whatever it says, within bounds. */
function waitMsOf(retryAfter: string | undefined, nowMs: number): number {
  if (retryAfter === undefined) return waitMsMin
  const isSeconds = /^\d{1,9}$/.test(retryAfter)
  const waitMs = isSeconds ? Number(retryAfter) * 1000 : Date.parse(retryAfter) - nowMs
  return Number.isNaN(waitMs) ? waitMsMin : Math.min(Math.max(waitMs, waitMsMin), waitMsMax)
}
