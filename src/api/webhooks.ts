import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { type Static, Type } from 'typebox'
import { urlProblem } from '../history/webhooks/address-guard.js'
import type { Receiver } from '../history/webhooks/receiver.js'
import { type NewReceiver, receiversOfTenantMax } from '../history/webhooks/receiver-store.js'
import { secretText, webhookSecret } from '../history/webhooks/webhook-signature.js'
import { formatKey } from '../key.js'
import { type ApiParts, contextOf } from './context.js'
import { ApiError, invalidField } from './errors.js'
import { KeyText } from './schemas.js'
import { Status } from './statuses.js'
import { keyField, requestedId } from './transaction-input.js'
import {
  receiverOf,
  type WebhookAccess,
  webhookId,
  webhookKeyOf,
  webhookNotFound,
  withWebhooks,
} from './webhook-access.js'
import {
  webhookChanged,
  webhookCreated,
  webhookRead,
  webhookRemoved,
  webhookRotated,
  webhooksListed,
} from './webhook-responses.js'
import {
  batchMaxDefault,
  NewWebhook,
  type WebhookAnswer,
  WebhookChanges,
} from './webhook-schemas.js'

const Params = Type.Object({ id: KeyText })
type ShownWebhook = Static<typeof WebhookAnswer>['data']

/** `/v1/webhooks`: who is told of events, and by which URL. */
export const webhookRoutes: FastifyPluginAsyncTypebox<{ parts: ApiParts }> = async (
  app,
  { parts },
) => {
  app.post(
    '/v1/webhooks',
    {
      schema: {
        summary: 'Create a webhook',
        operationId: 'createWebhook',
        tags: ['webhooks'],
        description: 'The answer has its secret, which is not shown again. See docs/webhooks.md.',
        body: NewWebhook,
        response: webhookCreated,
      },
    },
    async (request, reply) => {
      const { tenant } = contextOf(request)
      return await withWebhooks(parts, async (access) => {
        const key = webhookKeyOf(access)
        const asked = requestedId(request.body.id, request.headers['idempotency-key'])
        const made = newReceiver(access, tenant, request.body, asked)
        const created = await access.store.create(made)
        if (created === undefined) throw limitReached()
        const { receiver, isNew } = created
        if (!isNew) {
          assertSame(receiver, made)
          void reply.header('idempotent-replayed', 'true')
          return { data: shownWebhook(receiver), meta: {} }
        }
        void reply.code(Status.created)
        return { data: withSecret(receiver, key), meta: {} }
      })
    },
  )

  app.get(
    '/v1/webhooks',
    {
      schema: {
        summary: 'List webhooks, oldest first',
        operationId: 'listWebhooks',
        tags: ['webhooks'],
        response: webhooksListed,
      },
    },
    async (request) => {
      const { tenant } = contextOf(request)
      const receivers = await withWebhooks(parts, ({ store }) => store.list(tenant))
      return { data: receivers.map(shownWebhook), meta: {} }
    },
  )

  app.get(
    '/v1/webhooks/:id',
    {
      schema: {
        summary: 'Read a webhook',
        operationId: 'readWebhook',
        tags: ['webhooks'],
        params: Params,
        response: webhookRead,
      },
    },
    async (request) => {
      const { tenant } = contextOf(request)
      const receiver = await withWebhooks(parts, (access) =>
        receiverOf(access, tenant, request.params.id),
      )
      return { data: shownWebhook(receiver), meta: {} }
    },
  )

  app.patch(
    '/v1/webhooks/:id',
    {
      schema: {
        summary: 'Change, pause or resume a webhook',
        operationId: 'changeWebhook',
        tags: ['webhooks'],
        params: Params,
        body: WebhookChanges,
        response: webhookChanged,
      },
    },
    async (request) => {
      const { tenant } = contextOf(request)
      const id = webhookId(tenant, request.params.id)
      return await withWebhooks(parts, async (access) => {
        const { url, accounts, ...changes } = request.body
        if (url !== undefined) assertUrl(access, url)
        const receiver = await access.store.change(tenant, id, {
          ...changes,
          ...(url === undefined ? {} : { url }),
          ...(accounts === undefined ? {} : { accounts: accounts && accountIds(tenant, accounts) }),
        })
        if (receiver === undefined) throw webhookNotFound()
        return { data: shownWebhook(receiver), meta: {} }
      })
    },
  )

  app.delete(
    '/v1/webhooks/:id',
    {
      schema: {
        summary: 'Remove a webhook, with its log and its dead letters',
        operationId: 'removeWebhook',
        tags: ['webhooks'],
        params: Params,
        response: webhookRemoved,
      },
    },
    async (request) => {
      const { tenant } = contextOf(request)
      const id = webhookId(tenant, request.params.id)
      const isRemoved = await withWebhooks(parts, ({ store }) => store.remove(tenant, id))
      if (!isRemoved) throw webhookNotFound()
      return { data: { id }, meta: {} }
    },
  )

  app.post(
    '/v1/webhooks/:id/rotate',
    {
      schema: {
        summary: 'Give a webhook a new secret',
        operationId: 'rotateWebhook',
        tags: ['webhooks'],
        description: 'For 24 hours requests are signed with the secret before it, too.',
        params: Params,
        response: webhookRotated,
      },
    },
    async (request) => {
      const { tenant } = contextOf(request)
      const id = webhookId(tenant, request.params.id)
      return await withWebhooks(parts, async (access) => {
        const key = webhookKeyOf(access)
        const receiver = await access.store.rotate(tenant, id)
        if (receiver === undefined) throw webhookNotFound()
        return { data: withSecret(receiver, key), meta: {} }
      })
    },
  )
}

function newReceiver(
  access: WebhookAccess,
  tenant: number,
  body: Static<typeof NewWebhook>,
  asked: string | undefined,
): NewReceiver {
  const { url, description, types, accounts, batchMax = batchMaxDefault, after } = body
  assertUrl(access, url)
  return {
    ...(asked === undefined ? {} : { id: webhookId(tenant, asked) }),
    ...{ tenant, url, description, types, batchMax },
    accounts: accounts && accountIds(tenant, accounts),
    fromBeginning: after === 'beginning',
  }
}

function assertUrl({ policy }: WebhookAccess, url: string): void {
  const problem = urlProblem(url, policy)
  if (problem !== undefined) throw invalidField('url', problem)
}

function accountIds(tenant: number, accounts: readonly string[]): string[] {
  return accounts.map((account, index) => formatKey(keyField(tenant, account, `accounts/${index}`)))
}

/** The id is in use: for the same thing, or for another. */
function assertSame(receiver: Receiver, made: NewReceiver): void {
  const contentOf = ({ tenant, url, description, types, accounts, batchMax }: typeof made) =>
    JSON.stringify([tenant, url, description, types, accounts, batchMax])
  if (contentOf({ ...receiver, fromBeginning: false }) === contentOf(made)) return
  throw new ApiError(
    'id_reused_with_different_body',
    'a webhook of this id is there, and is not the same',
    { field: 'id' },
  )
}

function limitReached(): ApiError {
  return new ApiError(
    'webhook_limit_reached',
    `there are ${receiversOfTenantMax} webhooks already, which is all there may be`,
  )
}

function withSecret(receiver: Receiver, key: Buffer): ShownWebhook & { secret: string } {
  return { ...shownWebhook(receiver), secret: secretText(webhookSecret(key, receiver)) }
}

function shownWebhook(receiver: Receiver): ShownWebhook {
  const { id, url, description, types, accounts, batchMax, state, reason } = receiver
  const { generation, rotatedAtMs, createdAtMs, changedAtMs } = receiver
  return {
    ...{ id, url, description, batchMax, state, reason },
    types: types && [...types],
    accounts: accounts && [...accounts],
    secretGeneration: generation,
    secretRotatedAt: rotatedAtMs === undefined ? undefined : new Date(rotatedAtMs).toISOString(),
    createdAt: new Date(createdAtMs).toISOString(),
    changedAt: new Date(changedAtMs).toISOString(),
  }
}
