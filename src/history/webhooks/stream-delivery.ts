import { pause } from '../feed/stream-tail.js'
import type { EventReader, EventWindow, StreamPlace } from './event-source.js'
import type { Outcome } from './outcome.js'
import { wants } from './receiver.js'
import type { ReceiverChannel } from './receiver-channel.js'
import { retryDelayMs } from './retry-policy.js'
import { gapEvent, seqOf, type WebhookEvent } from './webhook-event.js'

export interface DeliveryListener {
  /** Something failed that will be tried again. */
  onTrouble(message: string): void
}

/** Of all events in a request, beside the first. */
const requestBytesMax = 256 * 1024
/** After the journal could not be read as it must be. */
const damagePauseMs = 5000

/**
 * Delivers one stream to one receiver, in order.
 *
 *     waiting ──▶ reading ──▶ sending ─┬─▶ delivered ──▶ (sending, reading) ──▶ done   (closed, all of it)
 *        ▲                             ├─▶ dead letter ──▶ (sending, reading)
 *        └───────────── pause ◀────────┘   (failed; not allowed to send)
 *
 * Waiting is for the breaker, and for the time that a receiver has asked for. The journal is the
 * queue: nothing is kept here but the window at hand, and not even that while it waits, so that a
 * receiver may be away for as long as the journal is kept, and costs nothing meanwhile.
 *
 * A request that fails goes again with half of its events, down to one, so that an event which the
 * receiver cannot take stands alone in the end. Alone it becomes a dead letter, and the stream goes
 * on: at once when the receiver has refused it, or after the last attempt. An attempt counts only if
 * the breaker was closed when it was made. After each success requests grow again.
 */
export class StreamDelivery {
  readonly #channel: ReceiverChannel
  readonly #source: EventReader
  readonly #listener: DeliveryListener
  #place: StreamPlace
  /** Events of the next request at most. */
  #eventsMax: number
  #failing: { eventId: string; attempts: number; firstMs: number } | undefined
  #pauseMs = 0

  constructor(
    place: StreamPlace,
    parts: { channel: ReceiverChannel; source: EventReader; listener: DeliveryListener },
  ) {
    this.#place = place
    this.#channel = parts.channel
    this.#source = parts.source
    this.#listener = parts.listener
    this.#eventsMax = parts.channel.receiver.batchMax
  }

  /** Records that have not been delivered yet. */
  get lag(): number {
    return Math.max(0, this.#source.headOf(this.#place.stream) - this.#place.seq)
  }

  /** Delivers until the signal aborts or a closed stream ends; rejects if Postgres does not answer. */
  async run(signal: AbortSignal): Promise<void> {
    const { clock } = this.#channel.parts
    for (;;) {
      await pause(clock, this.#pauseMs, signal)
      this.#pauseMs = 0
      if (!(await this.#channel.isReady())) return
      const window = await this.#window(signal)
      if (window === 'damaged') this.#pauseMs = damagePauseMs
      else if (window === undefined) return
      else await this.#deliver(window)
    }
  }

  /** What is next; where the journal has it no more, the notice that says so. */
  async #window(signal: AbortSignal): Promise<EventWindow | undefined | 'damaged'> {
    const { stream, seq } = this.#place
    try {
      return await this.#source.next(this.#place, signal)
    } catch (error) {
      const { code, message } = error as Error & { code?: string }
      const kept = code === 'no_such_record' ? await this.#source.keptAfter(stream) : 0
      if (kept > seq) {
        const { receiver, parts } = this.#channel
        const gap = gapEvent(receiver.tenant, { stream, seq, kept }, parts.clock.now())
        return { events: [gap], seq: kept, digest: undefined }
      }
      if (code === undefined || !damageCodes.includes(code)) throw error
      this.#listener.onTrouble(`webhooks of stream ${stream}: ${message}`)
      return 'damaged'
    }
  }

  async #deliver(window: EventWindow): Promise<void> {
    const wanted = window.events.filter((event) => wants(this.#channel.receiver, event))
    let done = 0
    while (done < wanted.length) {
      const events = someOf(wanted, done, this.#eventsMax)
      if (!(await this.#settle(events))) return
      done += events.length
      this.#moveTo(seqOf(events[events.length - 1]), undefined)
    }
    this.#moveTo(window.seq, window.digest)
  }

  /** Whether the events are done with. */
  async #settle(events: readonly WebhookEvent[]): Promise<boolean> {
    const { parts, receiver } = this.#channel
    const [{ id }] = events
    if (this.#failing?.eventId !== id) this.#failing = undefined
    const firstMs = this.#failing?.firstMs ?? parts.clock.now()
    const attempts = (this.#failing?.attempts ?? 0) + 1
    const outcome = await this.#channel.send(events, attempts)
    switch (outcome?.kind) {
      case 'delivered':
        this.#eventsMax = Math.min(this.#eventsMax * 2, receiver.batchMax)
        return true
      case 'refused':
      case 'failed': {
        this.#failing = { eventId: id, attempts, firstMs }
        const isLast = outcome.kind === 'refused' || attempts >= parts.retry.attemptsMax
        if (events.length === 1 && isLast) {
          this.#bury(events[0], outcome)
          return true
        }
        this.#eventsMax = Math.ceil(events.length / 2)
        if (outcome.kind === 'failed') {
          this.#pauseMs = retryDelayMs(attempts, parts.retry, parts.random)
        }
        return false
      }
      case 'wait':
      case 'gone':
      case undefined:
        return false
    }
  }

  #bury(event: WebhookEvent, { status, error }: Outcome): void {
    const { attempts = 1, firstMs = 0 } = this.#failing ?? {}
    const { parts, receiver } = this.#channel
    parts.notes.deadLetter({
      ...{ receiver: receiver.id, event, attempts, status, error, firstMs },
      lastMs: parts.clock.now(),
    })
  }

  #moveTo(seq: number, digest: Buffer | undefined): void {
    const { stream } = this.#place
    this.#place = { stream, seq, digest }
    this.#channel.parts.notes.position({ receiver: this.#channel.receiver.id, ...this.#place })
  }
}

/** Of the journal itself: other streams, and other receivers, go on. */
const damageCodes = ['no_such_record', 'broken_chain', 'position_ahead']

/** Events from `start` on that go into one request; one at least. */
function someOf(events: readonly WebhookEvent[], start: number, max: number): WebhookEvent[] {
  let bytes = 0
  const some: WebhookEvent[] = []
  for (const event of events.slice(start, start + max)) {
    bytes += JSON.stringify(event).length
    if (some.length > 0 && bytes > requestBytesMax) break
    some.push(event)
  }
  return some
}
