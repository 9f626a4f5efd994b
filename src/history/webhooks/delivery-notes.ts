import type { StreamPlace } from './event-source.js'
import type { OutcomeKind } from './outcome.js'
import type { DisabledReason } from './receiver.js'
import type { WebhookEvent } from './webhook-event.js'

/** A request that was sent, as the log has it. */
export interface AttemptNote {
  receiver: string
  atMs: number
  firstEvent: string
  lastEvent: string
  events: number
  attempt: number
  outcome: OutcomeKind
  status: number | undefined
  error: string | undefined
  durationMs: number
}

export interface DeadLetterNote {
  receiver: string
  event: WebhookEvent
  attempts: number
  status: number | undefined
  error: string | undefined
  firstMs: number
  lastMs: number
}

/** What became of a dead letter that was sent again. */
export interface ResentNote {
  receiver: string
  id: string
  isDelivered: boolean
  status: number | undefined
  error: string | undefined
  atMs: number
}

/** How far a receiver has come in a stream. */
export interface PositionNote extends StreamPlace {
  receiver: string
}

/** Attempts of a receiver that the log keeps. */
export const attemptsKeptMax = 1000

/**
 * What the database is to be told of, all of it in one transaction: a dead letter is there before
 * its stream has gone past it. What is lost with the process is delivered again.
 */
export class DeliveryNotes {
  readonly #positions = new Map<string, PositionNote>()
  readonly #attempts = new Map<string, AttemptNote[]>()
  #deadLetters: DeadLetterNote[] = []
  #resent: ResentNote[] = []
  #disabled = new Map<string, DisabledReason>()

  position(note: PositionNote): void {
    this.#positions.set(`${note.receiver} ${note.stream}`, note)
  }

  attempt(note: AttemptNote): void {
    const attempts = this.#attempts.get(note.receiver) ?? []
    // What would be trimmed at once need not be written.
    if (attempts.length >= 2 * attemptsKeptMax) attempts.splice(0, attemptsKeptMax)
    attempts.push(note)
    this.#attempts.set(note.receiver, attempts)
  }

  deadLetter(note: DeadLetterNote): void {
    this.#deadLetters.push(note)
  }

  resent(note: ResentNote): void {
    this.#resent.push(note)
  }

  disabled(receiver: string, reason: DisabledReason): void {
    this.#disabled.set(receiver, reason)
  }

  get isEmpty(): boolean {
    const { size } = this.#positions
    const { length } = this.#deadLetters
    return size + this.#attempts.size + length + this.#resent.length + this.#disabled.size === 0
  }

  /** All of it, which is then forgotten here. */
  take(): TakenNotes {
    const taken = {
      positions: [...this.#positions.values()],
      attempts: [...this.#attempts.values()].flat(),
      deadLetters: this.#deadLetters,
      resent: this.#resent,
      disabled: [...this.#disabled],
    }
    this.#positions.clear()
    this.#attempts.clear()
    this.#deadLetters = []
    this.#resent = []
    this.#disabled = new Map()
    return taken
  }
}

export interface TakenNotes {
  positions: PositionNote[]
  attempts: AttemptNote[]
  deadLetters: DeadLetterNote[]
  resent: ResentNote[]
  disabled: [receiver: string, reason: DisabledReason][]
}
