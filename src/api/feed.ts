import { once } from 'node:events'
import type { ServerResponse } from 'node:http'
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import type { FeedEventType } from '../history/feed/feed-event.js'
import { FeedRefusal } from '../history/feed/feed-thread.js'
import { formatKey } from '../key.js'
import { type ApiParts, contextOf, servingPartsOf } from './context.js'
import { ApiError, invalidField } from './errors.js'
import { FeedQuery, feedAccountsMax } from './history-schemas.js'
import { feedHeard } from './responses.js'
import { keyField } from './transaction-input.js'

/** What a listener may take to read the last words of a server that stops. */
const lastWordsMs = 1000

/** `/v1/feed`: what happens, as it happens, for as long as somebody listens. */
export const feedRoutes: FastifyPluginAsyncTypebox<{ parts: ApiParts }> = async (
  app,
  { parts },
) => {
  const open = new Set<ServerResponse>()

  // The server would wait for those who listen, and they for the server.
  app.addHook('preClose', async () => {
    if (open.size === 0) return
    parts.serving()?.feed.endAll()
    const ended = Promise.all([...open].map((response) => once(response, 'close')))
    const timer = parts.clock.schedule(lastWordsMs, () => {
      for (const response of open) response.destroy()
    })
    await ended
    timer.cancel()
  })

  app.get(
    '/v1/feed',
    {
      schema: {
        summary: 'Listen to what happens',
        operationId: 'readFeed',
        tags: ['history'],
        description:
          'Server-sent events, each with its type as `event`, a FeedEvent as `data`, and as `id` the ' +
          'position from which to go on after it. At least once, in order per account, and only what ' +
          'is durable: docs/feed.md.',
        querystring: FeedQuery,
        response: feedHeard,
      },
    },
    async (request, reply) => {
      const { tenant } = contextOf(request)
      const { feed } = servingPartsOf(parts)
      const { account, type } = request.query
      const given = request.headers['last-event-id']
      const [field, after] =
        typeof given === 'string' && given !== ''
          ? ['Last-Event-ID', given]
          : ['after', request.query.after]
      const accounts = listed(account)?.map((name) => formatKey(keyField(tenant, name, 'account')))
      if (accounts !== undefined && accounts.length > feedAccountsMax) {
        throw invalidField('account', `names more than ${feedAccountsMax} accounts`)
      }
      const types = listed(type) as FeedEventType[] | undefined
      const response = reply.raw
      open.add(response)
      response.once('close', () => open.delete(response))
      const text = await feed
        .listen({ tenant, accounts, types, after })
        .catch((error: Error) => Promise.reject(answerOf(error, field)))
      // Of one who has gone meanwhile no response would ever end the text.
      if (!open.has(response)) {
        text.destroy()
        return reply.hijack()
      }
      void reply.header('content-type', 'text/event-stream')
      void reply.header('cache-control', 'no-store')
      // Nginx would keep events back until it has a page of them.
      void reply.header('x-accel-buffering', 'no')
      return await reply.send(text)
    },
  )
}

function listed(given: string | string[] | undefined): string[] | undefined {
  return given === undefined ? undefined : [given].flat().flatMap((text) => text.split(','))
}

function answerOf(error: Error, field: string): Error {
  if (!(error instanceof FeedRefusal)) return error
  const { code, message, kept } = error
  switch (code) {
    case 'invalid_request':
      return invalidField(field, message)
    case 'position_unknown':
      return new ApiError(code, `${field} ${message}`, { field })
    case 'position_gone':
      return new ApiError(code, `${field} ${message}`, { field, after: kept })
    case 'stopping':
      return new ApiError('not_ready', message)
    default:
      return new ApiError(code, message)
  }
}
