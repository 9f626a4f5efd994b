import type { TypeBoxTypeProvider } from '@fastify/type-provider-typebox'
import type { FastifyPluginAsync } from 'fastify'
import { Type } from 'typebox'
import type { SlotDigest } from '../actors/slot-digests.js'
import { stripedParts } from '../actors/slot-index.js'
import { slotCount } from '../key.js'
import type { ServerMetrics } from '../metrics.js'
import type { NodeStatus } from '../node.js'
import { ApiError, invalidField } from './errors.js'
import { systemResponses } from './responses.js'
import { Status } from './statuses.js'

export interface SystemParts {
  status(): NodeStatus
  shardMetrics(): Promise<object[]>
  metrics: ServerMetrics
  /** See `DaybookNode.digestOf`. */
  digestOf(stream: number, slot: number): Promise<SlotDigest | undefined>
}

const DigestQuery = Type.Object(
  {
    stream: Type.String({ pattern: '^[1-9][0-9]{0,8}$' }),
    slot: Type.Optional(
      Type.String({
        pattern: '^[0-9]{1,4}$',
        description: `0 to ${slotCount - 1}; absent: the parts of striped accounts`,
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
      const stream = Number(query.stream)
      const slot = query.slot === undefined ? stripedParts : Number(query.slot)
      if (slot >= slotCount) throw invalidField('slot', `must be below ${slotCount}`)
      const read = await system.digestOf(stream, slot)
      if (read === undefined) {
        throw new ApiError('not_ready', `stream ${stream} is not served here, or did not answer`)
      }
      const { seq } = read
      const horizon = read.horizon.map(([stream, seq]) => ({ stream, seq }))
      return { data: { stream, seq, digest: read.digest.toString(16).padStart(64, '0'), horizon } }
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
