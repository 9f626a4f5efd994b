import { readFile } from 'node:fs/promises'
import fc from 'fast-check'
import { Client } from 'pg'
import t, { type Test } from 'tap'
import { migrate } from '../../src/journal/migrate.js'
import { temporaryPostgres } from '../postgres.js'
import { header, key, packed, packr, padded, uuid, writeChunk } from './raw-records.js'

t.setTimeout(180_000)
const postgres = await temporaryPostgres(t)
const [views, newestViews] = await Promise.all(
  ['002-views.sql', '003-streams.sql'].map((name) =>
    readFile(new URL(`../../src/journal/migrations/${name}`, import.meta.url), 'utf8'),
  ),
)
t.test('msgpack as jsonb', async (t) => {
  const db = await database(t)
  const decode = async (bytes: Uint8Array) =>
    (await db.query('select daybook.msgpack_to_jsonb($1)::text as v', [bytes])).rows[0].v as string

  t.test('every format of the specification decodes', async (t) => {
    for (const [hex, json] of golden) t.equal(await decode(Buffer.from(hex, 'hex')), json, hex)
  })

  t.test('whatever msgpackr packs decodes to the same JSON', async () => {
    const property = fc.asyncProperty(anyValue, async (value) => {
      const { rows } = await db.query(
        'select v = $2::jsonb as same, v::text from daybook.msgpack_to_jsonb($1) v',
        [packr.pack(value), jsonOf(value)],
      )
      if (!rows[0].same) throw new Error(`decoded ${rows[0].v}\nexpected ${jsonOf(value)}`)
    })
    await fc.assert(property, { numRuns: 1500 })
  })

  // Beyond 2^53 Postgres and JavaScript may choose other digits, which mean the same double.
  t.test('every double and every float comes back as itself', async () => {
    const finite = { noNaN: true, noDefaultInfinity: true }
    const property = fc.asyncProperty(fc.double(finite), fc.float(finite), async (wide, narrow) => {
      const float32 = Buffer.alloc(5, 0xca)
      float32.writeFloatBE(narrow, 1)
      const decoded = [await decode(packr.pack(wide)), await decode(float32)].map(Number)
      if (decoded[0] !== wide || decoded[1] !== narrow) {
        throw new Error(`[${wide}, ${narrow}] became [${decoded}]`)
      }
    })
    await fc.assert(property, { numRuns: 1000 })
  })

  t.test('a large body comes out whole', async (t) => {
    const value = Array.from({ length: 5000 }, (_, i) => ({ [`key ${i}`]: [i, `Zoë "${i}"`, []] }))
    t.strictSame(JSON.parse(await decode(packr.pack(value))), value)
    let deep: unknown = 1
    for (let i = 0; i < 500; i += 1) deep = i % 2 ? [deep, i] : { a: deep, b: {} }
    t.strictSame(JSON.parse(await decode(packr.pack(deep))), deep)
  })

  t.test('input that is cut off is refused wherever it is cut', async (t) => {
    const truncated = { code: '22P03', message: /^msgpack is truncated: / }
    const whole = packr.pack({ a: [1, 300, 70_000, 5n, 1.5], b: { c: 'é'.repeat(40), d: null } })
    const inputs = [whole, ...golden.map(([hex]) => Buffer.from(hex, 'hex'))]
    for (const input of inputs) {
      for (let end = 0; end < Math.min(input.length, 200); end += 1) {
        const hex = input.subarray(0, end).toString('hex')
        await t.rejects(decode(input.subarray(0, end)), truncated, `${hex} is truncated`)
      }
    }
    for (const hex of ['dbffffffff00', 'c6ffffffff', 'ddffffffff', 'dfffffffff', 'c9ffffffff01']) {
      await t.rejects(decode(Buffer.from(hex, 'hex')), truncated, hex)
    }
  })

  t.test('bytes that are not one value are refused', async (t) => {
    await t.rejects(decode(Buffer.from('c1', 'hex')), /byte 0 is c1/)
    await t.rejects(decode(Buffer.from('0102', 'hex')), /not one msgpack value: 1 bytes follow/)
    await t.rejects(decode(Buffer.from('819001', 'hex')), /map key .* is an array or a map/)
  })

  t.test('floats keep their digits whatever the session shows of them', async (t) => {
    await db.query('set extra_float_digits = -10')
    t.equal(await decode(packr.pack(0.1 + 0.2)), '0.30000000000000004')
    await db.query('reset extra_float_digits')
  })
})

t.test('the views of a journal', async (t) => {
  const db = await database(t)
  await writeJournal(db)
  const ask = async (sql: string, values: unknown[] = []) => (await db.query(sql, values)).rows

  t.test('records show header and body, a plain posting like a transaction', async (t) => {
    const all = await ask('select * from daybook.records order by seq')
    t.strictSame(
      all.map((row) => `${row.seq} ${row.kind}`),
      kindsInOrder.map((kind, index) => `${index + 1} ${kind}`),
    )
    const [posting] = all.filter((row) => row.seq === '3')
    const { time, body, ...header } = posting
    t.equal(time.toISOString(), '2024-03-01T10:00:03.003Z')
    t.strictSame(header, {
      stream: 1,
      seq: '3',
      kind: 'posting',
      version: 1,
      tenant: '4000000000',
      principal: '9',
      correlation_id: uuid(0xc0),
      id: uuid(3),
      fingerprint: '0102030405060708',
      imported: true,
      pending: false,
      first_seq: '1',
      id_elsewhere: false,
      cause_kind: null,
      cause_stream: null,
      cause_seq: null,
      message: null,
      generation: 1,
    })
    t.strictSame(body, {
      postings: [[uuid(0xa1), uuid(0xa2), 12_550, 'EUR', 2]],
      effectiveDate: -1,
      code: 4_294_967_295,
    })
    t.strictSame(all[3].body.metadata, { note: 'x'.repeat(20_000) }, 'put together from parts')
    const [exact] = await ask(
      `select body #>> '{postings,1,2}' as minor from daybook.records where seq = 5`,
    )
    t.equal(exact.minor, '9223372036854775807')
  })

  t.test('postings are those that moved money, in exact major units', async (t) => {
    const rows = await ask(`select seq, posting, kind, transaction_id, debit, credit, amount,
      amount_minor, currency, effective_date::text, code, imported, pending, target
      from daybook.postings order by seq, posting`)
    t.strictSame(
      rows.map((row) => [row.seq, row.posting, row.kind, row.amount, row.currency].join(' ')),
      [
        '3 0 posting 125.50 EUR',
        '4 0 transaction 0.05 EUR',
        '5 0 transaction 7 JPY',
        '5 1 transaction 92233720368.54775807 BTC',
        '7 0 hold_posted 40.00 EUR',
        '11 0 reversal 7 JPY',
      ],
    )
    t.match(rows[0], { debit: uuid(0xa1), credit: uuid(0xa2), effective_date: '1969-12-31' })
    t.match(rows[0], { code: '4294967295', imported: true, target: null, transaction_id: uuid(3) })
    t.match(rows[1], { code: '0', imported: false, pending: false })
    t.match(rows[4], { transaction_id: uuid(7), target: uuid(6), amount_minor: '4000' })
  })

  t.test('holds show what is left of each of their postings', async (t) => {
    const rows = await ask(`select seq, posting, amount, remaining_minor, status, expires_at
      from daybook.holds order by seq, posting`)
    t.strictSame(
      rows.map((row) => [row.seq, row.posting, row.amount, row.remaining_minor, row.status]),
      [
        ['6', 0, '100.00', '0', 'voided'],
        ['6', 1, '5.00', '0', 'voided'],
        ['9', 0, '1.00', '0', 'expired'],
        ['12', 0, '2.00', '50', 'pending'],
      ],
    )
    t.equal(rows[2].expires_at.toISOString(), '2024-03-02T00:00:00.000Z')
  })

  const balances = `select account, currency, debits_posted, credits_posted,
    debits_posted_minor from daybook.balances order by currency, account`
  t.test('balances add up what was posted', async (t) => {
    const rows = await ask(balances)
    t.strictSame(
      rows.map((row) => Object.values(row).join(' ')),
      [
        `${uuid(0xa1)} BTC 0.00000000 92233720368.54775807 0`,
        `${uuid(0xa2)} BTC 92233720368.54775807 0.00000000 9223372036854775807`,
        `${uuid(0xa1)} EUR 165.55 0.00 16555`,
        `${uuid(0xa2)} EUR 0.00 165.55 0`,
        `${uuid(0xa1)} JPY 7 7 7`,
        `${uuid(0xa2)} JPY 7 7 7`,
      ],
    )
    const parallel = ['parallel_setup_cost', 'parallel_tuple_cost', 'min_parallel_table_scan_size']
    for (const setting of parallel) await db.query(`set ${setting} = 0`)
    t.strictSame(await ask(balances), rows, 'with a parallel scan of the journal')
    await db.query('reset all')
  })

  t.test('accounts show the latest value of each field', async (t) => {
    const rows = await ask('select * from daybook.accounts order by id')
    t.match(rows, [
      { tenant: '4000000000', id: uuid(0xa1), name: 'till', class: 'asset', currency: 'EUR' },
      { id: uuid(0xa2), name: null, status: 'active', overdraft_limit: null, changed_at: null },
    ])
    t.match(rows[0], { status: 'frozen', overdraft_limit: '0.50', minimum_balance: '-1.00' })
    t.strictSame(rows[0].metadata, { since: 2024 })
    t.equal(rows[0].created_at.toISOString(), '2024-03-01T10:00:01.001Z')
    t.equal(rows[0].changed_at.toISOString(), '2024-03-01T10:00:14.014Z')
  })

  t.test('records_between reads only the chunks that hold them', async (t) => {
    for (const [from, to] of [
      [1, 13],
      [2, 3],
      [4, 4],
      [5, 8],
      [13, 99],
      [14, 99],
      [-3, 0],
    ]) {
      const rows = await ask('select seq from daybook.records_between(1, $1, $2)', [from, to])
      const expected = kindsInOrder.map((_, i) => i + 1).filter((seq) => seq >= from && seq <= to)
      t.strictSame(
        rows.map((row) => Number(row.seq)).sort((a, b) => a - b),
        expected,
      )
    }
    await db.query('select daybook.ensure_partition(10000000)')
    const plan = JSON.stringify(
      await ask('explain (costs off) select kind from daybook.records_between(1, 2, 3)'),
    )
    t.match(plan, /Scan .*on journal_000000 j\b/, 'the function is inlined')
    t.notMatch(plan, /Scan .*on journal_000001 j/, 'other partitions are pruned')
  })

  t.test('damage is an error that names the position', async (t) => {
    const damage = async (n: number, payload: Buffer) => {
      await db.query('begin')
      await writeChunk(db, { stream: 1, firstSeq: 100, part: 0, n, payload })
      try {
        return await ask('select * from daybook.records where first_seq = 100')
      } finally {
        await db.query('rollback')
      }
    }
    const whole = plainPosting(100)
    t.equal((await damage(1, whole)).length, 1)
    t.equal((await damage(2, Buffer.concat([whole, Buffer.alloc(32), whole]))).length, 2)
    await t.rejects(damage(1, whole.subarray(0, 112)), /stream 1, seq 100: .* truncated/)
    await t.rejects(damage(1, whole.subarray(0, 40)), /stream 1, seq 100: .* truncated/)
    await t.rejects(damage(2, whole), /stream 1, seq 100: the chunk says 2 records and holds 1/)
    const newer = Buffer.from(whole)
    newer[1] = 2
    await t.rejects(damage(1, newer), /seq 100: record version 2 is not one/)
  })

  t.test('an auditor finds a comment on every function and view', async (t) => {
    const functions = [
      ...(views + newestViews).matchAll(/create or replace function daybook\.(\w+)/g),
    ]
    t.ok(functions.length > 10)
    const bare = await ask(
      `select oid::regproc::text as name from pg_proc
       where pronamespace = 'daybook'::regnamespace and proname = any ($1)
         and obj_description(oid, 'pg_proc') is null
       union all
       select oid::regclass::text from pg_class
       where relnamespace = 'daybook'::regnamespace and relkind = 'v'
         and obj_description(oid, 'pg_class') is null`,
      [functions.map((match) => match[1])],
    )
    t.strictSame(bare, [])
  })
})

t.test('the views need no superuser', async (t) => {
  const db = await connection(t)
  const role = `daybook_test_${process.pid}`
  await db.query(`create role ${role}`)
  t.teardown(() => db.query(`reset role; drop owned by ${role}; drop role ${role}`))
  await db.query(`do $$ begin
    execute format('grant create on database %I to ${role}', current_database()); end $$`)
  await db.query(`set role ${role}`)
  await migrate(db)
  t.equal((await db.query('select * from daybook.balances')).rowCount, 0)
})

/** A connection to a new database, where the newest views are made twice, since they may be. */
async function database(t: Test): Promise<Client> {
  const db = await connection(t)
  await migrate(db)
  await db.query(newestViews)
  return db
}

async function connection(t: Test): Promise<Client> {
  const db = new Client({ connectionString: await postgres.createDatabase() })
  await db.connect()
  t.teardown(() => db.end())
  return db
}

const kindsInOrder = [
  ...['account_created', 'account_created', 'posting', 'transaction', 'transaction'],
  ...['transaction', 'hold_posted', 'hold_voided', 'transaction', 'hold_expired'],
  ...['reversal', 'transaction', 'account_changed', 'account_changed', 'hold_posted'],
]

/** A journal with every kind, padding, and a record of three parts. */
async function writeJournal(db: Client): Promise<void> {
  const [a, b] = [key(0xa1), key(0xa2)]
  const eur = (minor: bigint) => [a, b, minor, 'EUR', 2]
  const account = { currency: 'EUR', scale: 2, overdraftLimit: 0n, minimumBalance: 0n }
  const at = { effectiveDate: 19_783 }
  const first = [
    packed(7, { seq: 1, id: 0xa1 }, { name: 'till', class: 'asset', ...account }),
    packed(7, { seq: 2, id: 0xa2 }, { class: 'income', ...account, overdraftLimit: null }),
    plainPosting(3),
  ]
  const large = packed(
    2,
    { seq: 4 },
    { postings: [eur(5n)], ...at, metadata: { note: 'x'.repeat(20_000) } },
  )
  const [yen, bitcoin] = [
    [a, b, 7n, 'JPY', 0],
    [b, a, 2n ** 63n - 1n, 'BTC', 8],
  ]
  const second = [packed(2, { seq: 5 }, { postings: [yen, bitcoin], ...at, code: 17 })]
  const expiresAt = BigInt(Date.UTC(2024, 2, 2))
  const third = [
    packed(2, { seq: 6, flags: 2 }, { postings: [eur(10_000n), eur(500n)], ...at }),
    packed(
      3,
      { seq: 7 },
      { target: key(6), postings: [eur(4000n), eur(0n)], released: [0n, 0n], kept: true, ...at },
    ),
    packed(4, { seq: 8 }, { target: key(6), postings: [], released: [6000n, 500n], ...at }),
    packed(2, { seq: 9, flags: 2 }, { postings: [eur(100n)], ...at, expiresAt }),
    packed(5, { seq: 10, id: 9 }, { target: key(9), postings: [], released: [100n], ...at }),
    packed(6, { seq: 11 }, { target: key(5), postings: [[b, a, 7n, 'JPY', 0]], ...at }),
    packed(2, { seq: 12, flags: 2 }, { postings: [eur(200n)], ...at }),
    packed(
      8,
      { seq: 13, id: 0xa1 },
      { status: 'dormant', overdraftLimit: 50n, metadata: { x: 1 } },
    ),
    packed(
      8,
      { seq: 14, id: 0xa1 },
      { status: 'frozen', minimumBalance: -100n, metadata: { since: 2024 } },
    ),
    packed(
      3,
      { seq: 15 },
      { target: key(12), postings: [eur(0n)], released: [150n], kept: true, ...at },
    ),
  ]
  await writeChunk(db, { stream: 1, firstSeq: 1, part: 0, n: 3, payload: padded(first) })
  for (const part of [2, 0, 1]) {
    const payload = large.subarray(part * 7800, (part + 1) * 7800)
    await writeChunk(db, { stream: 1, firstSeq: 4, part, n: part === 0 ? 1 : 0, payload })
  }
  await writeChunk(db, { stream: 1, firstSeq: 5, part: 0, n: 1, payload: padded(second) })
  await writeChunk(db, { stream: 1, firstSeq: 6, part: 0, n: third.length, payload: padded(third) })
}

/** Imported, 125.50 EUR from a2 to a1 on the last day before 1970, with the highest code. */
function plainPosting(seq: number): Buffer {
  const bytes = header(1, { seq, flags: 1 | (2 << 12), length: 120 })
  key(0xa1).copy(bytes, 64)
  key(0xa2).copy(bytes, 80)
  bytes.writeBigInt64LE(12_550n, 96)
  bytes.write('EUR', 104, 'latin1')
  bytes.writeInt32LE(-1, 112)
  bytes.writeUInt32LE(0xffffffff, 116)
  return bytes
}

// Text that Postgres cannot hold comes out as hex, so NUL is wanted among the characters.
const anyText = fc.oneof(
  fc.string({ unit: 'binary', maxLength: 60 }),
  fc.string({ unit: fc.constantFrom('a', '"', '\\', '\n', '\0', 'é', '€', '𝄞'), maxLength: 300 }),
)
const anyValue = fc.letrec((tie) => ({
  value: fc.oneof(
    { depthSize: 'small', withCrossShrink: true },
    fc.constant(null),
    fc.boolean(),
    fc.integer(),
    fc.maxSafeInteger(),
    fc.double({ min: -(2 ** 53), max: 2 ** 53 }),
    fc.constantFrom(Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY),
    fc.bigInt({ min: -(2n ** 63n), max: 2n ** 64n - 1n }),
    anyText,
    fc.uint8Array({ maxLength: 40 }).map((bytes) => Buffer.from(bytes)),
    fc.uint8Array({ minLength: 16, maxLength: 16 }).map((bytes) => Buffer.from(bytes)),
    fc.date({
      min: new Date('0001-01-01T00:00:00Z'),
      max: new Date('9999-12-31T23:59:59.999Z'),
      noInvalidDate: true,
    }),
    fc.array(tie('value'), { maxLength: 20 }),
    fc.dictionary(
      anyText.filter((name) => name !== '__proto__'),
      tie('value'),
      { maxKeys: 20, noNullPrototype: true },
    ),
  ),
})).value

/** JSON text of a value as msgpack_to_jsonb documents it; bigints keep all their digits. */
function jsonOf(value: unknown): string {
  if (typeof value === 'bigint') return value.toString()
  if (typeof value === 'number') {
    return Number.isFinite(value) ? String(value) : JSON.stringify(String(value))
  }
  if (typeof value === 'string') {
    return value.includes('\0')
      ? `{"utf8": "${Buffer.from(value).toString('hex')}"}`
      : JSON.stringify(value)
  }
  if (Buffer.isBuffer(value)) {
    const hex = value.toString('hex')
    return JSON.stringify(hex.length === 32 ? hex.replace(uuidGroups, '$1-$2-$3-$4-$5') : hex)
  }
  if (value instanceof Date) return JSON.stringify(value.toISOString())
  if (Array.isArray(value)) return `[${value.map(jsonOf).join(',')}]`
  if (typeof value === 'object' && value !== null) {
    const entries = Object.entries(value).map(([name, each]) => {
      const text = jsonOf(name)
      return `${text.startsWith('"') ? text : JSON.stringify(text)}:${jsonOf(each)}`
    })
    return `{${entries.join(',')}}`
  }
  return JSON.stringify(value)
}
const uuidGroups = /^(.{8})(.{4})(.{4})(.{4})(.{12})$/

/** [msgpack in hex, jsonb text], at least one for each first byte of the specification. */
const golden: [string, string][] = [
  ['00', '0'],
  ['7f', '127'],
  ['80', '{}'],
  ['81a16101', '{"a": 1}'],
  ['810102', '{"1": 2}'],
  ['82c0c2c3c0', '{"null": false, "true": null}'],
  ['81c4010aff', '{"0a": -1}'],
  [`8f${Array.from({ length: 15 }, (_, i) => `a1${(97 + i).toString(16)}c0`).join('')}`, mapOf(15)],
  ['90', '[]'],
  ['9301c3a161', '[1, true, "a"]'],
  ['92918090', '[[{}], []]'],
  [`9f${'05'.repeat(15)}`, `[${Array(15).fill(5).join(', ')}]`],
  ['a0', '""'],
  ['a3e282ac', '"€"'],
  [`bf${'61'.repeat(31)}`, `"${'a'.repeat(31)}"`],
  ['a3610062', '{"utf8": "610062"}'],
  ['a3eda080', '{"utf8": "eda080"}'],
  ['a2c3a9', '"é"'],
  ['a4f09d849e', '"𝄞"'],
  ['a2c0af', '{"utf8": "c0af"}'],
  ['a25c22', '"\\\\\\""'],
  ['c0', 'null'],
  ['c2', 'false'],
  ['c3', 'true'],
  ['c400', '""'],
  ['c40200ff', '"00ff"'],
  [`c410${'0123456789abcdef'.repeat(2)}`, '"01234567-89ab-cdef-0123-456789abcdef"'],
  ['c50003010203', '"010203"'],
  ['c600000001aa', '"aa"'],
  ['c70305aabbcc', '{"ext": 5, "data": "aabbcc"}'],
  ['c700fb', '{"ext": -5, "data": ""}'],
  ['c800017f00', '{"ext": 127, "data": "00"}'],
  ['c90000000180ee', '{"ext": -128, "data": "ee"}'],
  ['ca3fc00000', '1.5'],
  ['ca3dcccccd', '0.10000000149011612'],
  ['ca00000001', `0.${'0'.repeat(44)}1401298464324817`],
  ['caff7fffff', `-34028234663852886${'0'.repeat(22)}`],
  ['ca7fc00000', '"NaN"'],
  ['ca7f800000', '"Infinity"'],
  ['caff800000', '"-Infinity"'],
  ['cb3fb999999999999a', '0.1'],
  ['cbc05ee00000000000', '-123.5'],
  ['cb8000000000000000', '0'],
  ['cb0000000000000001', `0.${'0'.repeat(323)}5`],
  ['cb7fefffffffffffff', `17976931348623157${'0'.repeat(292)}`],
  ['cb433fffffffffffff', '9007199254740991'],
  ['cb7ff8000000000000', '"NaN"'],
  ['cbfff0000000000000', '"-Infinity"'],
  ['ccff', '255'],
  ['cdffff', '65535'],
  ['ceffffffff', '4294967295'],
  ['cf7fffffffffffffff', '9223372036854775807'],
  ['cfffffffffffffffff', '18446744073709551615'],
  ['d080', '-128'],
  ['d07f', '127'],
  ['d18000', '-32768'],
  ['d17fff', '32767'],
  ['d280000000', '-2147483648'],
  ['d27fffffff', '2147483647'],
  ['d38000000000000000', '-9223372036854775808'],
  ['d37fffffffffffffff', '9223372036854775807'],
  ['d401aa', '{"ext": 1, "data": "aa"}'],
  ['d502aabb', '{"ext": 2, "data": "aabb"}'],
  ['d603aabbccdd', '{"ext": 3, "data": "aabbccdd"}'],
  ['d704aabbccddeeff0011', '{"ext": 4, "data": "aabbccddeeff0011"}'],
  [`d805${'ab'.repeat(16)}`, `{"ext": 5, "data": "${'ab'.repeat(16)}"}`],
  ['d6ff65e1a5c0', '"2024-03-01T09:54:08.000Z"'],
  ['d7ff1d6f345465e1a5c0', '"2024-03-01T09:54:08.123456789Z"'],
  ['c70cff00000000000000000000000a', '"1970-01-01T00:00:10.000Z"'],
  ['c70cff1dcd6500ffffffffffffffff', '"1969-12-31T23:59:59.500Z"'],
  ['c70cff000000007fffffffffffffff', '{"ext": -1, "data": "000000007fffffffffffffff"}'],
  ['d90161', '"a"'],
  ['da000161', '"a"'],
  ['db0000000161', '"a"'],
  ['dc000201c0', '[1, null]'],
  ['dc0000', '[]'],
  ['dd00000001c3', '[true]'],
  ['de0001a16101', '{"a": 1}'],
  ['de0000', '{}'],
  ['df00000001a16190', '{"a": []}'],
  ['e0', '-32'],
  ['ff', '-1'],
]

function mapOf(size: number): string {
  const names = Array.from({ length: size }, (_, i) => String.fromCharCode(97 + i))
  return `{${names.map((name) => `"${name}": null`).join(', ')}}`
}
