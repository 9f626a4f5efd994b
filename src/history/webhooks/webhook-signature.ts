import { createHmac } from 'node:crypto'
import type { Receiver } from './receiver.js'
import type { WebhookEvent } from './webhook-event.js'

/** How long the secret before a rotation signs beside the new one. */
export const rotationOverlapMs = 86_400_000

/**
 * The secret of a receiver is HMAC-SHA256 of its id and generation under the key of the server. It is
 * stored nowhere: who reads the database cannot sign, and who knows one secret knows no other.
 */
export function webhookSecret(
  key: Buffer,
  { id, generation }: Pick<Receiver, 'id' | 'generation'>,
): Buffer {
  return createHmac('sha256', key).update(`daybook webhook\0${id}\0${generation}`).digest()
}

/** As its owner is shown it, once. */
export function secretText(secret: Buffer): string {
  return `whsec_${secret.toString('base64')}`
}

export interface WebhookRequest {
  headers: Record<string, string>
  body: Buffer
}

/**
 * The request that carries events of one stream, in order, signed as Standard Webhooks has it:
 * `v1,<base64>` is HMAC-SHA256 of `id.timestamp.body`. Within the overlap after a rotation there are
 * two signatures, of which a receiver needs one.
 */
export function webhookRequest(
  receiver: Receiver,
  events: readonly WebhookEvent[],
  { key, nowMs }: { key: Buffer; nowMs: number },
): WebhookRequest {
  const id = requestId(events)
  const timestamp = String(Math.floor(nowMs / 1000))
  const body = Buffer.from(JSON.stringify({ events }))
  const signatures = secretsOf(receiver, key, nowMs).map((secret) => {
    const hmac = createHmac('sha256', secret).update(`${id}.${timestamp}.`).update(body)
    return `v1,${hmac.digest('base64')}`
  })
  return {
    body,
    headers: {
      'content-type': 'application/json',
      'content-length': String(body.length),
      'user-agent': 'Daybook-Webhooks/1',
      'webhook-id': id,
      'webhook-timestamp': timestamp,
      'webhook-signature': signatures.join(' '),
    },
  }
}

/** The id of its event; of several, those of the first and the last. */
function requestId(events: readonly WebhookEvent[]): string {
  const [first, last] = [events[0], events[events.length - 1]]
  return events.length === 1 ? first.id : `${first.id}..${last.id}`
}

function secretsOf(receiver: Receiver, key: Buffer, nowMs: number): Buffer[] {
  const { id, generation, rotatedAtMs } = receiver
  const secrets = [webhookSecret(key, receiver)]
  if (rotatedAtMs !== undefined && nowMs < rotatedAtMs + rotationOverlapMs) {
    secrets.push(webhookSecret(key, { id, generation: generation - 1 }))
  }
  return secrets
}
