import type { FastifyPluginAsync } from 'fastify'
import type { ServerMetrics } from '../metrics.js'
import type { NodeStatus } from '../node.js'
import { systemResponses } from './responses.js'
import { Status } from './statuses.js'

export interface SystemParts {
  status(): NodeStatus
  shardMetrics(): Promise<object[]>
  metrics: ServerMetrics
}

/** `/health`, `/ready` and `/metrics`, for whoever operates the server. */
export const systemRoutes: FastifyPluginAsync<{ system: SystemParts }> = async (
  app,
  { system },
) => {
  const { health, ready, metrics } = systemResponses
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
