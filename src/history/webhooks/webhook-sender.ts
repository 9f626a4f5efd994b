import { Agent, type ClientRequest, type IncomingMessage, request as plainRequest } from 'node:http'
import { Agent as SecureAgent, request as secureRequest } from 'node:https'
import { type AddressPolicy, guardedLookup, urlProblem } from './address-guard.js'
import type { WebhookRequest } from './webhook-signature.js'

export interface SenderOptions extends AddressPolicy {
  /** From the first byte of a connection to the last of an answer. */
  timeoutMs: number
}

/** What a receiver has answered; of its body nothing is kept. */
export interface WebhookAnswer {
  status: number
  /** The header Retry-After, as it came. */
  retryAfter: string | undefined
}

const idleConnectionsMax = 64
/** What a receiver says in its body is for nobody; beyond this the connection is not worth keeping. */
const bodyBytesMax = 16_384

/** Sends requests, follows no redirect, and gives up in time. */
export class WebhookSender {
  readonly #options: SenderOptions
  readonly #plain: Agent
  readonly #secure: SecureAgent

  constructor(options: SenderOptions) {
    this.#options = options
    const agent = { keepAlive: true, maxFreeSockets: idleConnectionsMax }
    this.#plain = new Agent(agent)
    this.#secure = new SecureAgent(agent)
  }

  /** Rejects with an error that has a `code`, which says nothing of the inside of this network. */
  async send(url: string, request: WebhookRequest, signal: AbortSignal): Promise<WebhookAnswer> {
    // The setting may be another one than when the receiver was made.
    if (urlProblem(url, this.#options) !== undefined) throw new SendError('address_not_allowed')
    const deadline = performance.now() + this.#options.timeoutMs
    try {
      return await this.#sendOnce(url, request, { signal, deadline, isFresh: false })
    } catch (error) {
      // A connection that was kept had been closed at the other end, which nobody could know.
      if (!(error instanceof StaleConnectionError)) throw error
      return await this.#sendOnce(url, request, { signal, deadline, isFresh: true })
    }
  }

  close(): void {
    this.#plain.destroy()
    this.#secure.destroy()
  }

  #sendOnce(
    url: string,
    { headers, body }: WebhookRequest,
    { signal, deadline, isFresh }: { signal: AbortSignal; deadline: number; isFresh: boolean },
  ): Promise<WebhookAnswer> {
    return new Promise((resolve, reject) => {
      const isPlain = url.startsWith('http:')
      const { allowsPrivate } = this.#options
      const request: ClientRequest = (isPlain ? plainRequest : secureRequest)(url, {
        method: 'POST',
        headers,
        agent: isFresh ? false : isPlain ? this.#plain : this.#secure,
        lookup: guardedLookup({ allowsPrivate, isPlain }),
        signal,
      })
      const timer = setTimeout(
        () => request.destroy(new SendError('timeout')),
        Math.max(0, deadline - performance.now()),
      )
      request.on('close', () => clearTimeout(timer))
      request.on('error', (error: NodeJS.ErrnoException) => {
        const { code = 'unknown' } = error
        const isStale = request.reusedSocket && (code === 'ECONNRESET' || code === 'EPIPE')
        reject(isStale ? new StaleConnectionError() : new SendError(code, error))
      })
      request.on('response', (response) => {
        drain(response)
        const { statusCode = 0 } = response
        resolve({ status: statusCode, retryAfter: response.headers['retry-after'] })
      })
      request.end(body)
    })
  }
}

/** Reads the rest of an answer, so that its connection can be used again; not without end. */
function drain(response: IncomingMessage): void {
  let bytes = 0
  response.on('error', () => undefined)
  response.on('data', (piece: Buffer) => {
    bytes += piece.length
    if (bytes > bodyBytesMax) response.destroy()
  })
}

/** No answer came. */
export class SendError extends Error {
  readonly code: string

  constructor(code: string, cause?: unknown) {
    super(`no answer: ${code}`, { cause })
    this.code = code
  }
}

class StaleConnectionError extends Error {}
