import CircuitBreaker from 'opossum'
import { Bell } from './bell.js'
import type { Outcome } from './outcome.js'

/**
 * Whether a receiver can be expected to answer.
 *
 *     closed ──▶ open ──▶ half open ──▶ closed   (the probe was answered)
 *                  ▲           │
 *                  └───────────┘   (the probe failed)
 *
 * It opens when most attempts of a while have failed, whatever they carried. While it is open no
 * event is sent, so that none is blamed for a receiver that is away: attempts do not count, and no
 * event becomes a dead letter. After a pause a probe, which is no event, finds out whether somebody
 * is there; only then an event that is perhaps to blame has its next attempt.
 */
export interface BreakerPolicy {
  /** Attempts within the window before it may open, and their share that must have failed. */
  attemptsMin: number
  failedPercentMax: number
  windowMs: number
  /** From opening to the probe. */
  pauseMs: number
}

export const breakerPolicy: BreakerPolicy = {
  attemptsMin: 5,
  failedPercentMax: 50,
  // Five attempts at a receiver that hangs, with the pauses between them, fit in.
  windowMs: 120_000,
  pauseMs: 30_000,
}

type Send = () => Promise<Outcome>
type Judge = (outcome: Outcome) => boolean

export class ReceiverBreaker {
  readonly #circuit: CircuitBreaker<[send: Send, isFailure: Judge], Outcome>
  readonly #closed = new Bell()

  constructor(probe: Send, policy: BreakerPolicy) {
    this.#circuit = new CircuitBreaker(
      async (send, isFailure) => {
        const outcome = await send()
        if (isFailure(outcome)) throw new FailedAttempt(outcome)
        return outcome
      },
      {
        // The sender has a deadline of its own.
        timeout: false,
        resetTimeout: policy.pauseMs,
        errorThresholdPercentage: policy.failedPercentMax,
        volumeThreshold: policy.attemptsMin,
        rollingCountTimeout: policy.windowMs,
        rollingPercentilesEnabled: false,
        enableSnapshots: false,
      },
    )
    // Who refuses a probe is there all the same.
    const isAway: Judge = ({ kind }) => kind === 'failed'
    this.#circuit.on('halfOpen', () => void this.attempt(probe, isAway))
    this.#circuit.on('close', () => this.#closed.ring())
  }

  get isOpen(): boolean {
    return !this.#circuit.closed
  }

  /** Resolves while it is closed, or when the signal aborts. */
  async closed(signal: AbortSignal): Promise<void> {
    while (this.isOpen && !signal.aborted) await this.#closed.wait(signal)
  }

  /** What `send` came to; undefined if it was not called, because the breaker is open. */
  async attempt(send: Send, isFailure: Judge): Promise<Outcome | undefined> {
    try {
      return await this.#circuit.fire(send, isFailure)
    } catch (error) {
      if (error instanceof FailedAttempt) return error.outcome
      if (CircuitBreaker.isOurError(error as Error)) return undefined
      throw error
    }
  }

  /** Ends its timers. */
  stop(): void {
    this.#circuit.shutdown()
  }
}

class FailedAttempt extends Error {
  readonly outcome: Outcome

  constructor(outcome: Outcome) {
    super(outcome.error ?? `status ${outcome.status}`)
    this.outcome = outcome
  }
}
