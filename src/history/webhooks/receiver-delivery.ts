import { Bell } from './bell.js'
import type { Letter } from './delivery-store.js'
import type { EventReader, StreamHead, StreamPlace } from './event-source.js'
import type { Receiver } from './receiver.js'
import { type ChannelParts, ReceiverChannel } from './receiver-channel.js'
import { type DeliveryListener, StreamDelivery } from './stream-delivery.js'

export interface ReceiverDeliveryParts extends ChannelParts {
  source: EventReader
  listener: DeliveryListener
}

/**
 * Delivers to one receiver: all streams of a generation side by side, one generation after the other,
 * so that what happened to an account comes in order even if the number of shards has changed. Dead
 * letters that are sent again go beside them.
 */
export class ReceiverDelivery {
  readonly receiver: Receiver
  readonly #parts: ReceiverDeliveryParts
  readonly #channel: ReceiverChannel
  readonly #ending = new AbortController()
  readonly #abandoned = new AbortController()
  readonly #generations: StreamDelivery[][]
  readonly #run: Promise<void>
  #letters: Letter[] = []
  /** Letters that are being sent, or were and are still in the database as if they had not been. */
  readonly #taken = new Set<string>()
  readonly #mail = new Bell()

  constructor(
    receiver: Receiver,
    { places, streams }: { places: readonly StreamPlace[]; streams: readonly StreamHead[] },
    parts: ReceiverDeliveryParts,
    onFault: (error: Error) => void,
  ) {
    this.receiver = receiver
    this.#parts = parts
    this.#channel = new ReceiverChannel(receiver, parts, {
      ending: this.#ending.signal,
      abandoned: this.#abandoned.signal,
    })
    this.#generations = byGeneration(streams).map((generation) =>
      generation.map(({ stream }) => {
        const place = places.find((each) => each.stream === stream)
        const { source, listener } = parts
        return new StreamDelivery(place ?? { stream, seq: 0, digest: undefined }, {
          ...{ channel: this.#channel, source, listener },
        })
      }),
    )
    this.#run = Promise.all([this.#deliver(), this.#resend()]).then(() => undefined, onFault)
  }

  get isOpen(): boolean {
    return this.#channel.isOpen
  }

  /** Records that are not delivered yet, over all streams. */
  get lag(): number {
    return this.#generations.flat().reduce((sum, { lag }) => sum + lag, 0)
  }

  /** Takes the dead letters that are to be sent again, as the database has them now. */
  take(letters: readonly Letter[]): void {
    const names = new Set(letters.map(nameOf))
    for (const name of this.#taken) if (!names.has(name)) this.#taken.delete(name)
    const fresh = letters.filter((letter) => !this.#taken.has(nameOf(letter)))
    for (const letter of fresh) this.#taken.add(nameOf(letter))
    this.#letters.push(...fresh)
    if (fresh.length > 0) this.#mail.ring()
  }

  get isEnding(): boolean {
    return this.#ending.signal.aborted
  }

  /** Ends it when what is under way has been answered, which takes as long as that may. */
  async stop(): Promise<void> {
    this.#ending.abort()
    await this.#run
  }

  /** Ends it at once. Whatever is under way is delivered again. */
  abandon(): void {
    this.#abandoned.abort()
    this.#ending.abort()
  }

  async #deliver(): Promise<void> {
    for (const generation of this.#generations) {
      await Promise.all(generation.map((stream) => stream.run(this.#ending.signal)))
    }
  }

  async #resend(): Promise<void> {
    const { signal } = this.#ending
    while (!signal.aborted) {
      const [letter] = this.#letters
      if (letter === undefined) await this.#mail.wait(signal)
      else if (!(await this.#channel.isReady())) return
      else if (await this.#isSettled(letter)) this.#letters.shift()
    }
  }

  /** One attempt is one answer to whoever asked for it, unless the receiver was not even asked. */
  async #isSettled({ id, event, attempts }: Letter): Promise<boolean> {
    const outcome = await this.#channel.send([event], attempts + 1)
    if (outcome === undefined || outcome.kind === 'wait' || outcome.kind === 'gone') return false
    const { kind, status, error } = outcome
    this.#parts.notes.resent({
      ...{ receiver: this.receiver.id, id, status, error, isDelivered: kind === 'delivered' },
      atMs: this.#parts.clock.now(),
    })
    return true
  }
}

function nameOf({ id, askedAt }: Letter): string {
  return `${id} ${askedAt}`
}

function byGeneration(streams: readonly StreamHead[]): StreamHead[][] {
  const generations = new Map<number, StreamHead[]>()
  for (const stream of streams) {
    generations.set(stream.generation, [...(generations.get(stream.generation) ?? []), stream])
  }
  return [...generations].sort(([a], [b]) => a - b).map(([, generation]) => generation)
}
