import { bodyFailures, described, failures, replayedHeader } from './responses.js'
import type { ErrorCode } from './statuses.js'
import {
  DeadLetterList,
  DeadLettersChosen,
  DeliveryList,
  WebhookAnswer,
  WebhookList,
  WebhookRemoved,
  WebhookSecretAnswer,
  WebhookTested,
} from './webhook-schemas.js'

/** What each route of webhooks answers. */
const any: ErrorCode[] = ['not_ready', 'webhooks_unavailable']
const one: ErrorCode[] = [...any, 'webhook_not_found']

export const webhookCreated = {
  200: described(
    WebhookSecretAnswer,
    'A repeat: the webhook of this id as it is now, without its secret',
    replayedHeader,
  ),
  201: described(WebhookSecretAnswer, 'The new webhook with its secret'),
  ...failures([
    ...any,
    ...bodyFailures,
    'webhooks_not_configured',
    'webhook_limit_reached',
    'id_reused_with_different_body',
  ]),
}

export const webhooksListed = {
  200: described(WebhookList, 'All webhooks'),
  ...failures(any),
}

export const webhookRead = {
  200: described(WebhookAnswer, 'The webhook'),
  ...failures(one),
}

export const webhookChanged = {
  200: described(WebhookAnswer, 'The webhook with its changes'),
  ...failures([...one, ...bodyFailures]),
}

export const webhookRemoved = {
  200: described(WebhookRemoved, 'It was there, and is no more'),
  ...failures(one),
}

export const webhookRotated = {
  200: described(WebhookSecretAnswer, 'The webhook with its new secret'),
  ...failures([...one, 'webhooks_not_configured']),
}

export const webhookTested = {
  200: described(WebhookTested, 'What the test came to'),
  ...failures([...one, 'webhooks_not_configured']),
}

export const deliveriesListed = {
  200: described(DeliveryList, 'A page of requests'),
  ...failures(one),
}

export const deadLettersListed = {
  200: described(DeadLetterList, 'A page of dead letters'),
  ...failures(one),
}

export const deadLettersChosen = {
  200: described(DeadLettersChosen, 'How many'),
  ...failures([...one, ...bodyFailures]),
}
