import type { ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import helmet from '@fastify/helmet'
import swagger from '@fastify/swagger'
import swaggerUi from '@fastify/swagger-ui'
import type { TypeBoxTypeProvider } from '@fastify/type-provider-typebox'
import {
  type FastifyBaseLogger,
  type FastifyInstance,
  type FastifyRequest,
  fastify,
  LogController,
} from 'fastify'
import { keyTextPattern, newKeyText } from '../key.js'
import { accountHistoryRoutes } from './account-history.js'
import { accountSearchRoutes } from './account-search.js'
import { accountRoutes } from './accounts.js'
import { batchRoutes } from './batches.js'
import { acceptJson } from './bodies.js'
import { BodyBudget } from './body-budget.js'
import type { ApiParts } from './context.js'
import { dailyBalanceRoutes } from './daily-balances.js'
import { ApiError, sendError } from './errors.js'
import { feedRoutes } from './feed.js'
import { answerUnknownRoutes } from './not-found.js'
import { openapiOptions } from './openapi.js'
import { errorKinds } from './statuses.js'
import { type SystemParts, systemRoutes } from './system.js'
import { transactionSearchRoutes } from './transaction-search.js'
import { transactionRoutes } from './transactions.js'
import { trialBalanceRoutes } from './trial-balance.js'
import { webhookDeliveryRoutes } from './webhook-deliveries.js'
import { webhookTestRoutes } from './webhook-test.js'
import { webhookRoutes } from './webhooks.js'

export interface ServerOptions {
  logger: FastifyBaseLogger | undefined
  logRequests: boolean
  logSlowMs: number
  logSample: number
  /** A body that takes longer to arrive is given up. */
  bodyTimeoutMs: number
}

const bodyBytesMax = 1024 * 1024
const connectionsMax = 10_000

/** The HTTP server: every plugin by name, in the order in which they apply. */
export async function buildServer(
  parts: ApiParts,
  system: SystemParts,
  options: ServerOptions,
): Promise<FastifyInstance> {
  const app = fastify({
    ...(options.logger === undefined ? {} : { loggerInstance: options.logger }),
    logController: new LogController({
      // Lines are written in onResponse, where slow requests and a sample are chosen.
      disableRequestLogging: true,
    }),
    requestIdHeader: false,
    genReqId: correlationOf,
    bodyLimit: bodyBytesMax,
    // While it closes, Fastify would answer 503 in a shape of its own; the node still serves.
    return503OnClosing: false,
    requestTimeout: options.bodyTimeoutMs,
    http: {
      connectionsCheckingInterval: Math.min(options.bodyTimeoutMs, 1000),
      // Node swaps the two if the headers are given longer than the whole request.
      headersTimeout: options.bodyTimeoutMs,
      requestTimeout: options.bodyTimeoutMs,
      // A missing Host is answered by assertLoopbackHost, in the shape of all errors.
      requireHostHeader: false,
    },
    routerOptions: { maxParamLength: 128 },
    exposeHeadRoutes: false,
    clientErrorHandler: answerClientError,
    frameworkErrors: (error, request, reply) => void sendError(error, request, reply),
    ajv: {
      customOptions: {
        removeAdditional: false,
        coerceTypes: false,
        useDefaults: false,
        verbose: true,
        allowUnionTypes: true,
        formats: { text: (value: string) => !value.includes('\0') && value.isWellFormed() },
      },
    },
  }).withTypeProvider<TypeBoxTypeProvider>()
  app.server.maxConnections = connectionsMax
  // A logger of its own for each request costs more than reading the request's JSON.
  app.setChildLoggerFactory((logger) => logger)

  // Responses are typed against their schemas; JSON.stringify drops nothing silently.
  app.setSerializerCompiler(() => (value) => JSON.stringify(value))
  app.setErrorHandler(sendError)
  answerUnknownRoutes(app as unknown as FastifyInstance)
  addHooks(app as unknown as FastifyInstance, system, options)
  acceptJson(app as unknown as FastifyInstance)

  await app.register(swagger, openapiOptions)
  await app.register(helmet, { global: false })
  await app.register(swaggerUi, { routePrefix: '/docs' })
  await app.register(systemRoutes, { system })
  await app.register(accountRoutes, { parts })
  await app.register(transactionRoutes, { parts })
  await app.register(batchRoutes, { parts })
  await app.register(accountHistoryRoutes, { parts })
  await app.register(dailyBalanceRoutes, { parts })
  await app.register(accountSearchRoutes, { parts })
  await app.register(transactionSearchRoutes, { parts })
  await app.register(trialBalanceRoutes, { parts })
  await app.register(feedRoutes, { parts })
  await app.register(webhookRoutes, { parts })
  await app.register(webhookTestRoutes, { parts })
  await app.register(webhookDeliveryRoutes, { parts })
  app.get('/openapi.json', { schema: { hide: true } }, async () => app.swagger())
  return app as unknown as FastifyInstance
}

function addHooks(app: FastifyInstance, system: SystemParts, options: ServerOptions): void {
  const budget = new BodyBudget()
  system.metrics.watchBodies(() => budget.bytes)
  // Callbacks, not promises: these run for every request.
  app.addHook('onRequest', (request, reply, done) => {
    void reply.header('x-correlation-id', request.id)
    try {
      assertCorrelationId(request)
      assertLoopbackHost(request.headers.host)
      assertLoopbackOrigin(request.headers.origin)
      budget.enter(request)
    } catch (error) {
      done(error as Error)
      return
    }
    done()
  })
  app.addHook('onResponse', (request, reply, done) => {
    budget.leave(request)
    const milliseconds = reply.elapsedTime
    const route = request.routeOptions.url ?? 'unknown'
    system.metrics.onResponse(route, request.method, reply.statusCode, milliseconds / 1000)
    const isLogged =
      options.logRequests || milliseconds >= options.logSlowMs || Math.random() < options.logSample
    if (isLogged) {
      const { id, method } = request
      const line = { correlationId: id, method, route, status: reply.statusCode, milliseconds }
      request.log.info(line, 'request')
    }
    done()
  })
  app.addHook('onRequestAbort', (request, done) => {
    budget.leave(request)
    done()
  })
}

/** The id that was given must be the one that is used: it ends up in records. */
function assertCorrelationId(request: FastifyRequest): void {
  const given = request.headers['x-correlation-id']
  if (given === undefined || given === request.id) return
  throw new ApiError(
    'invalid_request',
    'X-Correlation-Id is neither a UUID nor a name of 1 to 64 characters',
    { field: 'X-Correlation-Id' },
  )
}

const correlationPattern = new RegExp(keyTextPattern)

/** The correlation id of a request: the client's, if it can be one, or a new one. */
function correlationOf(request: {
  headers: Record<string, string | string[] | undefined>
}): string {
  const given = request.headers['x-correlation-id']
  return typeof given === 'string' && correlationPattern.test(given) ? given : newKeyText()
}

const loopbackHost = /^(localhost|127(\.\d{1,3}){3}|\[::1\])(:\d{1,5})?$/

/**
 * A page in a browser can make its own name resolve to this machine; until there are credentials,
 * only requests that name loopback itself are served.
 */
function assertLoopbackHost(host: string | undefined): void {
  if (host === undefined || !loopbackHost.test(host)) {
    throw new ApiError('host_not_allowed', 'the Host header does not name loopback', {
      field: 'Host',
    })
  }
}

/** Nor may a page of another site post to this machine behind its user's back. */
function assertLoopbackOrigin(origin: string | undefined): void {
  if (origin === undefined) return
  if (!loopbackHost.test(origin.replace(/^https?:\/\//, ''))) {
    throw new ApiError('host_not_allowed', 'the Origin header does not name loopback', {
      field: 'Origin',
    })
  }
}

/** Answers a connection whose request could not even be read. */
function answerClientError(error: Error & { code?: string }, socket: Socket): void {
  if (error.code === 'ECONNRESET' || socket.destroyed) return
  if (isAnswerUnderWay(socket)) {
    socket.destroy()
    return
  }
  const code =
    error.code === 'ERR_HTTP_REQUEST_TIMEOUT'
      ? 'request_timeout'
      : error.code === 'HPE_HEADER_OVERFLOW'
        ? 'headers_too_large'
        : 'invalid_request'
  const { status } = errorKinds[code]
  const body = JSON.stringify({
    error: {
      code,
      message: clientErrorMessages[code],
      details: {},
      timestamp: new Date().toISOString(),
      path: '',
      correlationId: newKeyText(),
    },
  })
  if (socket.writable) {
    socket.write(
      `HTTP/1.1 ${status} ${code}\r\ncontent-type: application/json\r\n` +
        `content-length: ${Buffer.byteLength(body)}\r\nconnection: close\r\n\r\n${body}`,
    )
  }
  socket.destroySoon()
}

/**
 * Whether a whole request of this connection waits for its answer. An error written before it
 * would be taken for that answer, and a refusal for what was accepted; Node keeps the message
 * under way in a field that it does not document.
 */
function isAnswerUnderWay(socket: Socket & { _httpMessage?: ServerResponse | null }): boolean {
  return socket._httpMessage?.req.complete === true
}

const clientErrorMessages = {
  request_timeout: 'the request took too long to arrive',
  headers_too_large: 'the headers are too large',
  invalid_request: 'the request is not well-formed HTTP',
}
