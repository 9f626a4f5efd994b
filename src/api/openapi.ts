import type { FastifyDynamicSwaggerOptions } from '@fastify/swagger'
import { feedPositionPattern } from '../history/feed/feed-position.js'
import { binaryAnswerType, binaryRequestType } from './binary-batch.js'
import { msgpackType, ndjsonType } from './bodies.js'

/**
 * How openapi.json is made of the routes' schemas: schemas with a title become components, and what
 * no single route says (headers, the forms of a batch) is added here.
 */
export const openapiOptions: FastifyDynamicSwaggerOptions = {
  openapi: {
    openapi: '3.1.0',
    info: {
      title: 'Daybook',
      description:
        'An in-memory transaction processor for account and loan ledgers. A 2xx to a write means ' +
        'that it is durable. Amounts are decimal strings. A write that is sent again with the same ' +
        'id and body answers the same thing; every error code is listed in docs/api-errors.md.',
      version: '1',
      license: { name: 'Apache-2.0', identifier: 'Apache-2.0' },
    },
    servers: [{ url: 'http://127.0.0.1:3000' }],
    tags: [
      { name: 'accounts', description: 'Currency, class, limits, status and balances' },
      { name: 'transactions', description: 'Postings, holds, and what follows them' },
      {
        name: 'history',
        description: 'What has happened, read from models that follow the journal',
      },
      { name: 'webhooks', description: 'Who is told of events; see docs/webhooks.md' },
      { name: 'system', description: 'For whoever operates the server' },
    ],
  },
  transformObject: (document) =>
    'openapiObject' in document ? completed(document.openapiObject as Document) : {},
}

type Json = Record<string, unknown>

interface Operation extends Json {
  parameters?: object[]
  requestBody?: { required?: boolean; content: Record<string, Json> }
  responses: Record<string, { headers?: Json; content?: Record<string, Json> }>
}

interface Document extends Json {
  paths: Record<string, Record<string, Operation>>
  components: { schemas: Record<string, unknown>; headers?: Json }
}

const correlationHeader = 'X-Correlation-Id'

function completed(document: Document): Document {
  for (const [path, methods] of Object.entries(document.paths)) {
    for (const [method, operation] of Object.entries(methods)) {
      completeOperation(path, method, operation)
    }
  }
  const batch = document.paths['/v1/transactions/batch'].post
  addBatchForms(batch)
  // Once the forms are there: what they share becomes one component.
  const { schemas } = document.components
  document.paths = withReferences(document.paths, schemas) as Document['paths']
  Object.assign(schemas.Failure as Json, { examples: [failureExample] })
  document.components.headers = {
    [correlationHeader]: {
      description: 'The correlation id of the request, given or made; on every log line',
      schema: { type: 'string' },
    },
  }
  return document
}

const failureExample = {
  error: {
    code: 'insufficient_funds',
    message: 'the available balance does not cover the amount',
    details: { transient: false, posting: 0 },
    timestamp: '2026-01-31T12:00:00.000Z',
    path: '/v1/transactions',
    correlationId: '0198c5a4-7a10-7c3e-9d5b-6f1f0a2b3c4d',
  },
}

function completeOperation(path: string, method: string, operation: Operation): void {
  const parameters = operation.parameters ?? []
  parameters.push({
    name: correlationHeader,
    in: 'header',
    description: 'A UUID or name to find the request by in the log; made if it is not given',
    schema: { type: 'string', pattern: keyPattern },
  })
  if (path === '/v1/feed') {
    parameters.push({
      name: 'Last-Event-ID',
      in: 'header',
      description: 'The id of the last event that was received; it comes before `after`',
      schema: { type: 'string', pattern: feedPositionPattern },
    })
  }
  if (method === 'post') {
    parameters.push({
      name: 'Idempotency-Key',
      in: 'header',
      description: path.endsWith('/batch')
        ? 'Names the items that have no id, together with their index'
        : 'Names the account or transaction, if the body has no id; else it must be the same',
      schema: { type: 'string', pattern: keyPattern },
    })
  }
  operation.parameters = parameters
  // A follow-up may come without a body.
  if (path.includes('/{id}/') && operation.requestBody) operation.requestBody.required = false
  for (const response of Object.values(operation.responses)) {
    response.headers = {
      ...response.headers,
      [correlationHeader]: { $ref: `#/components/headers/${correlationHeader}` },
    }
  }
}

const keyPattern = '^[A-Za-z0-9._:-]{1,64}$'

/** A batch comes and goes in four forms, of which JSON and msgpack share a schema. */
function addBatchForms(batch: Operation): void {
  const bytes = (description: string) => ({
    schema: { type: 'string', contentMediaType: 'application/octet-stream', description },
  })
  const request = batch.requestBody?.content ?? {}
  const answer = batch.responses[200].content ?? {}
  const json = answer['application/json']
  request[ndjsonType] = {
    schema: {
      type: 'string',
      description: 'One NewTransaction a line; atomic and ordered in the query',
    },
    example:
      '{"id":"pay:1","debit":"customer:ada","credit":"customer:ben","amount":"5.00"}\n' +
      '{"id":"pay:2","debit":"customer:ben","credit":"customer:eve","amount":"5.00"}\n',
  }
  request[msgpackType] = { schema: request['application/json'].schema }
  request[binaryRequestType] = bytes('Fixed width, see docs/binary-batch.md')
  answer[ndjsonType] = { schema: { type: 'string', description: 'One BatchItemResult a line' } }
  answer[msgpackType] = { schema: json.schema }
  answer[binaryAnswerType] = bytes('Fixed width, see docs/binary-batch.md')
}

/** A copy in which every schema with a title is a reference to the component of that name. */
function withReferences(value: unknown, components: Record<string, unknown>): unknown {
  if (Array.isArray(value)) return value.map((entry) => withReferences(entry, components))
  if (typeof value !== 'object' || value === null) return value
  const copy: Json = {}
  for (const [name, entry] of Object.entries(value)) copy[name] = withReferences(entry, components)
  const { title } = copy
  if (typeof title !== 'string') return copy
  // They stand beside the reference where the schema is a whole body.
  delete copy.examples
  const known = components[title]
  if (known === undefined) components[title] = copy
  else if (JSON.stringify(known) !== JSON.stringify(copy)) {
    throw new Error(`two schemas have the title ${title}`)
  }
  return { $ref: `#/components/schemas/${title}` }
}
