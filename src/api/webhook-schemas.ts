import { Type } from 'typebox'
import { feedEventTypes } from '../history/feed/feed-event.js'
import { disabledReasons, receiverStates } from '../history/webhooks/receiver.js'
import { Cursor, Limit } from './history-schemas.js'
import { boundedText, KeyText, oneOf, strict } from './schemas.js'

/** What the routes of webhooks take and give. */
export const batchMaxDefault = 100
const batchMaxMax = 500
const accountsMax = 1000
const urlLengthMax = 2048
/** Of a request to send dead letters again, or to discard them. */
const lettersMax = 1000

const Url = Type.String({
  minLength: 1,
  maxLength: urlLengthMax,
  format: 'text',
  description: 'Where events are posted to; https',
})

const Types = Type.Array(oneOf(feedEventTypes, 'A type of event'), {
  minItems: 1,
  maxItems: feedEventTypes.length,
  uniqueItems: true,
  description: 'Only events of these types; absent: of all',
})

const Accounts = Type.Array(KeyText, {
  minItems: 1,
  maxItems: accountsMax,
  uniqueItems: true,
  description: 'Only events of any of these accounts; absent: of all',
})

const BatchMax = Type.Integer({
  minimum: 1,
  maximum: batchMaxMax,
  description: `Events in one request at most; ${batchMaxDefault} if it is not given`,
})

const Description = boundedText(256, 'For people to read')

export const NewWebhook = Type.Object(
  {
    id: Type.Optional(KeyText),
    url: Url,
    description: Type.Optional(Description),
    types: Type.Optional(Types),
    accounts: Type.Optional(Accounts),
    batchMax: Type.Optional(BatchMax),
    after: Type.Optional(
      oneOf(
        ['now', 'beginning'] as const,
        'now: what is committed from now on; beginning: all that the journal has. now if not given',
      ),
    ),
  },
  {
    ...strict,
    title: 'NewWebhook',
    examples: [
      { url: 'https://example.com/daybook', types: ['transaction.posted', 'transaction.reversed'] },
    ],
  },
)

const orNull = 'null takes it away'

export const WebhookChanges = Type.Object(
  {
    url: Type.Optional(Url),
    description: Type.Optional(Type.Union([Description, Type.Null()], { description: orNull })),
    types: Type.Optional(Type.Union([Types, Type.Null()], { description: orNull })),
    accounts: Type.Optional(Type.Union([Accounts, Type.Null()], { description: orNull })),
    batchMax: Type.Optional(BatchMax),
    state: Type.Optional(
      oneOf(['active', 'paused'] as const, 'active: delivery goes on where it was'),
    ),
  },
  { ...strict, title: 'WebhookChanges', minProperties: 1, examples: [{ state: 'paused' }] },
)

export const WebhookListQuery = Type.Object(
  { limit: Type.Optional(Limit), cursor: Type.Optional(Cursor) },
  strict,
)

export const DeadLetterChoice = Type.Object(
  {
    ids: Type.Optional(
      Type.Array(Type.String({ pattern: '^[1-9]\\d{0,14}$', description: 'Of a dead letter' }), {
        minItems: 1,
        maxItems: lettersMax,
        description: 'Only these; absent: all there are',
      }),
    ),
  },
  { ...strict, title: 'DeadLetterChoice', examples: [{ ids: ['17', '18'] }] },
)

const DateTime = Type.String({ format: 'date-time' })

const webhookFields = {
  id: Type.String({ format: 'uuid' }),
  url: Type.String(),
  description: Type.Optional(Type.String()),
  types: Type.Optional(Type.Array(Type.String())),
  accounts: Type.Optional(Type.Array(Type.String({ format: 'uuid' }))),
  batchMax: Type.Integer(),
  state: oneOf(receiverStates, 'paused by you, disabled by the server'),
  reason: Type.Optional(oneOf(disabledReasons, 'Why it is disabled')),
  secretGeneration: Type.Integer({ description: 'How many secrets it has had' }),
  secretRotatedAt: Type.Optional(DateTime),
  createdAt: DateTime,
  changedAt: DateTime,
}

const Webhook = Type.Object(webhookFields, { title: 'Webhook' })

const WebhookWithSecret = Type.Object(
  {
    ...webhookFields,
    secret: Type.Optional(
      Type.String({ description: 'whsec_ and base64. Shown in this answer and never again' }),
    ),
  },
  { title: 'WebhookWithSecret' },
)

const NoMeta = Type.Object({})
const CursorMeta = Type.Object({
  cursor: Type.Optional(
    Type.String({ description: 'There are more: ask again with it. Absent: this was the end' }),
  ),
})

export const WebhookAnswer = Type.Object(
  { data: Webhook, meta: NoMeta },
  { title: 'WebhookAnswer' },
)

export const WebhookSecretAnswer = Type.Object(
  { data: WebhookWithSecret, meta: NoMeta },
  { title: 'WebhookSecretAnswer' },
)

export const WebhookList = Type.Object(
  { data: Type.Array(Webhook), meta: NoMeta },
  { title: 'WebhookList' },
)

export const WebhookRemoved = Type.Object(
  { data: Type.Object({ id: Type.String({ format: 'uuid' }) }), meta: NoMeta },
  { title: 'WebhookRemoved' },
)

const outcomes = ['delivered', 'refused', 'wait', 'gone', 'failed'] as const
const Outcome = oneOf(outcomes, 'See docs/webhooks.md')
const HttpStatus = Type.Optional(Type.Integer({ description: 'Absent: there was no answer' }))
const NoAnswer = Type.Optional(Type.String({ description: 'Why there was no answer' }))

export const WebhookTested = Type.Object(
  {
    data: Type.Object({
      outcome: Outcome,
      status: HttpStatus,
      error: NoAnswer,
      durationMs: Type.Integer(),
    }),
    meta: NoMeta,
  },
  { title: 'WebhookTested' },
)

export const DeliveryList = Type.Object(
  {
    data: Type.Array(
      Type.Object(
        {
          id: Type.String(),
          at: DateTime,
          firstEvent: Type.String({ description: 'Id of the first event in the request' }),
          lastEvent: Type.String(),
          events: Type.Integer(),
          attempt: Type.Integer({ description: 'At the first of them' }),
          outcome: Outcome,
          status: HttpStatus,
          error: NoAnswer,
          durationMs: Type.Integer(),
        },
        { title: 'WebhookDelivery' },
      ),
    ),
    meta: CursorMeta,
  },
  { title: 'WebhookDeliveryList' },
)

export const DeadLetterList = Type.Object(
  {
    data: Type.Array(
      Type.Object(
        {
          id: Type.String(),
          event: Type.Unsafe<object>({ type: 'object', description: 'As it was sent' }),
          attempts: Type.Integer(),
          status: HttpStatus,
          error: NoAnswer,
          firstAttemptAt: DateTime,
          lastAttemptAt: DateTime,
          resending: Type.Boolean({ description: 'It waits to be sent again' }),
        },
        { title: 'DeadLetter' },
      ),
    ),
    meta: CursorMeta,
  },
  { title: 'DeadLetterList' },
)

export const DeadLettersChosen = Type.Object(
  {
    data: Type.Object({ count: Type.Integer({ description: 'Dead letters that this concerns' }) }),
    meta: NoMeta,
  },
  { title: 'DeadLettersChosen' },
)
