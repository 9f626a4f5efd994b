/** One row: what is sent, and the answer that it must get. */
export interface BadInput {
  name: string
  method?: string
  path?: string
  body?: unknown
  headers?: Record<string, string>
  status: number
  code: string
  /** What `error.details.field` says; undefined: there is no field to name. */
  field?: string
  message?: RegExp
}

export const batch = '/v1/transactions/batch'
export const msgpack = { 'content-type': 'application/msgpack' }
export const ndjson = { 'content-type': 'application/x-ndjson' }
export const binary = { 'content-type': 'application/vnd.daybook.transactions' }
export const uuid = '0198c5a4-7a10-7c3e-9d5b-6f1f0a2b3c4d'

export const movement = { debit: 'cash', credit: 'ada', amount: '1.00' }
export const text = JSON.stringify(movement)
export const movementWith = (more: object) => ({ ...movement, ...more })
export const textWith = (more: string) => `${text.slice(0, -1)},${more}}`
export const many = (count: number) => Array.from({ length: count }, () => movement)

export const invalid = { status: 400, code: 'invalid_request' }
export const malformed = { status: 400, code: 'malformed_json', field: 'body' }
export const broken = { status: 400, code: 'malformed_body' }
export const duplicate = { status: 400, code: 'duplicate_field' }

/** A row for a field that is wrong; of a single transaction, unless `more` says otherwise. */
export function wrong(
  name: string,
  body: unknown,
  field: string,
  more: Partial<BadInput> = {},
): BadInput {
  return { name, body, ...invalid, field, ...more }
}
