import type { AddressPolicy } from '../history/webhooks/address-guard.js'
import type { Receiver } from '../history/webhooks/receiver.js'
import { type ReceiverStore, WebhookStoreFault } from '../history/webhooks/receiver-store.js'
import type { WebhookSender } from '../history/webhooks/webhook-sender.js'
import { formatKey } from '../key.js'
import { type ApiParts, servingPartsOf } from './context.js'
import { ApiError } from './errors.js'
import { keyField } from './transaction-input.js'

/** What the routes of webhooks work with. */
export interface WebhookAccess {
  store: ReceiverStore
  sender: WebhookSender
  /** The receivers' secrets are derived from it; undefined: none can be made. */
  key: Buffer | undefined
  policy: AddressPolicy
}

/** Works with the receivers; turns what keeps them from answering into an answer. */
export async function withWebhooks<T>(
  parts: ApiParts,
  work: (access: WebhookAccess) => Promise<T>,
): Promise<T> {
  const { webhooks } = servingPartsOf(parts)
  if (webhooks === undefined) {
    throw new ApiError('webhooks_unavailable', 'this server delivers no webhooks')
  }
  try {
    return await work(webhooks)
  } catch (error) {
    if (!(error instanceof WebhookStoreFault)) throw error
    throw new ApiError(error.code === 'too_many_reads' ? 'overloaded' : error.code, error.message)
  }
}

export function webhookKeyOf({ key }: WebhookAccess): Buffer {
  if (key !== undefined) return key
  throw new ApiError('webhooks_not_configured', 'DAYBOOK_WEBHOOK_KEY is not set')
}

/** The receiver that a path names, if it is the tenant's. */
export async function receiverOf(
  { store }: WebhookAccess,
  tenant: number,
  id: string,
): Promise<Receiver> {
  const receiver = await store.find(tenant, webhookId(tenant, id))
  if (receiver === undefined) throw webhookNotFound()
  return receiver
}

/** The UUID of an id in a path. */
export function webhookId(tenant: number, id: string): string {
  return formatKey(keyField(tenant, id, 'id'))
}

export function webhookNotFound(): ApiError {
  return new ApiError('webhook_not_found', 'there is no such webhook', { field: 'id' })
}
