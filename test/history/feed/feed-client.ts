import { get, type IncomingMessage } from 'node:http'
import { createParser, type EventSourceMessage } from 'eventsource-parser'
import type { FeedEvent } from '../../../src/history/feed/feed-event.js'
import { until } from '../../journal/faulty-store.js'
import type { Teardown } from '../../postgres.js'

/** Somebody who listens to `GET /v1/feed`, over one connection. */
export class FeedClient {
  readonly status: number
  readonly contentType: string | undefined
  /** All that came with data, also `position` and `end`. */
  readonly messages: EventSourceMessage[] = []
  comments = 0
  retryMs: number | undefined
  /** When each event came, by the clock of this machine. */
  readonly receivedAtMs: number[] = []
  #lastId: string | undefined
  #hasEnded = false
  /** Resolves when the connection is gone, or the answer whole. */
  readonly ended: Promise<void>
  readonly #response: IncomingMessage

  /** Resolves with the beginning of the answer, whatever it is; rejects if there is none. */
  static async open(t: Teardown, url: string, lastEventId?: string): Promise<FeedClient> {
    const headers = lastEventId === undefined ? {} : { 'last-event-id': lastEventId }
    const response = await new Promise<IncomingMessage>((resolve, reject) => {
      get(url, { agent: false, headers }, resolve).on('error', reject)
    })
    const client = new FeedClient(response)
    t.teardown(() => client.close())
    if (client.status === 200) await until(() => client.#lastId !== undefined || client.hasEnded)
    return client
  }

  private constructor(response: IncomingMessage) {
    this.#response = response
    this.status = response.statusCode ?? 0
    this.contentType = response.headers['content-type']
    const parser = createParser({
      onEvent: (message) => {
        this.messages.push(message)
        if (message.event !== 'position') this.receivedAtMs.push(Date.now())
        if (message.id !== undefined) this.#lastId = message.id
      },
      onComment: () => {
        this.comments += 1
      },
      onRetry: (ms) => {
        this.retryMs = ms
      },
    })
    response.setEncoding('utf8').on('data', (text: string) => parser.feed(text))
    response.on('error', () => undefined)
    this.ended = new Promise((resolve) => {
      response.on('close', () => {
        this.#hasEnded = true
        resolve()
      })
    })
  }

  /** What EventSource would send as Last-Event-ID. */
  get lastId(): string {
    if (this.#lastId === undefined) throw new Error('nothing with an id has come')
    return this.#lastId
  }

  get hasEnded(): boolean {
    return this.#hasEnded
  }

  get events(): FeedEvent[] {
    return this.messages
      .filter(({ event }) => event !== 'position' && event !== 'end')
      .map(({ data }) => JSON.parse(data))
  }

  async received(count: number): Promise<FeedEvent[]> {
    await until(() => this.receivedAtMs.length >= count)
    return this.events
  }

  /** Takes nothing more from the socket. */
  hang(): void {
    this.#response.pause()
  }

  goOn(): void {
    this.#response.resume()
  }

  close(): void {
    this.#response.destroy()
  }
}
