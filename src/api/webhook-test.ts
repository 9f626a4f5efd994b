import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Type } from 'typebox'
import { type Outcome, outcomeOf, outcomeOfError } from '../history/webhooks/outcome.js'
import type { Receiver } from '../history/webhooks/receiver.js'
import { testEvent } from '../history/webhooks/webhook-event.js'
import { SendError } from '../history/webhooks/webhook-sender.js'
import { webhookRequest } from '../history/webhooks/webhook-signature.js'
import { newKeyText } from '../key.js'
import { type ApiParts, contextOf } from './context.js'
import { ApiError } from './errors.js'
import { KeyText } from './schemas.js'
import { receiverOf, type WebhookAccess, webhookKeyOf, withWebhooks } from './webhook-access.js'
import { webhookTested } from './webhook-responses.js'

const Params = Type.Object({ id: KeyText })

/** Tests under way; each waits for a receiver as long as a delivery does. */
const testsMax = 8

/** `/v1/webhooks/{id}/test`: whether somebody is there, whatever the state of the webhook. */
export const webhookTestRoutes: FastifyPluginAsyncTypebox<{ parts: ApiParts }> = async (
  app,
  { parts },
) => {
  let tests = 0

  app.post(
    '/v1/webhooks/:id/test',
    {
      schema: {
        summary: 'Send a webhook an event of the type webhook.test',
        operationId: 'testWebhook',
        tags: ['webhooks'],
        params: Params,
        response: webhookTested,
      },
    },
    async (request) => {
      const { tenant } = contextOf(request)
      return await withWebhooks(parts, async (access) => {
        const key = webhookKeyOf(access)
        const receiver = await receiverOf(access, tenant, request.params.id)
        if (tests >= testsMax) throw new ApiError('overloaded', 'too many tests are under way')
        tests += 1
        try {
          return { data: await tested(parts, access, receiver, key), meta: {} }
        } finally {
          tests -= 1
        }
      })
    },
  )
}

async function tested(
  parts: ApiParts,
  { sender }: WebhookAccess,
  receiver: Receiver,
  key: Buffer,
): Promise<Omit<Outcome, 'kind'> & { outcome: Outcome['kind']; durationMs: number }> {
  const { clock } = parts
  const event = testEvent(receiver.tenant, newKeyText(), clock.now())
  const signed = webhookRequest(receiver, [event], { key, nowMs: clock.now() })
  const beganMs = clock.monotonic()
  const { kind, status, error } = await sender
    .send(receiver.url, signed, forEver)
    .then((answer) => outcomeOf(answer, clock.now()))
    .catch((fault: Error) => {
      if (fault instanceof SendError) return outcomeOfError(fault)
      throw fault
    })
  return { outcome: kind, status, error, durationMs: Math.round(clock.monotonic() - beganMs) }
}

/** The sender has a deadline of its own. */
const forEver = new AbortController().signal
