import type { Socket } from 'node:net'
import helmet from '@fastify/helmet'
import swagger from '@fastify/swagger'
import swaggerUi from '@fastify/swagger-ui'
import type { TypeBoxTypeProvider } from '@fastify/type-provider-typebox'
import { type FastifyBaseLogger, type FastifyInstance, fastify } from 'fastify'
import { v7 } from 'uuid'
import { keyTextPattern } from '../key.js'
import { accountRoutes } from './accounts.js'
import { batchRoutes } from './batches.js'
import { acceptJson } from './bodies.js'
import { BodyBudget } from './body-budget.js'
import type { ApiParts } from './context.js'
import { ApiError, sendError } from './errors.js'
import { errorKinds } from './statuses.js'
import { type SystemParts, systemRoutes } from './system.js'
import { transactionRoutes } from './transactions.js'

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
    disableRequestLogging: !options.logRequests,
    requestIdHeader: false,
    genReqId: correlationOf,
    requestIdLogLabel: 'correlationId',
    bodyLimit: bodyBytesMax,
    requestTimeout: options.bodyTimeoutMs,
    http: { connectionsCheckingInterval: Math.min(options.bodyTimeoutMs, 1000) },
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

  // Responses are typed against their schemas; JSON.stringify drops nothing silently.
  app.setSerializerCompiler(() => (value) => JSON.stringify(value))
  app.setErrorHandler(sendError)
  app.setNotFoundHandler((request, reply) =>
    sendError(
      new ApiError('route_not_found', `there is no ${request.method} ${request.url}`),
      request,
      reply,
    ),
  )
  addHooks(app as unknown as FastifyInstance, system, options)
  acceptJson(app as unknown as FastifyInstance)

  await app.register(swagger, {
    openapi: {
      openapi: '3.1.0',
      info: {
        title: 'Daybook',
        description: 'An in-memory transaction processor for account and loan ledgers.',
        version: '1',
        license: { name: 'Apache-2.0', identifier: 'Apache-2.0' },
      },
      servers: [{ url: 'http://127.0.0.1:3000' }],
    },
  })
  await app.register(helmet, { global: false })
  await app.register(swaggerUi, { routePrefix: '/docs' })
  await app.register(systemRoutes, { system })
  await app.register(accountRoutes, { parts })
  await app.register(transactionRoutes, { parts })
  await app.register(batchRoutes, { parts })
  app.get('/openapi.json', { schema: { hide: true } }, async () => app.swagger())
  return app as unknown as FastifyInstance
}

function addHooks(app: FastifyInstance, system: SystemParts, options: ServerOptions): void {
  const budget = new BodyBudget()
  app.addHook('onRequest', async (request, reply) => {
    void reply.header('x-correlation-id', request.id)
    const given = request.headers['x-correlation-id']
    if (given !== undefined && given !== request.id) {
      throw new ApiError(
        'invalid_request',
        'X-Correlation-Id is neither a UUID nor a name of 1 to 64 characters',
        { field: 'X-Correlation-Id' },
      )
    }
    assertLoopbackHost(request.headers.host)
    budget.enter(request)
  })
  app.addHook('onResponse', async (request, reply) => {
    budget.leave(request)
    const milliseconds = reply.elapsedTime
    const route = request.routeOptions.url ?? 'unknown'
    system.metrics.onResponse(route, request.method, reply.statusCode, milliseconds / 1000)
    if (options.logRequests) return
    if (milliseconds >= options.logSlowMs || Math.random() < options.logSample) {
      request.log.info(
        { method: request.method, route, status: reply.statusCode, milliseconds },
        'request',
      )
    }
  })
  app.addHook('onRequestAbort', async (request) => budget.leave(request))
}

const correlationPattern = new RegExp(keyTextPattern)

/** The correlation id of a request: the client's, if it can be one, or a new one. */
function correlationOf(request: {
  headers: Record<string, string | string[] | undefined>
}): string {
  const given = request.headers['x-correlation-id']
  return typeof given === 'string' && correlationPattern.test(given) ? given : v7()
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

/** Answers a connection whose request could not even be read. */
function answerClientError(error: Error & { code?: string }, socket: Socket): void {
  if (error.code === 'ECONNRESET' || socket.destroyed) return
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
      correlationId: v7(),
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

const clientErrorMessages = {
  request_timeout: 'the request took too long to arrive',
  headers_too_large: 'the headers are too large',
  invalid_request: 'the request is not well-formed HTTP',
}
