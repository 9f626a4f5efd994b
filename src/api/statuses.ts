import { type RefusalCode, refusals } from '../actors/refusals.js'

/**
 * The one place that knows HTTP numbers: every error code of the API with its status, and whether
 * the same request may succeed later by itself. 400 malformed, 404 not there, 409 conflict with
 * the state, 422 refused by the rules of the ledger, 429 and 503 try again, 504 outcome unknown.
 */
interface ErrorKind {
  status: number
  transient: boolean
}

const refusalStatuses: Record<RefusalCode, number> = {
  id_reused_with_different_body: 409,
  hold_not_found: 404,
  hold_already_posted: 409,
  hold_already_voided: 409,
  hold_expired: 409,
  transaction_not_found: 404,
  not_reversible: 409,
  already_reversed: 409,
  expiry_in_the_past: 422,
  effective_date_in_the_past: 422,
  same_account: 422,
  account_not_found: 404,
  account_closed: 422,
  account_frozen: 422,
  account_dormant: 422,
  currency_mismatch: 422,
  too_many_decimals: 400,
  version_conflict: 409,
  exceeds_hold: 422,
  amount_overflow: 422,
  insufficient_funds: 422,
  limit_exceeded: 422,
  funds_reserved: 409,
  balance_not_zero: 409,
  holds_pending: 409,
  journal_unavailable: 503,
  position_not_reached: 503,
  memory_limit_reached: 503,
}

const otherKinds = {
  invalid_request: { status: 400, transient: false },
  malformed_json: { status: 400, transient: false },
  malformed_body: { status: 400, transient: false },
  duplicate_field: { status: 400, transient: false },
  duplicate_id: { status: 400, transient: false },
  host_not_allowed: { status: 403, transient: false },
  route_not_found: { status: 404, transient: false },
  method_not_allowed: { status: 405, transient: false },
  request_timeout: { status: 408, transient: true },
  body_too_large: { status: 413, transient: false },
  unsupported_media_type: { status: 415, transient: false },
  headers_too_large: { status: 431, transient: false },
  overloaded: { status: 429, transient: true },
  not_ready: { status: 503, transient: true },
  outcome_unknown: { status: 504, transient: true },
  internal_error: { status: 500, transient: false },
} satisfies Record<string, ErrorKind>

export type ErrorCode = RefusalCode | keyof typeof otherKinds

/** Every code of the API, in one table. */
export const errorKinds: Record<ErrorCode, ErrorKind> = {
  ...otherKinds,
  ...(Object.fromEntries(
    refusals.map(({ code, transient }) => [code, { status: refusalStatuses[code], transient }]),
  ) as Record<RefusalCode, ErrorKind>),
}

export const Status = { ok: 200, created: 201, notReady: 503 } as const

/** Seconds after which a client may try again, for the answers that ask it to. */
export const retryAfterSeconds = 1

export function wantsRetryAfter(status: number): boolean {
  return status === 429 || status === 503
}
