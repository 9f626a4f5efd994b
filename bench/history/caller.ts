import { Agent, type IncomingHttpHeaders, request } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Latency } from '../load.js'
import { percentiles } from '../meter.js'
import type { Server } from '../server.js'

export interface Question {
  method: 'GET' | 'POST'
  path: string
  body?: string | Buffer
  headers?: Record<string, string>
}

export interface Answer {
  status: number
  headers: IncomingHttpHeaders
  body: Buffer
}

/** Asks a server over connections that stay open. */
export class Caller {
  readonly #server: Server
  readonly #agent = new Agent({ keepAlive: true, maxSockets: 64 })

  constructor(server: Server) {
    this.#server = server
  }

  ask({ method, path, body, headers = {} }: Question): Promise<Answer> {
    const { host, port } = this.#server
    return new Promise((resolve, reject) => {
      const outgoing = request(
        {
          ...{ host, port, path, method, agent: this.#agent },
          headers:
            body === undefined
              ? headers
              : {
                  'content-type': 'application/json',
                  'content-length': Buffer.byteLength(body),
                  ...headers,
                },
        },
        (incoming) => {
          const parts: Buffer[] = []
          incoming.on('data', (part: Buffer) => parts.push(part))
          incoming.on('end', () =>
            resolve({
              status: incoming.statusCode ?? 0,
              headers: incoming.headers,
              body: Buffer.concat(parts),
            }),
          )
          incoming.on('error', reject)
        },
      )
      outgoing.on('error', reject)
      outgoing.end(body)
    })
  }

  /** The value of a metric, over all its labels. */
  async metric(name: string): Promise<number> {
    const { body } = await this.ask({ method: 'GET', path: '/metrics' })
    const lines = body.toString().matchAll(new RegExp(`^${name}(?:\\{[^}]*\\})? (\\S+)$`, 'gm'))
    return [...lines].reduce((sum, [, value]) => sum + Number(value), 0)
  }

  close(): void {
    this.#agent.destroy()
  }
}

/** Does something `count` times, one after the other. */
export async function latencyInTurn(
  count: number,
  act: (index: number) => Promise<void>,
): Promise<Latency> {
  const latenciesMs = new Float64Array(count)
  for (let index = 0; index < count; index++) {
    const startedAt = performance.now()
    await act(index)
    latenciesMs[index] = performance.now() - startedAt
  }
  return percentiles(latenciesMs)
}

/** Begins something `count` times at a fixed rate; latency counts from when it was due. */
export async function latencyPaced(
  count: number,
  perSecond: number,
  act: (index: number) => Promise<void>,
): Promise<Latency> {
  const latenciesMs = new Float64Array(count)
  const startedAt = performance.now()
  const acts: Promise<void>[] = []
  while (acts.length < count) {
    const due = Math.min(count, ((performance.now() - startedAt) / 1000) * perSecond)
    while (acts.length < due) {
      const index = acts.length
      const dueAt = startedAt + (index / perSecond) * 1000
      acts.push(
        act(index).then(() => {
          latenciesMs[index] = performance.now() - dueAt
        }),
      )
    }
    await sleep(1)
  }
  await Promise.all(acts)
  return percentiles(latenciesMs)
}
