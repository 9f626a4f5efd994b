import { type RefusalCode, refusals } from '../actors/refusals.js'

/**
 * The one place that knows HTTP numbers: every error code of the API with its status, and whether
 * the same request may succeed later by itself. 400 malformed, 404 not there, 409 conflict with
 * the state, 422 refused by the rules of the ledger, 429 and 503 try again, 504 outcome unknown.
 */
interface ErrorKind {
  status: number
  transient: boolean
  /** What it says to people; the answer itself may be more exact. */
  meaning: string
}

const refusalStatuses: Record<RefusalCode, number> = {
  id_reused_with_different_body: 409,
  id_in_the_future: 422,
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
  amounts_mismatch: 422,
  exceeds_hold: 422,
  amount_overflow: 422,
  insufficient_funds: 422,
  limit_exceeded: 422,
  funds_reserved: 409,
  balance_not_zero: 409,
  holds_pending: 409,
  journal_unavailable: 503,
  striped_without_limits: 422,
  position_not_reached: 503,
  memory_limit_reached: 503,
  old_id_not_checked: 503,
  projections_behind: 429,
}

const otherKinds = {
  invalid_request: {
    status: 400,
    transient: false,
    meaning: 'a field, parameter or header is not as it must be; `details.field` names it',
  },
  malformed_json: {
    status: 400,
    transient: false,
    meaning: 'the body, or a line of it, is not JSON in UTF-8',
  },
  malformed_body: {
    status: 400,
    transient: false,
    meaning: 'the body is no msgpack or binary batch, or broke off',
  },
  duplicate_field: {
    status: 400,
    transient: false,
    meaning: 'an object has two fields of the same name',
  },
  duplicate_id: {
    status: 400,
    transient: false,
    meaning: 'two items of a batch have the same id',
  },
  host_not_allowed: {
    status: 403,
    transient: false,
    meaning: 'the Host header does not name loopback',
  },
  route_not_found: {
    status: 404,
    transient: false,
    meaning: 'there is nothing at this path',
  },
  method_not_allowed: {
    status: 405,
    transient: false,
    meaning: 'the path is there, and does not take this method; see the header Allow',
  },
  request_timeout: {
    status: 408,
    transient: true,
    meaning: 'the request did not arrive in time; nothing was accepted',
  },
  body_too_large: {
    status: 413,
    transient: false,
    meaning: 'the body has more bytes than the route takes',
  },
  unsupported_media_type: {
    status: 415,
    transient: false,
    meaning: 'the route does not take a body of this Content-Type',
  },
  headers_too_large: {
    status: 431,
    transient: false,
    meaning: 'the headers have more bytes than the server takes',
  },
  overloaded: {
    status: 429,
    transient: true,
    meaning: 'too much is under way; nothing was accepted',
  },
  not_ready: {
    status: 503,
    transient: true,
    meaning: 'the server is starting or stopping; nothing was accepted',
  },
  history_unavailable: {
    status: 503,
    transient: true,
    meaning: 'the read models are not there, or are being built; postings go on',
  },
  webhook_not_found: {
    status: 404,
    transient: false,
    meaning: 'there is no such webhook',
  },
  webhook_limit_reached: {
    status: 422,
    transient: false,
    meaning: 'there are as many webhooks as there may be',
  },
  webhooks_not_configured: {
    status: 422,
    transient: false,
    meaning: 'the server has no key to sign webhooks with; see docs/webhooks.md',
  },
  webhooks_unavailable: {
    status: 503,
    transient: true,
    meaning: 'the webhooks cannot be reached, or this server delivers none; postings go on',
  },
  history_behind: {
    status: 503,
    transient: true,
    meaning: 'the read models did not come to the position that was asked for in time',
  },
  too_many_listeners: {
    status: 429,
    transient: true,
    meaning: 'as many listeners of the feed are connected as the server takes',
  },
  position_unknown: {
    status: 409,
    transient: false,
    meaning: 'the position is of another book, or ahead of the journal',
  },
  position_gone: {
    status: 410,
    transient: false,
    meaning:
      'the journal has no longer what follows the position; `details.after` is one from which on it has everything',
  },
  journal_damaged: {
    status: 500,
    transient: false,
    meaning: 'the journal is not as it was written; see `daybook verify`',
  },
  outcome_unknown: {
    status: 504,
    transient: true,
    meaning: 'the commit could not be confirmed in time; ask again with the same id',
  },
  internal_error: {
    status: 500,
    transient: false,
    meaning: 'a fault of the server; it has been logged',
  },
} satisfies Record<string, ErrorKind>

export type ErrorCode = RefusalCode | keyof typeof otherKinds

/** Every code of the API, in one table. */
export const errorKinds: Record<ErrorCode, ErrorKind> = {
  ...otherKinds,
  ...(Object.fromEntries(
    refusals.map(({ code, transient, message }) => [
      code,
      { status: refusalStatuses[code], transient, meaning: message },
    ]),
  ) as Record<RefusalCode, ErrorKind>),
}

export const Status = { ok: 200, created: 201, notReady: 503 } as const

/** Seconds after which a client may try again, for the answers that ask it to. */
export const retryAfterSeconds = 1

export function wantsRetryAfter(status: number): boolean {
  return status === 429 || status === 503
}
