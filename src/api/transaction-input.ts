import type { Static } from 'typebox'
import type { PostingInput, TransactionInput } from '../actors/command.js'
import { parseDay } from '../clock.js'
import { type Attributes, currencyWords, type Metadata } from '../journal/record.js'
import { isUuid, type Key, keyOf, newKey, slotOf } from '../key.js'
import { type Decimal, parseDecimal } from '../money.js'
import { ApiError, invalidField } from './errors.js'
import type { FollowUp, NewTransaction } from './schemas.js'

/**
 * From a validated body to a command: keys, decimals, dates. What the schema cannot say is checked
 * here, and the error names the field as the schema's would.
 */
export type TransactionBodyInput = Static<typeof NewTransaction>

/** How a transaction without an id of its own is named. */
export type NameFallback = (postings: readonly PostingInput[]) => Key

/**
 * Keys made by the server: v7, in the slot of the first account that lives in one shard, so that
 * most transactions are decided where their money is (design §2). Striped accounts have a part
 * everywhere: where there are no others, any slot will do.
 */
export function serverMadeKey(
  tenant: number,
  striped: { has(tenant: number, account: Key): boolean },
): NameFallback {
  return (postings) => {
    for (const { debit, credit } of postings) {
      if (!striped.has(tenant, debit)) return newKey(slotOf(debit))
      if (!striped.has(tenant, credit)) return newKey(slotOf(credit))
    }
    return newKey()
  }
}

/**
 * The command of a transaction. `path` is where it stands in the request (empty, or
 * `transactions/3/`).
 */
export function transactionInput(
  tenant: number,
  body: TransactionBodyInput,
  fallback: NameFallback,
  path: string,
): TransactionInput {
  const postings = postingInputs(tenant, body, path)
  const pending = body.pending === true
  const imported = body.imported === true
  if (body.expiresAt !== undefined && !pending) {
    throw invalidField(`${path}expiresAt`, 'is for holds only; set pending')
  }
  const attributes = attributesOf(body, path)
  let id: Key
  if (body.id === undefined) {
    id = fallback(postings)
  } else {
    id = keyField(tenant, body.id, `${path}id`)
    if (!isUuid(body.id)) attributes.name = body.id
  }
  return {
    id,
    postings,
    imported,
    pending,
    expiresAt: body.expiresAt === undefined ? undefined : momentField(body.expiresAt, path),
    effectiveDate: dayField(body.effectiveDate, path),
    conditions: (body.conditions ?? []).map(({ account, version }, index) => ({
      account: keyField(tenant, account, `${path}conditions/${index}/account`),
      version,
    })),
    attributes,
  }
}

function postingInputs(tenant: number, body: TransactionBodyInput, path: string): PostingInput[] {
  const { debit, credit, amount, currency, postings } = body
  if (postings !== undefined) {
    for (const [field, value] of Object.entries({ debit, credit, amount, currency })) {
      if (value !== undefined) {
        throw invalidField(`${path}${field}`, 'is given beside postings; use one or the other')
      }
    }
    return postings.map((posting, index) =>
      postingInput(tenant, posting, `${path}postings/${index}/`),
    )
  }
  if (debit === undefined) throw invalidField(`${path}debit`, 'is missing')
  if (credit === undefined) throw invalidField(`${path}credit`, 'is missing')
  if (amount === undefined) throw invalidField(`${path}amount`, 'is missing')
  return [postingInput(tenant, { debit, credit, amount, currency }, path)]
}

function postingInput(
  tenant: number,
  posting: { debit: string; credit: string; amount: string; currency?: string },
  path: string,
): PostingInput {
  return {
    debit: keyField(tenant, posting.debit, `${path}debit`),
    credit: keyField(tenant, posting.credit, `${path}credit`),
    amount: decimalField(posting.amount, `${path}amount`),
    currency: posting.currency === undefined ? undefined : currencyWords(posting.currency),
  }
}

/** The key of a field whose form the schema has checked. */
export function keyField(tenant: number, text: string, field: string): Key {
  const key = keyOf(tenant, text)
  if (key === undefined) throw invalidField(field, 'is neither a UUID nor a name')
  return key
}

/** The decimal of a field whose form the schema has checked. */
export function decimalField(text: string, field: string): Decimal {
  const decimal = parseDecimal(text)
  if (decimal === undefined) throw invalidField(field, 'is beyond 64 bits')
  return decimal
}

/** Days since 1970 of an effective date. */
export function dayField(text: string | undefined, path: string): number | undefined {
  if (text === undefined) return undefined
  const day = parseDay(text)
  if (day === undefined) throw invalidField(`${path}effectiveDate`, `is no date: ${text}`)
  return day
}

function momentField(text: string, path: string): number {
  const moment = Date.parse(text)
  // Date.parse rolls 30 February over into March; the day must come back as it was written.
  if (Number.isNaN(moment) || parseDay(text.slice(0, 10)) === undefined || moment <= 0) {
    throw invalidField(`${path}expiresAt`, `is no moment: ${text}`)
  }
  return moment
}

/** Bytes of a transaction's metadata as JSON. */
const metadataBytesMax = 4096

/** What a transaction carries besides its postings, in one fixed order of fields. */
export function attributesOf(body: Static<typeof FollowUp>, path: string): Attributes {
  const attributes: Attributes = {}
  if (body.code !== undefined && body.code !== 0) attributes.code = body.code
  if (body.reference !== undefined) attributes.reference = body.reference
  if (body.description !== undefined) attributes.description = body.description
  if (body.category !== undefined) attributes.category = body.category
  if (body.number !== undefined) attributes.number = body.number
  if (body.metadata !== undefined) attributes.metadata = metadataField(body.metadata, path)
  return attributes
}

/** Metadata in the order of its names, so that the order in which it was written does not matter. */
export function metadataField(metadata: Metadata, path: string): Metadata {
  if (Buffer.byteLength(JSON.stringify(metadata)) > metadataBytesMax) {
    throw invalidField(`${path}metadata`, `is larger than ${metadataBytesMax} bytes`)
  }
  return Object.fromEntries(Object.entries(metadata).sort(([a], [b]) => (a < b ? -1 : 1)))
}

/**
 * The id of a request: the body's, or the header Idempotency-Key; both must agree if both are
 * there. Returns the text, or undefined if neither is.
 */
export function requestedId(
  bodyId: string | undefined,
  header: string | string[] | undefined,
): string | undefined {
  if (header === undefined) return bodyId
  if (typeof header !== 'string' || keyOf(0, header) === undefined) {
    throw invalidField('Idempotency-Key', 'is neither a UUID nor a name')
  }
  if (bodyId !== undefined && bodyId !== header) {
    throw new ApiError('invalid_request', 'id and Idempotency-Key are different', { field: 'id' })
  }
  return header
}
