import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Type } from 'typebox'
import { type ApiParts, contextOf } from './context.js'
import { askedPage, nextCursor, type Paging } from './history-page.js'
import { KeyText } from './schemas.js'
import { receiverOf, withWebhooks } from './webhook-access.js'
import { deadLettersChosen, deadLettersListed, deliveriesListed } from './webhook-responses.js'
import { DeadLetterChoice, WebhookListQuery } from './webhook-schemas.js'

const Params = Type.Object({ id: KeyText })
const placeMax = [Number.MAX_SAFE_INTEGER]

/** `/v1/webhooks/{id}/…`: what became of what was sent. */
export const webhookDeliveryRoutes: FastifyPluginAsyncTypebox<{ parts: ApiParts }> = async (
  app,
  { parts },
) => {
  app.get(
    '/v1/webhooks/:id/deliveries',
    {
      schema: {
        summary: 'List the newest requests to a webhook',
        operationId: 'listWebhookDeliveries',
        tags: ['webhooks'],
        params: Params,
        querystring: WebhookListQuery,
        response: deliveriesListed,
      },
    },
    async (request) => {
      const { tenant } = contextOf(request)
      return await withWebhooks(parts, async (access) => {
        const { id } = await receiverOf(access, tenant, request.params.id)
        const paging: Paging = { list: `deliveries ${id}`, schema: WebhookListQuery, placeMax }
        const page = askedPage(request, request.query, paging)
        const [before] = page.after ?? []
        const rows = await access.store.attempts(id, { before, limit: page.limit + 1 })
        const places = rows.map((row) => ({ place: [Number(row.id)] }))
        return {
          data: rows.slice(0, page.limit).map(({ atMs, ...row }) => {
            return { ...row, at: new Date(atMs).toISOString() }
          }),
          meta: { cursor: nextCursor(paging, page, places) },
        }
      })
    },
  )

  app.get(
    '/v1/webhooks/:id/dead-letters',
    {
      schema: {
        summary: 'List the events that a webhook did not take, oldest first',
        operationId: 'listDeadLetters',
        tags: ['webhooks'],
        params: Params,
        querystring: WebhookListQuery,
        response: deadLettersListed,
      },
    },
    async (request) => {
      const { tenant } = contextOf(request)
      return await withWebhooks(parts, async (access) => {
        const { id } = await receiverOf(access, tenant, request.params.id)
        const paging: Paging = { list: `dead letters ${id}`, schema: WebhookListQuery, placeMax }
        const page = askedPage(request, request.query, paging)
        const [after] = page.after ?? []
        const rows = await access.store.deadLetters(id, { after, limit: page.limit + 1 })
        const places = rows.map((row) => ({ place: [Number(row.id)] }))
        return {
          data: rows.slice(0, page.limit).map(({ firstMs, lastMs, isResending, ...row }) => ({
            ...row,
            firstAttemptAt: new Date(firstMs).toISOString(),
            lastAttemptAt: new Date(lastMs).toISOString(),
            resending: isResending,
          })),
          meta: { cursor: nextCursor(paging, page, places) },
        }
      })
    },
  )

  for (const { verb, summary, operationId } of [
    { verb: 'resend', summary: 'Send dead letters again', operationId: 'resendDeadLetters' },
    { verb: 'discard', summary: 'Forget dead letters', operationId: 'discardDeadLetters' },
  ] as const) {
    app.post(
      `/v1/webhooks/:id/dead-letters/${verb}`,
      {
        schema: {
          ...{ summary, operationId },
          tags: ['webhooks'],
          params: Params,
          body: DeadLetterChoice,
          response: deadLettersChosen,
        },
      },
      async (request) => {
        const { tenant } = contextOf(request)
        return await withWebhooks(parts, async (access) => {
          const { id } = await receiverOf(access, tenant, request.params.id)
          const count = await access.store[verb](id, request.body.ids)
          return { data: { count }, meta: {} }
        })
      },
    )
  }
}
