import { connect, type Socket } from 'node:net'
import { Writable } from 'node:stream'
import type { FastifyInstance } from 'fastify'
import { pino } from 'pino'
import tap, { type Test } from 'tap'
import { buildServer } from '../../src/api/server.js'
import { readConfig } from '../../src/config.js'
import { CurrencyList } from '../../src/currency.js'
import { serverMetrics } from '../../src/metrics.js'
import { DaybookNode } from '../../src/node.js'
import { type Teardown, type TemporaryPostgres, temporaryPostgres } from '../postgres.js'

/** JSON of an answer; tests reach into it and compare, so its shape is not spelled out. */
// biome-ignore lint/suspicious/noExplicitAny: what a test expects of an answer is what it asserts.
export type Json = any

export interface Answer {
  status: number
  headers: Headers
  /** The parsed body if it is JSON. */
  json: Json
  bytes: Buffer
}

export interface CallOptions {
  /** Sent as JSON; a string or bytes are sent as they are. */
  body?: unknown
  headers?: Record<string, string>
}

export interface ApiServer {
  app: FastifyInstance
  url: string
  port: number
  databaseUrl: string
  postgres: TemporaryPostgres
  /** Every line that the server has logged. */
  logs: string[]
  /** Asks the server, and fails if its OpenAPI document does not know such an answer. */
  call(method: string, path: string, options?: CallOptions): Promise<Answer>
  post(path: string, body: unknown, headers?: Record<string, string>): Promise<Answer>
  get(path: string): Promise<Answer>
  patch(path: string, body: unknown): Promise<Answer>
  /** Brings the node to `serving`; only needed with `start: false`. */
  start(): Promise<void>
}

export interface ApiServerOptions {
  environment?: Record<string, string>
  /** False: listen, and leave the node in the phase `created`. */
  start?: boolean
  /** A cluster of its own, which the test may kill. */
  ownPostgres?: boolean
}

/** One cluster for all servers of a test file that do not ask for their own. */
let shared: Promise<TemporaryPostgres> | undefined

function sharedPostgres(): Promise<TemporaryPostgres> {
  shared ??= temporaryPostgres(tap)
  return shared
}

/** A Daybook in this process on a database of its own, put together as main.ts does it. */
export async function startApi(t: Teardown, options: ApiServerOptions = {}): Promise<ApiServer> {
  const own = options.ownPostgres === true
  const postgres = own ? await temporaryPostgres(t, { own }) : await sharedPostgres()
  const databaseUrl = await postgres.createDatabase()
  const config = readConfig({
    DATABASE_URL: databaseUrl,
    DAYBOOK_PORT: '0',
    DAYBOOK_HISTORY: 'off',
    DAYBOOK_LOG_LEVEL: 'trace',
    ...options.environment,
  })
  const logs: string[] = []
  const log = pino({ level: config.process.logLevel }, linesInto(logs))
  const node = new DaybookNode(config, log, (fault) => {
    throw fault
  })
  const app = await buildServer(
    {
      clock: node.clock,
      currencies: new CurrencyList(config.book.extraCurrencies),
      servicer: config.process.servicer,
      serving: () => node.serving,
    },
    {
      status: () => node.status,
      shardMetrics: () => node.shardMetrics(),
      digestOf: (stream, slot) => node.digestOf(stream, slot),
      metrics: serverMetrics({
        router: () => node.serving?.router,
        feed: () => node.feedGauges,
        redis: () => node.redisGauges,
      }),
    },
    { logger: log, ...config.process },
  )
  t.teardown(async () => {
    await app.close()
    await node.stop()
  })
  const url = await app.listen({ host: config.process.host, port: config.process.port })
  if (options.start !== false) {
    await node.start()
    // Who reads the history does not want to hear that it is being built.
    if (config.process.history) {
      await eventually(async () => (await fetch(`${url}/v1/transactions?limit=1`)).status !== 503)
    }
  }
  const documented = documentedAnswers(app)
  const call: ApiServer['call'] = async (method, path, { body, headers } = {}) => {
    const raw = typeof body === 'string' || body instanceof Uint8Array
    const response = await fetch(url + path, {
      method,
      headers: {
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
        ...headers,
      },
      ...(body === undefined ? {} : { body: raw ? Buffer.from(body) : JSON.stringify(body) }),
    })
    const answer = await answerOf(response)
    documented(method, path, answer)
    return answer
  }
  return {
    app,
    url,
    port: Number(new URL(url).port),
    databaseUrl,
    postgres,
    logs,
    call,
    post: (path, body, headers) => call('POST', path, { body, headers }),
    get: (path) => call('GET', path),
    patch: (path, body) => call('PATCH', path, { body }),
    start: () => node.start(),
  }
}

function linesInto(lines: string[]): Writable {
  return new Writable({
    write(chunk, _encoding, done) {
      lines.push(String(chunk))
      done()
    },
  })
}

async function answerOf(response: Response): Promise<Answer> {
  const bytes = Buffer.from(await response.arrayBuffer())
  const isJson = response.headers.get('content-type')?.startsWith('application/json') === true
  return {
    status: response.status,
    headers: response.headers,
    json: isJson ? JSON.parse(bytes.toString()) : undefined,
    bytes,
  }
}

/** Throws for an answer of a documented route that the OpenAPI document does not list. */
function documentedAnswers(app: FastifyInstance) {
  const { paths } = app.swagger() as Json
  const routes = Object.keys(paths).map((path) => ({
    path,
    // The route with the fewest parameters comes first, as it does in the router.
    pattern: new RegExp(`^${path.replaceAll(/\{[^}]+\}/g, '[^/]+')}$`),
    parameters: path.split('{').length,
  }))
  routes.sort((a, b) => a.parameters - b.parameters)
  return (method: string, path: string, answer: Answer) => {
    const route = routes.find(({ pattern }) => pattern.test(path.split('?')[0]))
    const operation = paths[route?.path ?? '']?.[method.toLowerCase()]
    if (operation === undefined) return
    const documented = operation.responses[answer.status]
    const shown = `${method} ${route?.path} answered ${answer.status}`
    if (documented === undefined) throw new Error(`${shown}, which openapi.json does not list`)
    const code = answer.json?.error?.code
    if (code !== undefined && !documented.description.split(/\W+/).includes(code)) {
      throw new Error(`${shown} ${code}, which openapi.json does not list`)
    }
  }
}

/** What a server sends back on a connection that is given `pieces` one after the other. */
export async function rawExchange(
  port: number,
  pieces: readonly (string | Buffer)[],
  options: { half?: boolean; until?: (received: string) => boolean } = {},
): Promise<string> {
  const socket = connect(port, '127.0.0.1')
  socket.on('error', () => undefined)
  const received = collect(socket)
  for (const piece of pieces) {
    await new Promise<void>((resolve) => socket.write(piece, () => resolve()))
  }
  if (options.half === true) socket.end()
  return await new Promise((resolve) => {
    const finish = () => {
      socket.destroy()
      resolve(received.text)
    }
    socket.on('close', finish)
    socket.on('data', () => {
      if (options.until?.(received.text) === true) finish()
    })
    if (options.until?.(received.text) === true || socket.closed) finish()
  })
}

function collect(socket: Socket): { text: string } {
  const received = { text: '' }
  socket.setEncoding('latin1').on('data', (text: string) => {
    received.text += text
  })
  return received
}

/** Asserts a refusal: its status, its code, and whether it says that it may pass by itself. */
export function refused(
  t: Test,
  answer: Answer,
  status: number,
  code: string,
  transient = false,
): void {
  t.equal(answer.status, status, `${code}: ${status}`, { answer: answer.json })
  t.equal(answer.json?.error?.code, code, code)
  t.equal(answer.json?.error?.details.transient, transient, `${code}: transient is ${transient}`)
}

/** Asks again until `condition` gives something; fails after ten seconds. */
export async function eventually<T>(
  condition: () => Promise<T | undefined | false> | T | undefined | false,
): Promise<T> {
  const deadline = Date.now() + 60_000
  for (;;) {
    const result = await condition()
    if (result !== undefined && result !== false) return result
    if (Date.now() > deadline) throw new Error('what the test waits for did not happen in time')
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
}

/** Opens accounts in EUR that the tests post between: `cash` (asset), `ada` and `ben`. */
export async function openAccounts(api: ApiServer): Promise<void> {
  for (const account of [
    { id: 'cash', currency: 'EUR', class: 'asset', overdraftLimit: 'unlimited' },
    { id: 'ada', currency: 'EUR', class: 'liability' },
    { id: 'ben', currency: 'EUR', class: 'liability' },
  ]) {
    const { status } = await api.post('/v1/accounts', account)
    if (status !== 201) throw new Error(`an account could not be opened: ${status}`)
  }
}
