import {
  type AppliedBody,
  creditSide,
  debitSide,
  plainPostingBytes,
  plainSides,
  postingAppliedBytes,
  RecordKind,
  readBigint,
  readBody,
  readCurrency,
  readInteger,
  recordHeaderBytes,
  Side,
  viewRecord,
  Word,
} from '../journal/record.js'

/**
 * Whether a record can be decoded and is complete: a reason why not, or undefined. What it does to
 * the accounts is not looked at; that is for the rebuild to show.
 */
export function recordDefect(words: Uint32Array, at: number): string | undefined {
  try {
    const { kind, length } = viewRecord(words, at)
    if (kind === RecordKind.posting || kind === RecordKind.postingApplied) {
      return plainDefect(words, at, kind)
    }
    if (length <= recordHeaderBytes) return 'the record has no body'
    return bodyDefect(kind, readBody<unknown>(words, at))
  } catch (error) {
    return `the record cannot be decoded: ${(error as Error).message}`
  }
}

function plainDefect(words: Uint32Array, at: number, kind: RecordKind): string | undefined {
  const bytes = kind === RecordKind.posting ? plainPostingBytes : postingAppliedBytes
  const length = words[at + Word.length]
  if (length !== bytes) return `a plain posting has ${bytes} bytes, not ${length}`
  const sides = plainSides(words, at)
  if (debitSide(sides) > Side.striped || creditSide(sides) > Side.striped) {
    return 'a side is none of here, elsewhere and striped'
  }
  if (readBigint(words, at + Word.amount) <= 0n) return 'the amount is not above zero'
  if (!/^[A-Z][A-Z0-9]*$/.test(readCurrency(words, at + Word.currency))) {
    return 'the currency is not a code'
  }
  if (kind === RecordKind.posting) return undefined
  const isCause =
    readInteger(words, at + Word.causeSeq) > 0 && readInteger(words, at + Word.message) > 0
  return isCause ? undefined : 'an applied record names no cause'
}

function bodyDefect(kind: RecordKind, body: unknown): string | undefined {
  if (!isMap(body)) return 'the body is no map'
  switch (kind) {
    case RecordKind.transaction:
      return body.postings === undefined ? 'no postings' : postingsDefect(body)
    case RecordKind.holdPosted:
    case RecordKind.holdVoided:
    case RecordKind.holdExpired:
    case RecordKind.reversal:
      return isKey(body.target) ? postingsDefect(body) : 'no target'
    case RecordKind.accountCreated:
      return isAccount(body) ? undefined : 'an account without currency, scale or class'
    case RecordKind.accountChanged:
      return undefined
    case RecordKind.applied:
      return appliedDefect(body)
    default:
      return `kind ${kind} has no such body`
  }
}

function appliedDefect(body: Map): string | undefined {
  const { of, cause, message } = body as Partial<AppliedBody>
  const isCause = Array.isArray(cause) && cause.length === 2 && cause.every(isCount)
  if (!isCause || !isCount(message)) return 'an applied record names no cause'
  if (!Number.isInteger(of)) return 'an applied record names no kind'
  return body.postings === undefined ? undefined : postingsDefect(body)
}

function postingsDefect({ postings, sides }: Map): string | undefined {
  if (!Array.isArray(postings) || !postings.every(isPosting)) return 'a posting is malformed'
  if (sides === undefined) return undefined
  const areSides =
    Array.isArray(sides) && sides.length === postings.length && sides.every(Number.isInteger)
  return areSides ? undefined : 'the sides are not those of the postings'
}

type Map = Record<string, unknown>

function isMap(body: unknown): body is Map {
  return typeof body === 'object' && body !== null && !Array.isArray(body)
}

function isKey(value: unknown): boolean {
  return value instanceof Uint8Array && value.length === 16
}

function isCount(value: unknown): boolean {
  return Number.isSafeInteger(value) && Number(value) > 0
}

function isPosting(value: unknown): boolean {
  if (!Array.isArray(value) || value.length !== 5) return false
  const [debit, credit, amount, currency, scale] = value
  const isAmount = typeof amount === 'bigint' || Number.isInteger(amount)
  return (
    isKey(debit) &&
    isKey(credit) &&
    isAmount &&
    typeof currency === 'string' &&
    Number.isInteger(scale)
  )
}

function isAccount({ currency, scale, class: accountClass }: Map): boolean {
  return typeof currency === 'string' && Number.isInteger(scale) && typeof accountClass === 'string'
}
