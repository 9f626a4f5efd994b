import type { Clock } from '../../clock.js'
import type { DigestChain } from '../../journal/batch.js'
import type { Database, DatabaseConnection } from '../../journal/database.js'
import type { JournalSession, JournalStore } from '../../journal/session.js'
import { pause } from '../feed/stream-tail.js'
import { DeliveryNotes } from './delivery-notes.js'
import {
  countDeadLetters,
  readLetters,
  readPlaces,
  readReceivers,
  readStreams,
  saveNotes,
  trimAttempts,
} from './delivery-store.js'
import { EventSource, type StreamHead } from './event-source.js'
import type { Receiver } from './receiver.js'
import { type BreakerPolicy, breakerPolicy } from './receiver-breaker.js'
import type { DeliveryCounts } from './receiver-channel.js'
import { ReceiverDelivery } from './receiver-delivery.js'
import { type RetryPolicy, retryPolicy } from './retry-policy.js'
import type { DeliveryListener } from './stream-delivery.js'
import { ensureWebhookSchema, tryDeliveryLock } from './webhook-schema.js'
import type { WebhookSender } from './webhook-sender.js'

export interface DispatcherParts {
  database: Database
  store: JournalStore
  chain: DigestChain
  clock: Clock
  random: () => number
  /** Of the server; the receivers' secrets are derived from it. */
  key: Buffer
  sender: Pick<WebhookSender, 'send'>
  counts: DeliveryCounts
  listener: DeliveryListener
  retry?: RetryPolicy
  breaker?: BreakerPolicy
}

/** How the delivery is doing, for metrics. */
export interface WebhookGauges extends DeliveryCounts {
  active: number
  paused: number
  disabled: number
  deadLetters: number
  /** Receivers whose breaker is open. */
  open: number
  /** Records that active receivers do not have yet, added up. */
  lag: number
}

/** Between two looks at the streams; it bounds the delay of an event from below. */
const tickMs = 50
/** The same while nobody receives anything, and between two looks at the receivers. */
const refreshMs = 1000
const trimMs = 60_000
const lockRetryMs = 1000

/**
 * Delivers to all receivers for as long as its connection holds the lock: one process at a time does.
 * What it writes goes over that same connection, so that who has lost the lock writes nothing.
 *
 *     opened ─▶ locked ─▶ delivering ─▶ closed   (any error of Postgres; another one goes on)
 *
 * Requests to receivers are sent beside each other; what came of them is written every tick. A tick
 * that is lost with the process is delivered again.
 */
export class Dispatcher {
  readonly #parts: DispatcherParts
  readonly #connection: DatabaseConnection
  readonly #session: JournalSession
  readonly #source: EventSource
  readonly #notes = new DeliveryNotes()
  readonly #deliveries = new Map<string, ReceiverDelivery>()
  #receivers: Receiver[] = []
  #streams: StreamHead[] = []
  #deadLetters = 0
  #fault: Error | undefined

  /** Rejects if the database cannot be reached, or its webhooks are of a newer program. */
  static async open(parts: DispatcherParts): Promise<Dispatcher> {
    const connection = await parts.database.connect({ name: 'daybook webhooks' })
    try {
      await ensureWebhookSchema(connection)
      // What is lost in a crash of Postgres is lost with its positions, and delivered again.
      await connection.query('set synchronous_commit = off')
      return new Dispatcher(parts, connection, await parts.store.open())
    } catch (error) {
      connection.close()
      throw error
    }
  }

  private constructor(
    parts: DispatcherParts,
    connection: DatabaseConnection,
    session: JournalSession,
  ) {
    this.#parts = parts
    this.#connection = connection
    this.#session = session
    this.#source = new EventSource(session, parts)
  }

  get gauges(): WebhookGauges {
    const count = (state: Receiver['state']) =>
      this.#receivers.filter((receiver) => receiver.state === state).length
    const deliveries = [...this.#deliveries.values()]
    return {
      ...this.#parts.counts,
      ...{ active: count('active'), paused: count('paused'), disabled: count('disabled') },
      deadLetters: this.#deadLetters,
      open: deliveries.filter(({ isOpen }) => isOpen).length,
      lag: deliveries.reduce((sum, { lag }) => sum + lag, 0),
    }
  }

  /** Delivers until the signal aborts; rejects with whatever comes between. */
  async run(signal: AbortSignal, onGauges: (gauges: WebhookGauges) => void): Promise<void> {
    const { clock } = this.#parts
    while (!signal.aborted && !(await tryDeliveryLock(this.#connection))) {
      await pause(clock, lockRetryMs, signal)
    }
    let [refreshAt, trimAt] = [0, clock.monotonic() + trimMs]
    while (!signal.aborted) {
      await this.#tick()
      if (clock.monotonic() >= refreshAt) {
        await this.#refresh()
        refreshAt = clock.monotonic() + refreshMs
        onGauges(this.gauges)
      }
      if (clock.monotonic() >= trimAt) {
        await trimAttempts(this.#connection)
        trimAt = clock.monotonic() + trimMs
      }
      await pause(clock, this.#deliveries.size === 0 ? refreshMs : tickMs, signal)
    }
    await Promise.all([...this.#deliveries.values()].map((delivery) => delivery.stop()))
    await this.#save()
  }

  /** Ends everything at once. */
  close(): void {
    for (const delivery of this.#deliveries.values()) delivery.abandon()
    this.#connection.close()
    this.#session.close()
  }

  async #tick(): Promise<void> {
    if (this.#fault !== undefined) throw this.#fault
    const streams = await readStreams(this.#connection)
    const isOther = streams.length !== this.#streams.length && this.#streams.length > 0
    // Another process has opened a generation and is about to deliver it.
    if (isOther) throw new Error('there are other streams than before')
    this.#streams = streams
    this.#source.note(streams)
    await this.#save()
  }

  async #save(): Promise<void> {
    if (!this.#notes.isEmpty) await saveNotes(this.#connection, this.#notes.take())
  }

  /** Begins and ends deliveries as the receivers are now. */
  async #refresh(): Promise<void> {
    this.#receivers = await readReceivers(this.#connection)
    const active = new Map(
      this.#receivers.filter(({ state }) => state === 'active').map((each) => [each.id, each]),
    )
    for (const [id, delivery] of this.#deliveries) {
      const isAsItWas = JSON.stringify(active.get(id)) === JSON.stringify(delivery.receiver)
      if (isAsItWas || delivery.isEnding) continue
      // Nobody else waits for its last answers; until they are noted it does not begin again.
      void delivery.stop().then(() => this.#deliveries.delete(id))
    }
    await this.#save()
    for (const receiver of active.values()) {
      if (!this.#deliveries.has(receiver.id)) await this.#begin(receiver)
    }
    const letters = await readLetters(this.#connection)
    for (const [id, delivery] of this.#deliveries) {
      delivery.take(letters.filter((letter) => letter.receiver === id))
    }
    this.#deadLetters = await countDeadLetters(this.#connection)
  }

  async #begin(receiver: Receiver): Promise<void> {
    const { retry = retryPolicy, breaker = breakerPolicy } = this.#parts
    const parts = { ...this.#parts, retry, breaker, notes: this.#notes, source: this.#source }
    const places = await readPlaces(this.#connection, receiver.id)
    const delivery = new ReceiverDelivery(
      receiver,
      { places, streams: this.#streams },
      parts,
      (error) => {
        this.#fault ??= error
      },
    )
    this.#deliveries.set(receiver.id, delivery)
  }
}
