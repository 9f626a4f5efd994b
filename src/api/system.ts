import type { TypeBoxTypeProvider } from '@fastify/type-provider-typebox'
import type { FastifyPluginAsync } from 'fastify'
import { Type } from 'typebox'
import { stripedParts } from '../actors/slot-index.js'
import { slotCount } from '../key.js'
import type { ServerMetrics } from '../metrics.js'
import type { NodeStatus } from '../node.js'
import { ApiError } from './errors.js'
import { systemResponses } from './responses.js'
import { Status } from './statuses.js'

export interface SystemParts {
  status(): NodeStatus
  shardMetrics(): Promise<object[]>
  metrics: ServerMetrics
  /** See `DaybookNode.digestOf`. */
  digestOf(stream: number, slot: number): Promise<{ seq: number; digest: bigint } | undefined>
}

const DigestQuery = Type.Object(
  {
    stream: Type.Integer({ minimum: 1, maximum: 2 ** 31 - 1 }),
    slot: Type.Optional(
      Type.Integer({
        minimum: 0,
        maximum: slotCount - 1,
        description: 'Absent: the parts of striped accounts that the stream has',
      }),
    ),
  },
  { additionalProperties: false },
)

/** `/health`, `/ready` and `/metrics`, for whoever operates the server. */
export const systemRoutes: FastifyPluginAsync<{ system: SystemParts }> = async (
  app,
  { system },
) => {
  const { health, ready, metrics, digest } = systemResponses
  const tags = ['system']
  app.get(
    '/health',
    { schema: { summary: 'The process is alive', operationId: 'health', tags, response: health } },
    async () => ({ status: 'ok' }),
  )

  app.get(
    '/ready',
    {
      schema: {
        summary: 'The process serves; 503 with the phase until it does',
        operationId: 'ready',
        tags,
        response: ready,
      },
    },
    async (_request, reply) => {
      const status = system.status()
      const serves = status.phase === 'serving'
      return reply.code(serves ? Status.ok : Status.notReady).send({ ready: serves, ...status })
    },
  )

  const typed = app.withTypeProvider<TypeBoxTypeProvider>()
  typed.get(
    '/v1/system/digest',
    {
      schema: {
        summary: 'Digest of what the server has in memory, a slot at a time; for daybook verify',
        operationId: 'getDigest',
        tags,
        querystring: DigestQuery,
        response: digest,
      },
    },
    async ({ query }) => {
      const { stream, slot } = query
      const read = await system.digestOf(stream, slot ?? stripedParts)
      if (read === undefined) {
        throw new ApiError('not_ready', `stream ${stream} is not served here, or did not answer`)
      }
      const { seq } = read
      return { data: { stream, seq, digest: read.digest.toString(16).padStart(64, '0') } }
    },
  )

  app.get(
    '/metrics',
    {
      schema: {
        summary: 'Prometheus metrics',
        operationId: 'metrics',
        tags,
        produces: ['text/plain'],
        response: metrics,
      },
    },
    async (_request, reply) => {
      const text = await system.metrics.expose(await system.shardMetrics())
      return reply.type(system.metrics.contentType).send(text)
    },
  )
}
