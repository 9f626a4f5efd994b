import type { FastifyPluginAsync } from 'fastify'
import type { ServerMetrics } from '../metrics.js'
import type { NodeStatus } from '../node.js'
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
  app.get('/health', { schema: { summary: 'The process is alive' } }, async () => ({
    status: 'ok',
  }))

  app.get(
    '/ready',
    { schema: { summary: 'The process serves; 503 with the phase until it does' } },
    async (_request, reply) => {
      const status = system.status()
      const ready = status.phase === 'serving'
      return reply.code(ready ? Status.ok : Status.notReady).send({ ready, ...status })
    },
  )

  app.get('/metrics', { schema: { summary: 'Prometheus metrics' } }, async (_request, reply) => {
    const text = await system.metrics.expose(await system.shardMetrics())
    return reply.type(system.metrics.contentType).send(text)
  })
}
