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

/** The answer of a request that a shard has answered; throws what stands for any other outcome. */
export function replyOf(outcome: Outcome, id?: string): Reply {
  switch (outcome.kind) {
    case 'overloaded':
      throw new ApiError('overloaded', 'too many commands are under way; nothing was accepted')
    case 'unanswered':
      throw new ApiError(
        'outcome_unknown',
        'the command could not be confirmed in time; send it again with the same id',
        id === undefined ? undefined : { id },
      )
    case 'refused':
      throw refusalError(outcome.refusal, outcome.index)
    default:
      return outcome
  }
}

export function refusalError(refusal: number, index: number, more?: object): ApiError {
  const { code, message } = refusalOf(refusal)
  const field = code === 'too_many_decimals' && index !== noIndex ? amountField(index) : {}
  const details = {
    transient: errorKinds[code].transient,
    ...(index === noIndex ? {} : { posting: index }),
    ...field,
    ...more,
  }
  return new ApiError(code, message, details)
}

function amountField(index: number): { field: string } {
  return { field: index === 0 ? 'amount' : `postings/${index}/amount` }
}

/** Answers with the error in the one shape that all errors have. */
export async function sendError(
  error: FastifyError | ApiError | Error,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<void> {
  const known = toApiError(error)
  const { status } = errorKinds[known.code]
  if (known.code === 'internal_error') request.log.error({ err: error }, 'a request failed')
  else if (status >= 500) request.log.warn({ code: known.code }, known.message)
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

const frameworkCodes: Record<string, ErrorCode> = {
  FST_ERR_CTP_BODY_TOO_LARGE: 'body_too_large',
  FST_ERR_CTP_INVALID_MEDIA_TYPE: 'unsupported_media_type',
  FST_ERR_CTP_INVALID_CONTENT_LENGTH: 'malformed_body',
  FST_ERR_CTP_EMPTY_JSON_BODY: 'malformed_json',
  FST_ERR_CTP_INVALID_JSON_BODY: 'malformed_json',
  ECONNRESET: 'malformed_body',
  FST_ERR_BAD_URL: 'invalid_request',
  FST_ERR_MAX_PARAM_LENGTH: 'invalid_request',
}

function toApiError(error: FastifyError | ApiError | Error): ApiError {
  if (error instanceof ApiError) return error
  const { validation, validationContext, code } = error as FastifyError
  if (validation !== undefined) return validationError(validation, validationContext)
  const known = frameworkCodes[code ?? '']
  if (known !== undefined) return new ApiError(known, error.message)
  return new ApiError('internal_error', 'an internal error; it has been logged')
}

interface SchemaViolation {
  instancePath: string
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
  const shown = field === '' ? (context ?? 'body') : field
  if (violation.keyword === 'additionalProperties') {
    return new ApiError('invalid_request', `${shown} is not a known field`, { field: shown })
  }
  if (violation.keyword === 'required') {
    return new ApiError('invalid_request', `${shown} is missing`, { field: shown })
  }
  const expected = violation.parentSchema?.description
  const hint = expected === undefined ? '' : ` (${expected})`
  return new ApiError('invalid_request', `${shown} ${violation.message ?? 'is invalid'}${hint}`, {
    field: shown,
  })
}

/** Of the violations of a union the deepest says most. */
function mostTelling(violations: SchemaViolation[]): SchemaViolation {
  const depth = (violation: SchemaViolation) => violation.instancePath.split('/').length
  return violations.reduce((best, violation) => (depth(violation) > depth(best) ? violation : best))
}
