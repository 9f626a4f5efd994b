import { once } from 'node:events'
import { createServer, type IncomingHttpHeaders, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { WebhookEvent } from '../../../src/history/webhooks/webhook-event.js'
import type { Teardown } from '../../postgres.js'

/** A request as it came. */
export interface ReceivedRequest {
  path: string
  headers: IncomingHttpHeaders
  body: Buffer
  events: WebhookEvent[]
}

/** A status, with headers perhaps; no answer at all; or a connection that is cut. */
export type TestAnswer =
  | number
  | { status: number; headers: Record<string, string> }
  | 'hang'
  | 'cut'

/** A real receiver on a port of its own, which answers as the test wants, 200 unless it says. */
export class TestReceiver {
  answer: (request: ReceivedRequest) => TestAnswer = () => 200
  readonly requests: ReceivedRequest[] = []
  /** Requests that were answered with 2xx. */
  readonly accepted: ReceivedRequest[] = []
  /** What was in them, and their ids, but for tests. */
  readonly events: WebhookEvent[] = []
  readonly ids: string[] = []
  readonly #server: Server
  #port = 0

  static async start(t: Teardown): Promise<TestReceiver> {
    const receiver = new TestReceiver()
    await receiver.listen()
    t.teardown(() => receiver.close())
    return receiver
  }

  private constructor() {
    this.#server = createServer((request, response) => {
      const pieces: Buffer[] = []
      request.on('data', (piece: Buffer) => pieces.push(piece))
      request.on('end', () => {
        const body = Buffer.concat(pieces)
        const { headers, url = '' } = request
        const { events } = JSON.parse(body.toString())
        this.#take({ path: url, headers, body, events }, response)
      })
    })
  }

  get url(): string {
    return `http://127.0.0.1:${this.#port}/hook`
  }

  /** Listens, again after `close` on the same port. */
  async listen(): Promise<void> {
    this.#server.listen(this.#port, '127.0.0.1')
    await once(this.#server, 'listening')
    this.#port = (this.#server.address() as AddressInfo).port
  }

  async close(): Promise<void> {
    if (!this.#server.listening) return
    this.#server.closeAllConnections()
    this.#server.close()
    await once(this.#server, 'close')
  }

  #take(request: ReceivedRequest, response: ServerResponse): void {
    this.requests.push(request)
    const answer = this.answer(request)
    if (answer === 'hang') return
    if (answer === 'cut') {
      response.destroy()
      return
    }
    const { status, headers } =
      typeof answer === 'number' ? { status: answer, headers: {} } : answer
    if (status >= 200 && status < 300) this.#accept(request)
    response.writeHead(status, headers).end('what it says is read by nobody')
  }

  #accept(request: ReceivedRequest): void {
    this.accepted.push(request)
    for (const event of request.events) {
      if (event.type === 'webhook.test') continue
      this.events.push(event)
      this.ids.push(event.id)
    }
  }
}

/** Whether a request carries an event of a test, or a probe. */
export function isTest({ events }: ReceivedRequest): boolean {
  return events[0].type === 'webhook.test'
}
