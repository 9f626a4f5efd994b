import { connect } from 'node:net'
import { pack } from 'msgpackr'
import t, { type Test } from 'tap'
import {
  type Answer,
  type ApiServer,
  eventually,
  openAccounts,
  rawExchange,
  startApi,
} from './server.js'

t.setTimeout(120_000)

/** One row: what is sent, and the answer that it must get. */
interface BadInput {
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

const batch = '/v1/transactions/batch'
const msgpack = { 'content-type': 'application/msgpack' }
const ndjson = { 'content-type': 'application/x-ndjson' }
const binary = { 'content-type': 'application/vnd.daybook.transactions' }
const uuid = '0198c5a4-7a10-7c3e-9d5b-6f1f0a2b3c4d'

const movement = { debit: 'cash', credit: 'ada', amount: '1.00' }
const text = JSON.stringify(movement)
const with_ = (more: object) => ({ ...movement, ...more })
const withText = (more: string) => `${text.slice(0, -1)},${more}}`
const many = (count: number) => Array.from({ length: count }, () => movement)

const invalid = { status: 400, code: 'invalid_request' }
const malformed = { status: 400, code: 'malformed_json', field: 'body' }
const broken = { status: 400, code: 'malformed_body' }
const duplicate = { status: 400, code: 'duplicate_field' }

const amounts: BadInput[] = [
  ['a JSON number', 1.5],
  ['a whole JSON number', 1],
  ['null', null],
  ['an object', {}],
  ['negative', '-1.00'],
  ['zero', '0'],
  ['zero with decimals', '0.00'],
  ['20 digits', '12345678901234567890'],
  ['9 decimals', '1.000000001'],
  ['beyond 64 bits', '9223372036854775808'],
  ['beyond 64 bits with decimals', '922337203685477.58081234'],
  ['an exponent', '1e3'],
  ['a leading plus', '+1.00'],
  ['a leading blank', ' 1.00'],
  ['a trailing newline', '1.00\n'],
  ['hexadecimal', '0x10'],
  ['Arabic-Indic digits', '\u0661'],
  ['a decimal comma', '1,00'],
  ['no digit before the point', '.5'],
  ['no digit after the point', '1.'],
  ['NaN', 'NaN'],
  ['Infinity', 'Infinity'],
  ['empty', ''],
  ['NUL', '1\u00000'],
  ['a thousand digits', '1'.repeat(1000)],
].map(([what, amount]) => ({
  name: `amount: ${what}`,
  body: with_({ amount }),
  ...invalid,
  field: 'amount',
}))

const fields: BadInput[] = [
  { name: 'no field at all', body: {}, ...invalid, field: 'debit' },
  { name: 'debit is missing', body: { credit: 'ada', amount: '1' }, ...invalid, field: 'debit' },
  { name: 'credit is missing', body: { debit: 'cash', amount: '1' }, ...invalid, field: 'credit' },
  { name: 'amount is missing', body: { debit: 'cash', credit: 'ada' }, ...invalid, field: 'amount' },
  {
    name: 'amount is missing in a posting',
    body: { postings: [movement, { debit: 'cash', credit: 'ada' }] },
    ...invalid,
    field: 'postings/1/amount',
  },
  { name: 'an unknown field', body: with_({ ammount: '2' }), ...invalid, field: 'ammount' },
  {
    name: 'an unknown field in a posting',
    body: { postings: [with_({ note: 'x' })] },
    ...invalid,
    field: 'postings/0/note',
  },
  {
    name: 'an unknown field in an item',
    path: batch,
    body: { transactions: [movement, with_({ note: 'x' })] },
    ...invalid,
    field: 'transactions/1/note',
  },
  {
    name: 'an unknown field in a condition',
    body: with_({ conditions: [{ account: 'ada', version: 1, x: 1 }] }),
    ...invalid,
    field: 'conditions/0/x',
  },
  {
    name: 'the name of an unknown field is as long as the body',
    body: with_({ ['x'.repeat(500_000)]: 1 }),
    ...invalid,
    field: `${'x'.repeat(200)}…`,
  },
  {
    name: 'a field called __proto__',
    body: withText('"__proto__":{"debit":"x"}'),
    ...invalid,
    field: '__proto__',
  },
  { name: 'an id with a blank', body: with_({ id: 'a b' }), ...invalid, field: 'id' },
  { name: 'an id of 65 characters', body: with_({ id: 'x'.repeat(65) }), ...invalid, field: 'id' },
  { name: 'an empty id', body: with_({ id: '' }), ...invalid, field: 'id' },
  { name: 'a key that is no string', body: with_({ debit: 7 }), ...invalid, field: 'debit' },
  { name: 'a currency in small letters', body: with_({ currency: 'eur' }), ...invalid, field: 'currency' },
  { name: 'postings and amount both', body: with_({ postings: [movement] }), ...invalid, field: 'debit' },
  { name: '65 postings', body: { postings: many(65) }, ...invalid, field: 'postings' },
  { name: 'no posting', body: { postings: [] }, ...invalid, field: 'postings' },
  { name: 'pending is a string', body: with_({ pending: 'true' }), ...invalid, field: 'pending' },
  {
    name: 'an expiry without pending',
    body: with_({ expiresAt: '2030-01-01T00:00:00Z' }),
    ...invalid,
    field: 'expiresAt',
  },
  {
    name: 'an expiry on 30 February',
    body: with_({ pending: true, expiresAt: '2030-02-30T00:00:00Z' }),
    ...invalid,
    field: 'expiresAt',
  },
  {
    name: 'an expiry without a zone',
    body: with_({ pending: true, expiresAt: '2030-01-01T00:00:00' }),
    ...invalid,
    field: 'expiresAt',
  },
  { name: '30 February', body: with_({ effectiveDate: '2026-02-30' }), ...invalid, field: 'effectiveDate' },
  { name: 'the year 0', body: with_({ effectiveDate: '0000-01-01' }), ...invalid, field: 'effectiveDate' },
  { name: 'a date with time', body: with_({ effectiveDate: '2026-01-01T00' }), ...invalid, field: 'effectiveDate' },
  { name: 'a negative code', body: with_({ code: -1 }), ...invalid, field: 'code' },
  { name: 'a code beyond 32 bits', body: with_({ code: 2 ** 32 }), ...invalid, field: 'code' },
  { name: 'a code with decimals', body: with_({ code: 1.5 }), ...invalid, field: 'code' },
  { name: 'a code of 1e400', body: withText('"code":1e400'), ...invalid, field: 'code' },
  { name: 'NUL in a text', body: with_({ reference: 'a\0b' }), ...invalid, field: 'reference' },
  {
    name: 'a lone high surrogate',
    body: withText('"reference":"\\ud800"'),
    ...invalid,
    field: 'reference',
  },
  {
    name: 'a lone low surrogate',
    body: withText('"description":"x\\udc00x"'),
    ...invalid,
    field: 'description',
  },
  { name: 'a text that is too long', body: with_({ reference: 'x'.repeat(129) }), ...invalid, field: 'reference' },
  { name: 'an empty text', body: with_({ reference: '' }), ...invalid, field: 'reference' },
  {
    name: 'a condition on version 0',
    body: with_({ conditions: [{ account: 'ada', version: 0 }] }),
    ...invalid,
    field: 'conditions/0/version',
  },
  {
    name: '65 conditions',
    body: with_({ conditions: Array.from({ length: 65 }, () => ({ account: 'ada', version: 1 })) }),
    ...invalid,
    field: 'conditions',
  },
]

const metadata: BadInput[] = [
  ['larger than 4 KB', '{"a":"' + 'x'.repeat(4096) + '"}', 'metadata'],
  ['a value of more than 4 KB', '{"a":"' + 'x'.repeat(5000) + '"}', 'metadata/a'],
  ['4 KB in two-byte characters', `{"a":"${'é'.repeat(2100)}"}`, 'metadata'],
  ['65 names', JSON.stringify(Object.fromEntries(many(65).map((_, n) => [n, n]))), 'metadata'],
  ['a name of 65 characters', `{"${'n'.repeat(65)}":1}`, 'metadata'],
  ['an empty name', '{"":1}', 'metadata'],
  ['a name with NUL', '{"a\\u0000":1}', 'metadata'],
  ['a name with a lone surrogate', '{"\\ud83d":1}', 'metadata'],
  ['__proto__', '{"__proto__":1}', 'metadata'],
  ['a value that is an object', '{"a":{"b":1}}', 'metadata/a'],
  ['a value that is a list', '{"a":[1]}', 'metadata/a'],
  ['a value that is null', '{"a":null}', 'metadata/a'],
  ['a value with NUL', '{"a":"\\u0000"}', 'metadata/a'],
  ['a number with decimals', '{"a":0.1}', 'metadata/a'],
  ['a number beyond 2^53', '{"a":9007199254740993}', 'metadata/a'],
  ['a number below -2^53', '{"a":-9007199254740993}', 'metadata/a'],
  ['a number of 1e400', '{"a":1e400}', 'metadata/a'],
  ['a list', '[1]', 'metadata'],
  ['a string', '"x"', 'metadata'],
  ['null', 'null', 'metadata'],
].map(([what, json, field]) => ({
  name: `metadata: ${what}`,
  body: withText(`"metadata":${json}`),
  ...invalid,
  field,
}))

const bodies: BadInput[] = [
  { name: 'JSON that breaks off', body: text.slice(0, -5), ...malformed },
  { name: 'something behind the JSON', body: `${text}}`, ...malformed },
  { name: 'single quotes', body: "{'debit':'cash'}", ...malformed },
  { name: 'a comment', body: `${text} // ok`, ...malformed },
  { name: 'NUL in the JSON', body: `${text}\0`, ...malformed },
  { name: 'UTF-16', body: Buffer.from(text, 'utf16le'), ...malformed },
  {
    name: 'invalid UTF-8',
    body: Buffer.concat([Buffer.from('{"reference":"'), Buffer.from([0xc3, 0x28]), Buffer.from('"}')]),
    ...malformed,
    message: /UTF-8/,
  },
  {
    name: 'UTF-8 of a surrogate',
    body: Buffer.concat([
      Buffer.from('{"reference":"'),
      Buffer.from([0xed, 0xa0, 0x80]),
      Buffer.from('"}'),
    ]),
    ...malformed,
  },
  { name: 'lists in lists, 400,000 deep', body: '['.repeat(400_000) + ']'.repeat(400_000), ...malformed },
  {
    name: 'objects in objects, 100,000 deep',
    body: '{"metadata":'.repeat(50_000) + '1' + '}'.repeat(50_000),
    ...malformed,
  },
  { name: 'the body is a list', body: '[]', ...invalid, field: 'body' },
  { name: 'the body is null', body: 'null', ...invalid, field: 'body' },
  { name: 'the body is a string', body: '"x"', ...invalid, field: 'body' },
  { name: 'an empty body', body: '', headers: { 'content-type': 'application/json' }, ...malformed },
  { name: 'no body and no content type', ...invalid, field: 'body' },
  {
    name: 'text/plain',
    body: text,
    headers: { 'content-type': 'text/plain' },
    status: 415,
    code: 'unsupported_media_type',
    field: 'Content-Type',
  },
  {
    name: 'application/jsonx',
    body: text,
    headers: { 'content-type': 'application/jsonx' },
    status: 415,
    code: 'unsupported_media_type',
    field: 'Content-Type',
  },
  {
    name: 'msgpack where only JSON is taken',
    body: pack(movement),
    headers: msgpack,
    status: 415,
    code: 'unsupported_media_type',
    field: 'Content-Type',
  },
  {
    name: 'a content type that is none',
    body: text,
    headers: { 'content-type': ';;;' },
    status: 415,
    code: 'unsupported_media_type',
    field: 'Content-Type',
  },
  {
    name: '10 MB in a text of a single transaction',
    body: with_({ reference: 'x'.repeat(10_000_000) }),
    status: 413,
    code: 'body_too_large',
    field: 'body',
  },
  {
    name: '10 MB in a text of a batch',
    path: batch,
    body: { transactions: [with_({ reference: 'x'.repeat(10_000_000) })] },
    ...invalid,
    field: 'transactions/0/reference',
  },
  {
    name: '40 MB of zeros for an amount',
    path: batch,
    body: { transactions: [with_({ amount: '0'.repeat(40_000_000) })] },
    ...invalid,
    field: 'transactions/0/amount',
  },
  {
    name: '10 MB in the name of a field, twice',
    path: batch,
    body: `{"transactions":[${text}],"${'x'.repeat(5_000_000)}":1,"${'x'.repeat(5_000_000)}":1}`,
    ...duplicate,
    field: `${'x'.repeat(200)}…`,
  },
  {
    name: 'a batch of more than 48 MB',
    path: batch,
    body: Buffer.alloc(48 * 1024 * 1024 + 1, 0x20),
    status: 413,
    code: 'body_too_large',
    field: 'body',
  },
]

const duplicates: BadInput[] = [
  { name: 'a field twice', body: withText('"amount":"2.00"'), ...duplicate, field: 'amount' },
  { name: 'a field twice with one value', body: withText('"amount":"1.00"'), ...duplicate, field: 'amount' },
  { name: 'a field twice, once escaped', body: withText('"\\u0061mount":"2.00"'), ...duplicate, field: 'amount' },
  {
    name: 'a field twice in metadata',
    body: withText('"metadata":{"a":1,"b":":","a":2}'),
    ...duplicate,
    field: 'a',
  },
  {
    name: '__proto__ twice',
    body: withText('"metadata":{"__proto__":1,"__proto__":2}'),
    ...duplicate,
    field: '__proto__',
  },
  {
    name: 'a field twice in a posting',
    body: `{"postings":[${text},${withText('"credit":"ben"')}]}`,
    ...duplicate,
    field: 'credit',
  },
  {
    name: 'a field twice in an NDJSON line',
    path: batch,
    headers: ndjson,
    body: `${text}\n${withText('"credit":"ben"')}\n`,
    ...duplicate,
    field: 'credit',
    message: /^line 2: /,
  },
]

const batches: BadInput[] = [
  { name: 'a batch without transactions', path: batch, body: {}, ...invalid, field: 'transactions' },
  { name: 'a batch of 0', path: batch, body: { transactions: [] }, ...invalid, field: 'transactions' },
  {
    name: 'a batch of 8,191',
    path: batch,
    body: { transactions: many(8191) },
    ...invalid,
    field: 'transactions',
  },
  {
    name: 'an NDJSON batch of 8,191',
    path: batch,
    headers: ndjson,
    body: `${text}\n`.repeat(8191),
    ...invalid,
    field: 'transactions',
  },
  {
    name: 'the same id twice in a batch',
    path: batch,
    body: { transactions: [with_({ id: 'one' }), movement, with_({ id: 'one' })] },
    status: 400,
    code: 'duplicate_id',
    field: 'transactions/2/id',
  },
  {
    name: 'the same UUID twice, in large and small letters',
    path: batch,
    body: { transactions: [with_({ id: uuid }), with_({ id: uuid.toUpperCase() })] },
    status: 400,
    code: 'duplicate_id',
    field: 'transactions/1/id',
  },
  {
    name: 'an amount that is a number, in an item',
    path: batch,
    body: { transactions: [movement, with_({ amount: 1 })] },
    ...invalid,
    field: 'transactions/1/amount',
  },
  {
    name: 'a date that is none, in an item',
    path: batch,
    body: { transactions: [movement, with_({ effectiveDate: '2026-02-30' })] },
    ...invalid,
    field: 'transactions/1/effectiveDate',
  },
  {
    name: 'amount beside postings, in an item',
    path: batch,
    body: { transactions: [with_({ postings: [movement] })] },
    ...invalid,
    field: 'transactions/0/debit',
  },
  { name: 'an item that is null', path: batch, body: { transactions: [null] }, ...invalid, field: 'transactions/0' },
  { name: 'atomic is a string', path: batch, body: { transactions: [movement], atomic: 'yes' }, ...invalid, field: 'atomic' },
  { name: 'atomic=1 in the query', path: `${batch}?atomic=1`, body: { transactions: [movement] }, ...invalid, field: 'atomic' },
  { name: 'an unknown option in the query', path: `${batch}?fast=true`, body: { transactions: [movement] }, ...invalid, field: 'fast' },
  {
    name: 'NDJSON with a bad line in the middle',
    path: batch,
    headers: ndjson,
    body: `${text}\n\n{"debit":\n${text}\n`,
    ...malformed,
    field: 'transactions/1',
    message: /^line 3: /,
  },
  {
    name: 'NDJSON with invalid UTF-8 in the second line',
    path: batch,
    headers: ndjson,
    body: Buffer.concat([Buffer.from(`${text}\n`), Buffer.from([0x22, 0xff, 0x22, 0x0a])]),
    ...malformed,
    field: 'transactions/1',
    message: /^line 2: .*UTF-8/,
  },
  {
    name: 'NDJSON with a bad field in a line',
    path: batch,
    headers: ndjson,
    body: `${text}\n${JSON.stringify(with_({ amount: 1 }))}\n`,
    ...invalid,
    field: 'transactions/1/amount',
  },
  { name: 'NDJSON of blank lines', path: batch, headers: ndjson, body: '\n\r\n\n', ...invalid, field: 'transactions' },
  { name: 'NDJSON of nothing', path: batch, headers: ndjson, body: '', ...invalid, field: 'transactions' },
  { name: 'NDJSON of numbers', path: batch, headers: ndjson, body: '1\n2\n', ...invalid, field: 'transactions/0' },
]

const packed: BadInput[] = [
  { name: 'msgpack of nothing', body: Buffer.alloc(0), ...broken, field: 'body' },
  { name: 'msgpack that breaks off', body: pack({ transactions: [movement] }).subarray(0, -3), ...broken, field: 'body' },
  {
    name: 'something behind the msgpack',
    body: Buffer.concat([pack({ transactions: [movement] }), Buffer.from([0])]),
    ...broken,
    field: 'body',
  },
  { name: 'the byte that msgpack never uses', body: Buffer.from([0xc1]), ...invalid, field: 'transactions' },
  { name: 'a list of 4 billion that is not there', body: Buffer.from([0xdd, 255, 255, 255, 255]), ...broken, field: 'body' },
  { name: 'msgpack lists in lists, a million deep', body: Buffer.alloc(1_000_000, 0x91), ...broken, field: 'body' },
  { name: 'msgpack of a list', body: pack([movement]), ...invalid, field: 'body' },
  { name: 'msgpack of nil', body: Buffer.from([0xc0]), ...invalid, field: 'body' },
  ...(
    [
      ['a whole number', 5],
      ['an int64', 2n ** 62n],
      ['a uint64', 2n ** 64n - 1n],
      ['a float', 1.25],
      ['bytes', Buffer.from('1.00')],
      ['nil', null],
      ['a time', new Date(0)],
    ] as const
  ).map(([what, amount]) => ({
    name: `msgpack with ${what} for an amount`,
    body: pack({ transactions: [with_({ amount })] }),
    ...invalid,
    field: 'transactions/0/amount',
  })),
  {
    name: 'msgpack with a huge number in metadata',
    body: pack({ transactions: [with_({ metadata: { a: 2n ** 63n } })] }),
    ...invalid,
    field: 'transactions/0/metadata/a',
  },
  {
    name: 'msgpack with __proto__ in metadata',
    body: pack({ transactions: [with_({ metadata: JSON.parse('{"__proto__":1}') })] }),
    ...invalid,
    field: 'transactions/0/metadata',
  },
  {
    name: 'msgpack with a lone surrogate for a string',
    body: Buffer.from(
      pack({ transactions: [with_({ reference: 'abc' })] }).toString('latin1').replace('abc', '\xed\xa0\x80'),
      'latin1',
    ),
    ...broken,
    field: 'body',
  },
].map((row) => ({ ...row, path: batch, headers: msgpack }))

/** A binary request of one item, with `change` made to it. */
function frame(change: (bytes: Buffer) => Buffer | undefined): Buffer {
  const bytes = Buffer.alloc(80)
  bytes.write('DAYB')
  bytes[4] = 1
  bytes[6] = 2
  bytes.writeUInt32LE(1, 8)
  bytes.write('0198c5a47a107c3e9d5b6f1f0a2b3c4d', 16, 'hex')
  bytes.write('0198c5a47a107c3e9d5b6f1f0a2b3c4e', 32, 'hex')
  bytes.write('0198c5a47a107c3e9d5b6f1f0a2b3c4f', 48, 'hex')
  bytes.writeBigInt64LE(100n, 64)
  bytes.writeInt32LE(-(2 ** 31), 72)
  return change(bytes) ?? bytes
}

const write = (change: (bytes: Buffer) => unknown) => frame((bytes) => void change(bytes))

const binaries: BadInput[] = [
  { name: 'nothing', body: Buffer.alloc(0), ...broken, field: 'header' },
  { name: 'half a header', body: frame((b) => b.subarray(0, 8)), ...broken, field: 'header' },
  { name: 'wrong magic', body: write((b) => b.write('DAYX')), ...broken, field: 'header' },
  { name: 'wrong version', body: write((b) => b.writeUInt8(2, 4)), ...invalid, field: 'header/version' },
  { name: 'an unknown flag', body: write((b) => b.writeUInt8(8, 5)), ...invalid, field: 'header/flags' },
  { name: 'a scale of 9', body: write((b) => b.writeUInt8(9, 6)), ...invalid, field: 'header/scale' },
  { name: 'a reserved byte', body: write((b) => b.writeUInt8(1, 7)), ...invalid, field: 'header/reserved' },
  { name: 'a reserved word', body: write((b) => b.writeUInt32LE(1, 12)), ...invalid, field: 'header/reserved' },
  { name: 'a count of 0', body: write((b) => b.writeUInt32LE(0, 8)), ...invalid, field: 'header/count' },
  { name: 'a count of 8,191', body: write((b) => b.writeUInt32LE(8191, 8)), ...invalid, field: 'header/count' },
  { name: 'a count of 2 with one item', body: write((b) => b.writeUInt32LE(2, 8)), ...broken, field: 'header/count' },
  { name: 'an item that breaks off', body: frame((b) => b.subarray(0, 79)), ...broken, field: 'header/count' },
  { name: 'trailing bytes', body: frame((b) => Buffer.concat([b, Buffer.alloc(1)])), ...broken, field: 'header/count' },
  { name: 'amount zero', body: write((b) => b.writeBigInt64LE(0n, 64)), ...invalid, field: 'transactions/0/amount' },
  { name: 'amount negative', body: write((b) => b.writeBigInt64LE(-1n, 64)), ...invalid, field: 'transactions/0/amount' },
  { name: 'a date before the year 1', body: write((b) => b.writeInt32LE(-719_163, 72)), ...invalid, field: 'transactions/0/effectiveDate' },
  { name: 'a date after the year 9999', body: write((b) => b.writeInt32LE(2_932_897, 72)), ...invalid, field: 'transactions/0/effectiveDate' },
  {
    name: 'the same id twice',
    body: frame((b) => {
      b.writeUInt32LE(2, 8)
      return Buffer.concat([b, b.subarray(16)])
    }),
    status: 400,
    code: 'duplicate_id',
    field: 'transactions/1/id',
  },
].map((row) => ({ ...row, name: `binary: ${row.name}`, path: batch, headers: binary }))

const headers: BadInput[] = [
  {
    name: 'id and Idempotency-Key different',
    body: with_({ id: 'one' }),
    headers: { 'idempotency-key': 'other' },
    ...invalid,
    field: 'id',
  },
  {
    name: 'an Idempotency-Key with a blank',
    body: movement,
    headers: { 'idempotency-key': 'a b' },
    ...invalid,
    field: 'Idempotency-Key',
  },
  {
    name: 'a bad Idempotency-Key of a batch',
    path: batch,
    body: { transactions: [movement] },
    headers: { 'idempotency-key': 'é' },
    ...invalid,
    field: 'Idempotency-Key',
  },
  {
    name: 'a bad X-Correlation-Id',
    body: movement,
    headers: { 'x-correlation-id': 'a b' },
    ...invalid,
    field: 'X-Correlation-Id',
  },
  {
    name: 'an X-Correlation-Id of 65 characters',
    body: movement,
    headers: { 'x-correlation-id': 'x'.repeat(65) },
    ...invalid,
    field: 'X-Correlation-Id',
  },
]

const notFound = { status: 404, code: 'route_not_found' }
const notAllowed = { status: 405, code: 'method_not_allowed' }
const account = '/v1/accounts/ada'

const routes: BadInput[] = [
  { name: 'an unknown route', method: 'GET', path: '/v1/nothing', ...notFound },
  { name: 'the root', method: 'GET', path: '/', ...notFound },
  { name: 'a trailing slash', method: 'GET', path: `${account}/`, ...notFound },
  { name: 'a path that goes up', method: 'GET', path: '/docs/static/..%2f..%2fpackage.json', ...notFound },
  { name: 'DELETE of an account', method: 'DELETE', path: account, ...notAllowed },
  { name: 'PUT of an account', method: 'PUT', path: account, body: {}, ...notAllowed },
  { name: 'GET of a batch', method: 'PUT', path: batch, ...notAllowed },
  { name: 'POST of /health', method: 'POST', path: '/health', ...notAllowed },
  { name: 'a path key of 65 characters', method: 'GET', path: `/v1/accounts/${'x'.repeat(65)}`, ...invalid, field: 'id' },
  { name: 'a path key of 1,000 characters', method: 'GET', path: `/v1/accounts/${'x'.repeat(1000)}`, ...invalid, field: 'id' },
  { name: 'a path key with a blank', method: 'GET', path: '/v1/accounts/a%20b', ...invalid, field: 'id' },
  { name: 'a path key with NUL', method: 'GET', path: '/v1/accounts/a%00b', ...invalid, field: 'id' },
  { name: 'a path that is no UTF-8', method: 'GET', path: '/v1/accounts/%ff', ...invalid, field: 'path' },
  { name: 'minPosition without a stream', method: 'GET', path: `${account}?minPosition=17`, ...invalid, field: 'minPosition' },
  { name: 'minPosition of another stream', method: 'GET', path: `${account}?minPosition=2-1`, ...invalid, field: 'minPosition' },
  { name: 'a negative minPosition', method: 'GET', path: `${account}?minPosition=1--1`, ...invalid, field: 'minPosition' },
  { name: 'minPosition twice', method: 'GET', path: `${account}?minPosition=1-1&minPosition=1-2`, ...invalid, field: 'minPosition' },
  { name: 'an unknown parameter', method: 'GET', path: `${account}?limit=1`, ...invalid, field: 'limit' },
  { name: 'bad minPosition of a transaction', method: 'GET', path: '/v1/transactions/x?minPosition=a', ...invalid, field: 'minPosition' },
]

const accounts: BadInput[] = [
  { name: 'without a class', body: { currency: 'EUR' }, ...invalid, field: 'class' },
  { name: 'without a currency', body: { class: 'asset' }, ...invalid, field: 'currency' },
  { name: 'of an unknown class', body: { currency: 'EUR', class: 'debt' }, ...invalid, field: 'class' },
  { name: 'in an unknown currency', body: { currency: 'XXQ', class: 'asset' }, ...invalid, field: 'currency' },
  { name: 'with a limit that is a number', body: { currency: 'EUR', class: 'asset', overdraftLimit: 5 }, ...invalid, field: 'overdraftLimit' },
  { name: 'with a negative limit', body: { currency: 'EUR', class: 'asset', overdraftLimit: '-5' }, ...invalid, field: 'overdraftLimit' },
  { name: 'with a limit of words', body: { currency: 'EUR', class: 'asset', overdraftLimit: 'none' }, ...invalid, field: 'overdraftLimit' },
  { name: 'with a limit beyond 64 bits', body: { currency: 'EUR', class: 'asset', overdraftLimit: '99999999999999999' }, ...invalid, field: 'overdraftLimit' },
  { name: 'with an unlimited minimum', body: { currency: 'EUR', class: 'asset', minimumBalance: 'unlimited' }, ...invalid, field: 'minimumBalance' },
  {
    name: 'with a limit of too many decimals',
    body: { currency: 'EUR', class: 'asset', overdraftLimit: '0.001' },
    status: 400,
    code: 'too_many_decimals',
    field: 'overdraftLimit',
  },
  { name: 'with a balance', body: { currency: 'EUR', class: 'asset', balance: '5' }, ...invalid, field: 'balance' },
].map((row) => ({ ...row, name: `an account ${row.name}`, path: '/v1/accounts' }))

const changes: BadInput[] = [
  { name: 'none', body: {}, ...invalid, field: 'body' },
  { name: 'of the currency', body: { currency: 'USD' }, ...invalid, field: 'currency' },
  { name: 'to an unknown status', body: { status: 'gone' }, ...invalid, field: 'status' },
  { name: 'of version 0', body: { status: 'active', version: 0 }, ...invalid, field: 'version' },
  { name: 'of a limit beyond 64 bits', body: { overdraftLimit: '9999999999999999999' }, ...invalid, field: 'overdraftLimit' },
  {
    name: 'of a limit beyond 64 bits in cents',
    body: { overdraftLimit: '4000000000000000000' },
    status: 422,
    code: 'amount_overflow',
  },
  {
    name: 'of a limit with too many decimals',
    body: { overdraftLimit: '0.001' },
    status: 400,
    code: 'too_many_decimals',
    field: 'overdraftLimit',
  },
].map((row) => ({ ...row, name: `a change ${row.name}`, method: 'PATCH', path: account }))

const followUps: BadInput[] = [
  { name: 'amount and amounts', body: { amount: '1', amounts: ['1'] }, ...invalid, field: 'amounts' },
  { name: 'amounts that are all zero', body: { amounts: ['0', '0.00'] }, ...invalid, field: 'amounts' },
  { name: 'no amounts', body: { amounts: [] }, ...invalid, field: 'amounts' },
  { name: 'an amount of zero', body: { amount: '0' }, ...invalid, field: 'amount' },
  { name: 'an amount beyond 64 bits', body: { amount: '9999999999999999999' }, ...invalid, field: 'amount' },
  { name: 'one of the amounts beyond 64 bits', body: { amounts: ['1', '9999999999999999999'] }, ...invalid, field: 'amounts/1' },
  { name: 'an unknown field', body: { amuont: '1' }, ...invalid, field: 'amuont' },
].map((row) => ({ ...row, name: `the post of a hold with ${row.name}`, path: '/v1/transactions/hold/post' }))

const table = [
  amounts,
  fields,
  metadata,
  bodies,
  duplicates,
  batches,
  packed,
  binaries,
  headers,
  routes,
  accounts,
  changes,
  followUps,
].flat()

t.test('every bad request gets a clear 4xx that names the field, and changes nothing', async (t) => {
  const api = await startApi(t)
  const goesOn = await watch(api)
  for (const row of table) {
    const { name, method = 'POST', path = '/v1/transactions', body, headers } = row
    const answer = await api.call(method, path, { body, headers })
    t.equal(answer.status, row.status, `${name}: ${row.status}`, { answer: answer.json })
    const error = assertErrorShape(t, name, path, answer)
    t.equal(error.code, row.code, `${name}: ${row.code}`, { error })
    t.equal(error.details.field, row.field, `${name}: names ${row.field}`, { error })
    if (row.message !== undefined) t.match(error.message, row.message, name)
    t.equal(await goesOn(), 'goes on', `${name}: the server goes on`)
  }
  t.notMatch(api.logs.join(''), /"level":(50|60)/, 'nothing of it is a fault of the server')
})

/** Raw bytes on a connection, and the statuses that come back. */
const exchanges: {
  name: string
  send: (string | Buffer)[]
  half?: boolean
  statuses: number[]
  code?: string
}[] = [
  { name: 'raw garbage', send: ['\x16\x03\x01\x02\x00garbage\r\n\r\n'], statuses: [400], code: 'invalid_request' },
  { name: 'another protocol', send: ['SSH-2.0-OpenSSH_9.0\r\n'], statuses: [400], code: 'invalid_request' },
  { name: 'no Host', send: ['GET /health HTTP/1.1\r\nConnection: close\r\n\r\n'], statuses: [403], code: 'host_not_allowed' },
  { name: 'a Host that is not loopback', send: [get('/health', 'Host: evil.example')], statuses: [403], code: 'host_not_allowed' },
  { name: 'a Host that begins like loopback', send: [get('/health', 'Host: 127.0.0.1.evil.example')], statuses: [403], code: 'host_not_allowed' },
  { name: 'a Host that is empty', send: [get('/health', 'Host:')], statuses: [403], code: 'host_not_allowed' },
  { name: 'headers of 20 KB', send: [get('/health', `Host: localhost\r\nX-Long: ${'x'.repeat(20_000)}`)], statuses: [431], code: 'headers_too_large' },
  { name: 'a header with a line feed', send: ['GET /health HTTP/1.1\r\nHost: localhost\r\nbad header\r\n\r\n'], statuses: [400], code: 'invalid_request' },
  { name: 'Content-Length and Transfer-Encoding', send: [post('Content-Length: 5\r\nTransfer-Encoding: chunked', '0\r\n\r\n')], statuses: [400], code: 'invalid_request' },
  { name: 'two different Content-Lengths', send: [post('Content-Length: 5\r\nContent-Length: 6', '{}')], statuses: [400], code: 'invalid_request' },
  { name: 'a negative Content-Length', send: [post('Content-Length: -5', '{}')], statuses: [400], code: 'invalid_request' },
  { name: 'a chunk size that is none', send: [post('Transfer-Encoding: chunked', 'zz\r\n{}\r\n0\r\n\r\n')], statuses: [400], code: 'invalid_request' },
  { name: 'a body without a content type', send: ['POST /v1/transactions HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}'], statuses: [415], code: 'unsupported_media_type' },
  { name: 'HTTP/2 without asking', send: ['PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'], statuses: [400], code: 'invalid_request' },
  { name: 'a slow body', send: [post('Content-Length: 100', '{"debit":"cash",')], statuses: [408], code: 'request_timeout' },
  { name: 'slow headers', send: ['GET /health HTTP/1.1\r\nHost: loc'], statuses: [408], code: 'request_timeout' },
  { name: 'half a request, then the end', send: [post('Content-Length: 100', '{"debit":"cash",')], half: true, statuses: [400] },
  {
    name: 'pipelining: each gets its answer, in order',
    send: [
      'GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n' +
        'GET /v1/nothing HTTP/1.1\r\nHost: localhost\r\n\r\n' +
        get('/ready', 'Host: localhost'),
    ],
    statuses: [200, 404, 200],
  },
  {
    name: 'pipelining: garbage behind a request gets no answer, which could be taken for its own',
    send: ['GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n\x00\x01\x02\r\n\r\n'],
    statuses: [],
  },
]

function get(path: string, lines: string): string {
  return `GET ${path} HTTP/1.1\r\n${lines}\r\nConnection: close\r\n\r\n`
}

function post(lines: string, body: string): string {
  return (
    `POST /v1/transactions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n` +
    `Connection: close\r\n${lines}\r\n\r\n${body}`
  )
}

t.test('what is not even a request gets an answer, or its connection is closed', async (t) => {
  const api = await startApi(t, { environment: { DAYBOOK_BODY_TIMEOUT_MS: '300' } })
  const goesOn = await watch(api)
  for (const { name, send, half, statuses, code } of exchanges) {
    const received = await rawExchange(api.port, send, { half })
    const found = [...received.matchAll(/HTTP\/1\.1 (\d{3}) /g)].map((match) => Number(match[1]))
    t.same(found, statuses, `${name}: ${statuses}`, { received })
    if (code !== undefined) {
      const { error } = JSON.parse(received.slice(received.indexOf('\r\n\r\n') + 4))
      t.equal(error.code, code, `${name}: ${code}`)
      t.ok(error.message && error.timestamp && error.correlationId, `${name}: the shape of errors`)
    }
    t.equal(await goesOn(), 'goes on', `${name}: the server goes on`)
  }
  t.notMatch(api.logs.join(''), /"level":(50|60)/, 'nothing of it is a fault of the server')
})

t.test('clients that go away leave nothing behind', async (t) => {
  const api = await startApi(t)
  const goesOn = await watch(api)
  // More announced bytes than all bodies together may have: they must be given back.
  for (let round = 0; round < 12; round++) {
    const socket = connect(api.port, '127.0.0.1')
    socket.on('error', () => undefined)
    socket.write(
      `POST ${batch} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n` +
        `Content-Length: ${48 * 1024 * 1024}\r\n\r\n{"transactions":[`,
    )
    await new Promise((resolve) => socket.once('ready', resolve))
    if (round % 2 === 0) socket.destroy()
    else socket.resetAndDestroy()
    await new Promise((resolve) => socket.once('close', resolve))
  }
  const body = { transactions: [with_({ id: 'late', reference: 'x' })], atomic: true }
  const padding = ' '.repeat(40 * 1024 * 1024)
  const big = await eventually(async () => {
    const answer = await api.post(batch, JSON.stringify(body) + padding)
    return answer.status === 429 ? undefined : answer
  })
  t.equal(big.status, 200, 'their bytes have been given back')

  // The client is gone when the answer comes; what it asked for happens all the same, once.
  const gone = JSON.stringify(with_({ id: 'gone' }))
  const socket = connect(api.port, '127.0.0.1')
  socket.write(post(`Content-Length: ${gone.length}`, gone), () => socket.destroy())
  await eventually(async () => (await api.get('/v1/transactions/gone')).status === 200)
  const again = await api.post('/v1/transactions', with_({ id: 'gone' }))
  t.equal(again.status, 200)
  t.equal(again.headers.get('idempotent-replayed'), 'true')
  t.match(await goesOn(), /2\.0\d of 0\.0\d/, 'two postings more')
})

t.test('bodies under way are bounded: beyond it 429 before they are read', async (t) => {
  const api = await startApi(t)
  const sockets = Array.from({ length: 6 }, () => connect(api.port, '127.0.0.1'))
  t.teardown(() => {
    for (const socket of sockets) socket.destroy()
  })
  const answers = sockets.map(
    (socket) =>
      new Promise<string>((resolve) => {
        socket.setEncoding('latin1').once('data', (data) => resolve(String(data)))
        socket.write(
          `POST ${batch} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n` +
            `Content-Length: ${48 * 1024 * 1024}\r\n\r\n{`,
        )
      }),
  )
  const first = await Promise.race(answers)
  t.match(first, /^HTTP\/1\.1 429 /)
  t.match(first, /retry-after: 1/i)
  t.match(first, /"code":"overloaded"/)
})

/** Opens the accounts; the function that it gives posts a cent and tells what it finds. */
async function watch(api: ApiServer): Promise<() => Promise<string>> {
  await openAccounts(api)
  let cents = 0
  return async () => {
    const health = await api.get('/health')
    if (health.status !== 200) return `health ${health.status}`
    const posted = await api.post('/v1/transactions', { ...movement, amount: '0.01' })
    if (posted.status !== 201) return `posting ${posted.status}`
    cents += 1
    const expected = (cents / 100).toFixed(2)
    for (const balance of posted.json.data.balances) {
      const changed = balance.version !== cents + 1 || balance.balance !== expected
      if (changed || balance.debitsPending !== '0.00' || balance.creditsPending !== '0.00') {
        return `${balance.balance} of ${expected}`
      }
    }
    return 'goes on'
  }
}

function assertErrorShape(t: Test, name: string, path: string, answer: Answer) {
  const { error } = answer.json
  t.same(
    Object.keys(error),
    ['code', 'message', 'details', 'timestamp', 'path', 'correlationId'],
    `${name}: the shape of errors`,
  )
  t.equal(error.path, path.split('?')[0], `${name}: the path`)
  t.equal(answer.headers.get('x-correlation-id'), error.correlationId, `${name}: correlation id`)
  t.ok(answer.bytes.length < 4000, `${name}: a short answer`)
  return error
}
