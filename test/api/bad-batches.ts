import { pack } from 'msgpackr'
import {
  type BadInput,
  batch,
  binary,
  broken,
  invalid,
  malformed,
  many,
  movement,
  movementWith,
  msgpack,
  ndjson,
  text,
  uuid,
  wrong,
} from './bad-rows.js'

/** What a batch must not be, in each of its forms. */
export const batches: BadInput[] = [
  wrong('a batch without transactions', {}, 'transactions', { path: batch }),
  wrong('a batch of 0', { transactions: [] }, 'transactions', { path: batch }),
  wrong('a batch of 8,191', { transactions: many(8191) }, 'transactions', { path: batch }),
  wrong('an NDJSON batch of 8,191', `${text}\n`.repeat(8191), 'transactions', {
    path: batch,
    headers: ndjson,
  }),
  {
    name: 'the same id twice in a batch',
    path: batch,
    body: { transactions: [movementWith({ id: 'one' }), movement, movementWith({ id: 'one' })] },
    status: 400,
    code: 'duplicate_id',
    field: 'transactions/2/id',
  },
  {
    name: 'the same UUID twice, in large and small letters',
    path: batch,
    body: { transactions: [movementWith({ id: uuid }), movementWith({ id: uuid.toUpperCase() })] },
    status: 400,
    code: 'duplicate_id',
    field: 'transactions/1/id',
  },
  wrong(
    'an amount that is a number, in an item',
    { transactions: [movement, movementWith({ amount: 1 })] },
    'transactions/1/amount',
    { path: batch },
  ),
  wrong(
    'a date that is none, in an item',
    { transactions: [movement, movementWith({ effectiveDate: '2026-02-30' })] },
    'transactions/1/effectiveDate',
    { path: batch },
  ),
  wrong(
    'amount beside postings, in an item',
    { transactions: [movementWith({ postings: [movement] })] },
    'transactions/0/debit',
    { path: batch },
  ),
  wrong('an item that is null', { transactions: [null] }, 'transactions/0', { path: batch }),
  wrong('atomic is a string', { transactions: [movement], atomic: 'yes' }, 'atomic', {
    path: batch,
  }),
  wrong('atomic=1 in the query', { transactions: [movement] }, 'atomic', {
    path: `${batch}?atomic=1`,
  }),
  wrong('an unknown option in the query', { transactions: [movement] }, 'fast', {
    path: `${batch}?fast=true`,
  }),
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
  wrong(
    'NDJSON with a bad field in a line',
    `${text}\n${JSON.stringify(movementWith({ amount: 1 }))}\n`,
    'transactions/1/amount',
    { path: batch, headers: ndjson },
  ),
  wrong('NDJSON of blank lines', '\n\r\n\n', 'transactions', { path: batch, headers: ndjson }),
  wrong('NDJSON of nothing', '', 'transactions', { path: batch, headers: ndjson }),
  wrong('NDJSON of numbers', '1\n2\n', 'transactions/0', { path: batch, headers: ndjson }),
]

export const packed: BadInput[] = [
  { name: 'msgpack of nothing', body: Buffer.alloc(0), ...broken, field: 'body' },
  {
    name: 'msgpack that breaks off',
    body: pack({ transactions: [movement] }).subarray(0, -3),
    ...broken,
    field: 'body',
  },
  {
    name: 'something behind the msgpack',
    body: Buffer.concat([pack({ transactions: [movement] }), Buffer.from([0])]),
    ...broken,
    field: 'body',
  },
  wrong('the byte that msgpack never uses', Buffer.from([0xc1]), 'transactions'),
  {
    name: 'a list of 4 billion that is not there',
    body: Buffer.from([0xdd, 255, 255, 255, 255]),
    ...broken,
    field: 'body',
  },
  {
    name: 'msgpack lists in lists, a million deep',
    body: Buffer.alloc(1_000_000, 0x91),
    ...broken,
    field: 'body',
  },
  wrong('msgpack of a list', pack([movement]), 'body'),
  wrong('msgpack of nil', Buffer.from([0xc0]), 'body'),
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
    body: pack({ transactions: [movementWith({ amount })] }),
    ...invalid,
    field: 'transactions/0/amount',
  })),
  wrong(
    'msgpack with a huge number in metadata',
    pack({ transactions: [movementWith({ metadata: { a: 2n ** 63n } })] }),
    'transactions/0/metadata/a',
  ),
  wrong(
    'msgpack with __proto__ in metadata',
    pack({ transactions: [movementWith({ metadata: JSON.parse('{"__proto__":1}') })] }),
    'transactions/0/metadata',
  ),
  {
    name: 'msgpack with a lone surrogate for a string',
    body: Buffer.from(
      pack({ transactions: [movementWith({ reference: 'abc' })] })
        .toString('latin1')
        .replace('abc', '\xed\xa0\x80'),
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

export const binaries: BadInput[] = [
  { name: 'nothing', body: Buffer.alloc(0), ...broken, field: 'header' },
  { name: 'half a header', body: frame((b) => b.subarray(0, 8)), ...broken, field: 'header' },
  { name: 'wrong magic', body: write((b) => b.write('DAYX')), ...broken, field: 'header' },
  wrong(
    'wrong version',
    write((b) => b.writeUInt8(2, 4)),
    'header/version',
  ),
  wrong(
    'an unknown flag',
    write((b) => b.writeUInt8(8, 5)),
    'header/flags',
  ),
  wrong(
    'a scale of 9',
    write((b) => b.writeUInt8(9, 6)),
    'header/scale',
  ),
  wrong(
    'a reserved byte',
    write((b) => b.writeUInt8(1, 7)),
    'header/reserved',
  ),
  wrong(
    'a reserved word',
    write((b) => b.writeUInt32LE(1, 12)),
    'header/reserved',
  ),
  wrong(
    'a count of 0',
    write((b) => b.writeUInt32LE(0, 8)),
    'header/count',
  ),
  wrong(
    'a count of 8,191',
    write((b) => b.writeUInt32LE(8191, 8)),
    'header/count',
  ),
  {
    name: 'a count of 2 with one item',
    body: write((b) => b.writeUInt32LE(2, 8)),
    ...broken,
    field: 'header/count',
  },
  {
    name: 'an item that breaks off',
    body: frame((b) => b.subarray(0, 79)),
    ...broken,
    field: 'header/count',
  },
  {
    name: 'trailing bytes',
    body: frame((b) => Buffer.concat([b, Buffer.alloc(1)])),
    ...broken,
    field: 'header/count',
  },
  wrong(
    'amount zero',
    write((b) => b.writeBigInt64LE(0n, 64)),
    'transactions/0/amount',
  ),
  wrong(
    'amount negative',
    write((b) => b.writeBigInt64LE(-1n, 64)),
    'transactions/0/amount',
  ),
  wrong(
    'a date before the year 1',
    write((b) => b.writeInt32LE(-719_163, 72)),
    'transactions/0/effectiveDate',
  ),
  wrong(
    'a date after the year 9999',
    write((b) => b.writeInt32LE(2_932_897, 72)),
    'transactions/0/effectiveDate',
  ),
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
