import type { FastifyError, FastifyReply, FastifyRequest } from 'fastify'
import { refusalOf } from '../actors/refusals.js'
import type { Reply } from '../actors/reply.js'
import type { Outcome } from '../actors/router.js'
import { noIndex } from '../actors/transaction-decision.js'
import { type ErrorCode, errorKinds, retryAfterSeconds, wantsRetryAfter } from './statuses.js'

/** An answer that is not a success. Details name the field, or the posting, that it is about. */
export class ApiError extends Error {
  readonly code: ErrorCode
  readonly details: Record<string, unknown> | undefined

  constructor(code: ErrorCode, message: string, details?: Record<string, unknown>) {
    super(message)
    this.code = code
    this.details = details
  }
}

/** A field that is well-formed JSON and still not what it must be. */
export function invalidField(field: string, expected: string): ApiError {
  return new ApiError('invalid_request', `${field} ${expected}`, { field })
}

/** What the request that is answered had asked for, so that its refusal can say so. */
export interface Asked {
  /** What a client needs to ask again for a write whose outcome is not known: its id or ids. */
  again?: () => Record<string, unknown>
  /** Where the amount of the posting at `index` stands in the body. */
  amountField?: (index: number) => string
}

/** The answer of a request that a shard has answered; throws what stands for any other outcome. */
export function replyOf(outcome: Outcome, asked: Asked = {}): Reply {
  switch (outcome.kind) {
    case 'overloaded':
      throw new ApiError('overloaded', 'too many commands are under way; nothing was accepted')
    case 'unanswered':
      throw outcomeUnknown(asked)
    case 'refused': {
      const { refusal, index } = outcome
      const posting = index === noIndex ? {} : { posting: index }
      throw refusalError(refusal, { ...posting, field: fieldOf(refusal, index, asked) })
    }
    default:
      return outcome
  }
}

/** The answer to a write that may or may not have taken effect. */
export function outcomeUnknown(asked: Asked): ApiError {
  return new ApiError(
    'outcome_unknown',
    'the command could not be confirmed in time; send it again with the same id',
    asked.again?.(),
  )
}

/** The error of a refusal; `details` say which posting, item or field it is about. */
export function refusalError(refusal: number, details: object): ApiError {
  const { code, message } = refusalOf(refusal)
  return new ApiError(code, message, { transient: errorKinds[code].transient, ...details })
}

function fieldOf(refusal: number, index: number, asked: Asked): string | undefined {
  if (refusalOf(refusal).code !== 'too_many_decimals') return undefined
  return asked.amountField?.(index === noIndex ? 0 : index)
}

/** Answers with the error in the one shape that all errors have. */
export async function sendError(
  error: FastifyError | ApiError | Error,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<void> {
  const known = toApiError(error)
  const { status } = errorKinds[known.code]
  const line = { correlationId: request.id, code: known.code, status }
  if (known.code === 'internal_error') request.log.error({ ...line, err: error }, known.message)
  else request.log[status >= 500 ? 'warn' : 'info'](line, known.message)
  void reply.header('x-correlation-id', request.id)
  if (wantsRetryAfter(status)) void reply.header('retry-after', retryAfterSeconds)
  await reply.code(status).type('application/json; charset=utf-8').send(errorBody(known, request))
}

function errorBody(error: ApiError, request: FastifyRequest): string {
  return JSON.stringify({
    error: {
      code: error.code,
      message: error.message,
      details: error.details ?? {},
      timestamp: new Date().toISOString(),
      path: pathOf(request),
      correlationId: request.id,
    },
  })
}

function pathOf(request: FastifyRequest): string {
  const end = request.url.indexOf('?')
  return end < 0 ? request.url : request.url.slice(0, end)
}

/** What the framework itself finds wrong: our code, and the field that it is about. */
const frameworkErrors: Record<string, { code: ErrorCode; field: string }> = {
  FST_ERR_CTP_BODY_TOO_LARGE: { code: 'body_too_large', field: 'body' },
  FST_ERR_CTP_INVALID_MEDIA_TYPE: { code: 'unsupported_media_type', field: 'Content-Type' },
  FST_ERR_CTP_INVALID_CONTENT_LENGTH: { code: 'malformed_body', field: 'Content-Length' },
  ECONNRESET: { code: 'malformed_body', field: 'body' },
  FST_ERR_BAD_URL: { code: 'invalid_request', field: 'path' },
  FST_ERR_MAX_PARAM_LENGTH: { code: 'invalid_request', field: 'id' },
}

function toApiError(error: FastifyError | ApiError | Error): ApiError {
  if (error instanceof ApiError) return error
  const { validation, validationContext, code } = error as FastifyError
  if (validation !== undefined) return validationError(validation, validationContext)
  const known = frameworkErrors[code ?? '']
  if (known !== undefined) return new ApiError(known.code, error.message, { field: known.field })
  return new ApiError('internal_error', 'an internal error; it has been logged')
}

interface SchemaViolation {
  instancePath: string
  /** Of a violation that is about the name of a field. */
  propertyName?: string
  keyword: string
  message?: string
  params: Record<string, unknown>
  parentSchema?: { description?: string }
}

function validationError(violations: unknown, context: string | undefined): ApiError {
  const violation = mostTelling(violations as SchemaViolation[])
  const path = violation.instancePath.slice(1)
  const { params } = violation
  const named = params.additionalProperty ?? params.missingProperty ?? params.propertyName
  const field = [path, named].filter((part) => part !== undefined && part !== '').join('/')
  const shown = shortened(field === '' ? (context ?? 'body') : field)
  if (violation.keyword === 'additionalProperties') {
    return new ApiError('invalid_request', `${shown} is not a known field`, { field: shown })
  }
  if (violation.keyword === 'required') {
    return new ApiError('invalid_request', `${shown} is missing`, { field: shown })
  }
  if (violation.propertyName !== undefined) {
    const name = shortened(violation.propertyName)
    return new ApiError('invalid_request', `${shown} has a name that is not allowed: ${name}`, {
      field: shown,
    })
  }
  const expected = violation.parentSchema?.description
  const hint = expected === undefined ? '' : ` (${expected})`
  return new ApiError('invalid_request', `${shown} ${violation.message ?? 'is invalid'}${hint}`, {
    field: shown,
  })
}

const nameLengthMax = 200

/** A name for an error: names come from the client, and may be as long as the body. */
export function shortened(name: string): string {
  return name.length <= nameLengthMax ? name : `${name.slice(0, nameLengthMax)}…`
}

/** Of the violations of a union the deepest says most. */
function mostTelling(violations: SchemaViolation[]): SchemaViolation {
  const depth = (violation: SchemaViolation) => violation.instancePath.split('/').length
  return violations.reduce((best, violation) => (depth(violation) > depth(best) ? violation : best))
}
