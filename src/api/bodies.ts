import { isUtf8 } from 'node:buffer'
import type { FastifyInstance } from 'fastify'
import { Unpackr } from 'msgpackr'
import {
  type BatchInput,
  batchItemsMax,
  binaryRequestType,
  readBinaryBatch,
} from './binary-batch.js'
import { ApiError, shortened } from './errors.js'

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
  if (bytes.length === 0) {
    throw new ApiError('malformed_json', 'the body is empty', { field: 'body' })
  }
  return parseText(bytes, '', { field: 'body' })
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
    values.push(
      parseText(piece, `line ${line}: `, { field: `transactions/${values.length}`, line }),
    )
  }
  return values
}

/** `where` starts the message of an error, and `details` are its own. */
function parseText(bytes: Buffer, where: string, details: object): unknown {
  const malformed = (what: string) =>
    new ApiError('malformed_json', `${where}${what}`, { ...details })
  if (!isUtf8(bytes)) throw malformed('the text is not UTF-8')
  let value: unknown
  try {
    value = JSON.parse(bytes.toString('utf8'))
  } catch (error) {
    throw malformed((error as Error).message)
  }
  const { colons, depth } = measure(bytes)
  if (depth > depthMax) throw malformed(`the text is nested deeper than ${depthMax}`)
  if (colons !== countFields(value)) {
    const field = duplicateField(bytes)
    const message = `${where}an object has two fields of the name ${field}`
    throw new ApiError('duplicate_field', message, { ...details, field })
  }
  return value
}

const unpackr = new Unpackr({ useRecords: false, mapsAsObjects: true, int64AsType: 'number' })

function parseMsgpack(bytes: Buffer): unknown {
  try {
    const value = unpackr.unpack(bytes) as unknown
    // What is no UTF-8 comes out as replacement characters; one that was sent is there as bytes.
    const replacements = countReplacements(value)
    if (replacements > 0 && replacements > countOccurrences(bytes, replacementBytes)) {
      throw new Error('a string is not UTF-8')
    }
    return value
  } catch (error) {
    const message = `the body is no msgpack: ${(error as Error).message}`
    throw new ApiError('malformed_body', message, { field: 'body' })
  }
}

const replacement = '\ufffd'
const replacementBytes = Buffer.from(replacement)

function countReplacements(value: unknown): number {
  if (typeof value === 'string') {
    return value.includes(replacement) ? value.split(replacement).length - 1 : 0
  }
  if (typeof value !== 'object' || value === null || ArrayBuffer.isView(value)) return 0
  let count = 0
  for (const name in value) {
    count += countReplacements(name)
    count += countReplacements((value as Record<string, unknown>)[name])
  }
  return count
}

function countOccurrences(bytes: Buffer, piece: Buffer): number {
  let count = 0
  for (let at = bytes.indexOf(piece); at >= 0; at = bytes.indexOf(piece, at + 1)) count += 1
  return count
}

/** No body that we know goes deeper than 6; what does is not walked through. */
const depthMax = 16

const quote = 0x22
const backslash = 0x5c
const colon = 0x3a
const openBrace = 0x7b
const closeBrace = 0x7d

/**
 * JSON.parse keeps the last of two fields of one name and says nothing. The number of fields in
 * the text is the number of colons outside strings, so a difference to what was read means that
 * something would be lost. Depth counts objects and arrays around each other.
 */
function measure(bytes: Buffer): { colons: number; depth: number } {
  let colons = 0
  let open = 0
  let depth = 0
  for (let at = 0; at < bytes.length; at++) {
    const byte = bytes[at]
    if (byte === quote) at = stringEnd(bytes, at)
    else if (byte === colon) colons += 1
    // `[` and `{` differ in one bit, as do `]` and `}`.
    else if ((byte | 0x20) === openBrace) depth = Math.max(depth, ++open)
    else if ((byte | 0x20) === closeBrace) open -= 1
  }
  return { colons, depth }
}

/** Where the string that starts at `start` has its closing quote. */
function stringEnd(bytes: Buffer, start: number): number {
  let at = start + 1
  while (at < bytes.length && bytes[at] !== quote) at += bytes[at] === backslash ? 2 : 1
  return at
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
function duplicateField(bytes: Buffer): string {
  const seen: Set<string>[] = []
  let lastString = ''
  for (let at = 0; at < bytes.length; at++) {
    const byte = bytes[at]
    if (byte === openBrace) seen.push(new Set())
    else if (byte === closeBrace) seen.pop()
    else if (byte === quote) {
      const end = stringEnd(bytes, at)
      lastString = bytes.toString('utf8', at, end + 1)
      at = end
    } else if (byte === colon) {
      const name = JSON.parse(lastString) as string
      const names = seen[seen.length - 1]
      if (names.has(name)) return shortened(name)
      names.add(name)
    }
  }
  return 'body'
}
