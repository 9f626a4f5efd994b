import { isUtf8 } from 'node:buffer'
import type { FastifyInstance } from 'fastify'
import { Unpackr } from 'msgpackr'
import {
  type BatchInput,
  batchItemsMax,
  binaryRequestType,
  readBinaryBatch,
} from './binary-batch.js'
import { ApiError } from './errors.js'

/**
 * How bodies are read. Each parser answers bad input with an error that says what and where; what
 * comes out is checked by the route's schema, except the binary batch, which is checked as it is
 * read.
 */
export const ndjsonType = 'application/x-ndjson'
export const msgpackType = 'application/msgpack'

/** A body that is complete as it was read: no schema applies to it. */
export class ParsedBinaryBatch {
  readonly batch: BatchInput

  constructor(batch: BatchInput) {
    this.batch = batch
  }
}

/** JSON, for every route that takes a body. */
export function acceptJson(app: FastifyInstance): void {
  app.removeAllContentTypeParsers()
  app.addContentTypeParser('application/json', { parseAs: 'buffer' }, (_request, body, done) => {
    settle(done, () => parseJson(body as Buffer))
  })
}

/** The other forms of a batch. */
export function acceptBatches(app: FastifyInstance): void {
  app.addContentTypeParser(ndjsonType, { parseAs: 'buffer' }, (_request, body, done) => {
    settle(done, () => ({ transactions: parseLines(body as Buffer) }))
  })
  app.addContentTypeParser(msgpackType, { parseAs: 'buffer' }, (_request, body, done) => {
    settle(done, () => parseMsgpack(body as Buffer))
  })
  app.addContentTypeParser(binaryRequestType, { parseAs: 'buffer' }, (_request, body, done) => {
    settle(done, () => new ParsedBinaryBatch(readBinaryBatch(body as Buffer)))
  })
}

function settle(done: (error: Error | null, body?: unknown) => void, parse: () => unknown): void {
  let body: unknown
  try {
    body = parse()
  } catch (error) {
    done(error as Error)
    return
  }
  done(null, body)
}

function parseJson(bytes: Buffer): unknown {
  if (bytes.length === 0) throw new ApiError('malformed_json', 'the body is empty')
  const value = parseText(bytes, '')
  assertNoDuplicateFields(bytes, value, '')
  return value
}

function parseLines(bytes: Buffer): unknown[] {
  const values: unknown[] = []
  let start = 0
  for (let line = 1; start < bytes.length; line++) {
    const newline = bytes.indexOf(10, start)
    const end = newline < 0 ? bytes.length : newline
    const piece = bytes.subarray(start, end)
    start = end + 1
    if (piece.length === 0 || (piece.length === 1 && piece[0] === 13)) continue
    if (values.length === batchItemsMax) {
      throw new ApiError('invalid_request', `transactions has more than ${batchItemsMax} lines`, {
        field: 'transactions',
      })
    }
    const value = parseText(piece, `line ${line}: `)
    assertNoDuplicateFields(piece, value, `line ${line}: `)
    values.push(value)
  }
  return values
}

function parseText(bytes: Buffer, where: string): unknown {
  if (!isUtf8(bytes)) throw new ApiError('malformed_json', `${where}the text is not UTF-8`)
  try {
    return JSON.parse(bytes.toString('utf8')) as unknown
  } catch (error) {
    throw new ApiError('malformed_json', `${where}${(error as Error).message}`)
  }
}

const unpackr = new Unpackr({ useRecords: false, mapsAsObjects: true, int64AsType: 'number' })

function parseMsgpack(bytes: Buffer): unknown {
  try {
    return unpackr.unpack(bytes)
  } catch (error) {
    throw new ApiError('malformed_body', `the body is no msgpack: ${(error as Error).message}`)
  }
}

/**
 * JSON.parse keeps the last of two fields of one name and says nothing. The number of fields in
 * the text is the number of colons outside strings, so a difference to what was read means that
 * something would be lost.
 */
function assertNoDuplicateFields(bytes: Buffer, value: unknown, where: string): void {
  if (countColons(bytes) === countFields(value)) return
  throw new ApiError('duplicate_field', `${where}an object has two fields of the same name`, {
    field: duplicateField(bytes.toString('utf8')),
  })
}

const quote = 0x22
const backslash = 0x5c
const colon = 0x3a

function countColons(bytes: Buffer): number {
  let count = 0
  let inString = false
  for (let at = 0; at < bytes.length; at++) {
    const byte = bytes[at]
    if (inString) {
      if (byte === backslash) at += 1
      else if (byte === quote) inString = false
    } else if (byte === quote) inString = true
    else if (byte === colon) count += 1
  }
  return count
}

function countFields(value: unknown): number {
  if (typeof value !== 'object' || value === null) return 0
  let count = 0
  if (Array.isArray(value)) {
    for (const entry of value) count += countFields(entry)
    return count
  }
  for (const name in value) {
    count += 1 + countFields((value as Record<string, unknown>)[name])
  }
  return count
}

/** The first name that an object has twice; only called when there is one. */
function duplicateField(text: string): string {
  const seen: Set<string>[] = []
  const tokens = /"(?:[^"\\]|\\.)*"(\s*:)?|[{}]/g
  for (const match of text.matchAll(tokens)) {
    const token = match[0]
    if (token === '{') seen.push(new Set())
    else if (token === '}') seen.pop()
    else if (match[1] !== undefined) {
      const name = JSON.parse(token.slice(0, token.lastIndexOf('"') + 1)) as string
      const names = seen[seen.length - 1]
      if (names.has(name)) return name
      names.add(name)
    }
  }
  return 'body'
}
