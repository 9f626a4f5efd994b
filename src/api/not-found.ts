import type { FastifyInstance } from 'fastify'
import { ApiError, sendError } from './errors.js'

/** Answers what no route takes: 405 with the header Allow if only the method is wrong, else 404. */
export function answerUnknownRoutes(app: FastifyInstance): void {
  const routes: { pattern: RegExp; method: string }[] = []
  app.addHook('onRoute', ({ url, method }) => {
    const pattern = url.replaceAll(/:[^/]+/g, '[^/]+').replaceAll('*', '.*')
    for (const each of [method].flat()) {
      routes.push({ pattern: new RegExp(`^${pattern}$`), method: each })
    }
  })
  app.setNotFoundHandler((request, reply) => {
    const path = request.url.split('?', 1)[0]
    const allowed = routes.filter(({ pattern }) => pattern.test(path)).map(({ method }) => method)
    const asked = `${request.method} ${path}`
    // Of a folder of files the method may be right and the file not there.
    if (allowed.length === 0 || allowed.includes(request.method)) {
      return sendError(new ApiError('route_not_found', `there is no ${asked}`), request, reply)
    }
    void reply.header('allow', [...new Set(allowed)].join(', '))
    return sendError(new ApiError('method_not_allowed', `there is no ${asked}`), request, reply)
  })
}
