import type { Clock } from '../../clock.js'
import { newKeyText } from '../../key.js'
import { pause } from '../feed/stream-tail.js'
import type { DeliveryNotes } from './delivery-notes.js'
import { type Outcome, outcomeOf, outcomeOfError } from './outcome.js'
import type { Receiver } from './receiver.js'
import { type BreakerPolicy, ReceiverBreaker } from './receiver-breaker.js'
import type { RetryPolicy } from './retry-policy.js'
import { testEvent, type WebhookEvent } from './webhook-event.js'
import { SendError, type WebhookSender } from './webhook-sender.js'
import { webhookRequest } from './webhook-signature.js'

export interface ChannelParts {
  sender: Pick<WebhookSender, 'send'>
  notes: DeliveryNotes
  counts: DeliveryCounts
  key: Buffer
  clock: Clock
  /** 0 to 1, for the jitter of retries. */
  random: () => number
  retry: RetryPolicy
  breaker: BreakerPolicy
}

/** Since the process started. */
export interface DeliveryCounts {
  /** Events, and attempts that came to anything else. */
  delivered: number
  failedAttempts: number
}

/** The way to one receiver, for all that is sent to it. */
export class ReceiverChannel {
  readonly receiver: Receiver
  readonly parts: ChannelParts
  readonly #breaker: ReceiverBreaker
  readonly #ending: AbortSignal
  readonly #abandoned: AbortSignal
  #quietUntilMs = 0
  #isGone = false

  /** Sends nothing more once `ending` aborts; what is under way goes on, unless it is `abandoned`. */
  constructor(
    receiver: Receiver,
    parts: ChannelParts,
    { ending, abandoned }: { ending: AbortSignal; abandoned: AbortSignal },
  ) {
    this.receiver = receiver
    this.parts = parts
    this.#ending = ending
    this.#abandoned = abandoned
    this.#breaker = new ReceiverBreaker(() => this.#probe(), parts.breaker)
    ending.addEventListener('abort', () => this.#breaker.stop(), { once: true })
  }

  get isOpen(): boolean {
    return this.#breaker.isOpen
  }

  /** Resolves when something may be sent, or with false when nothing ever will. */
  async isReady(): Promise<boolean> {
    const { clock } = this.parts
    while (!this.#ending.aborted && !this.#isGone) {
      await this.#breaker.closed(this.#ending)
      const quietMs = this.#quietUntilMs - clock.monotonic()
      if (quietMs <= 0) break
      await pause(clock, quietMs, this.#ending)
    }
    return !this.#ending.aborted && !this.#isGone
  }

  /** What became of a request with these events; undefined if it was not sent, or not waited for. */
  async send(events: readonly WebhookEvent[], attempt: number): Promise<Outcome | undefined> {
    if (this.#ending.aborted || this.#isGone) return undefined
    // Of several, one may be to blame; the others are delivered yet.
    const isAlone = events.length === 1
    const outcome = await this.#breaker.attempt(
      () => this.#send(events, attempt),
      ({ kind }) => kind === 'failed' || (kind === 'refused' && isAlone),
    )
    return this.#abandoned.aborted ? undefined : outcome
  }

  async #probe(): Promise<Outcome> {
    const { clock } = this.parts
    return await this.#send([testEvent(this.receiver.tenant, newKeyText(), clock.now())], 1)
  }

  async #send(events: readonly WebhookEvent[], attempt: number): Promise<Outcome> {
    const { sender, key, clock } = this.parts
    const { receiver } = this
    const beganMs = clock.monotonic()
    const nowMs = clock.now()
    const request = webhookRequest(receiver, events, { key, nowMs })
    const outcome = await sender
      .send(receiver.url, request, this.#abandoned)
      .then((answer) => outcomeOf(answer, clock.now()))
      .catch((error: Error) => {
        if (error instanceof SendError) return outcomeOfError(error)
        throw error
      })
    if (this.#abandoned.aborted) return outcome
    this.#note(events, outcome, { attempt, atMs: nowMs, durationMs: clock.monotonic() - beganMs })
    return outcome
  }

  #note(
    events: readonly WebhookEvent[],
    { kind, status, error, waitMs = 0 }: Outcome,
    when: { attempt: number; atMs: number; durationMs: number },
  ): void {
    const { notes, counts, clock } = this.parts
    const { id } = this.receiver
    if (kind === 'wait') this.#quietUntilMs = clock.monotonic() + waitMs
    if (kind === 'gone') {
      this.#isGone = true
      notes.disabled(id, 'gone')
    }
    const isTest = events[0].type === 'webhook.test'
    if (kind !== 'delivered') counts.failedAttempts += 1
    else if (!isTest) counts.delivered += events.length
    notes.attempt({
      ...{ receiver: id, outcome: kind, status, error, ...when },
      firstEvent: events[0].id,
      lastEvent: events[events.length - 1].id,
      events: events.length,
    })
  }
}
