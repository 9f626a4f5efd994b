import { Client } from 'pg'
import t, { type Test } from 'tap'
import { migrate } from '../../src/journal/migrate.js'
import { packSides, Side } from '../../src/journal/record.js'
import { temporaryPostgres } from '../postgres.js'
import { header, key, packed, uuid, writeChunk } from './raw-records.js'

/**
 * What the views say of a book with several streams: stream 1 of generation 1, closed; streams 2 and 3
 * of generation 2. Account a is at home in stream 2, b in stream 3, s is striped.
 */

t.setTimeout(180_000)
const postgres = await temporaryPostgres(t)
const [a, b, s] = [0xa1, 0xb1, 0xc1]
const { here, elsewhere, striped } = Side

t.test('a record says which record of another stream it follows', async (t) => {
  const { ask } = await book(t)
  const rows = await ask(`select stream, seq, kind, cause_kind, cause_stream, cause_seq, message,
    generation, id_elsewhere from daybook.records order by generation, stream, seq`)
  t.strictSame(
    rows.map(({ stream, seq, kind, cause_kind, cause_stream, cause_seq, message }) =>
      [`${stream}-${seq} ${kind}`]
        .concat(
          cause_kind === null ? [] : [`${cause_kind} ${cause_stream}-${cause_seq} #${message}`],
        )
        .join(' of '),
    ),
    [
      ...['1-1 account_created', '1-2 account_created', '1-3 account_created', '1-4 posting'],
      ...['2-1 posting', '2-2 transaction', '2-3 transaction', '2-4 hold_posted'],
      ...['2-5 transaction', '2-6 hold_voided', '2-7 account_changed', '2-8 reversal'],
      ...['2-9 transaction', '2-10 posting'],
      '3-1 posting_applied of posting 2-1 #1',
      '3-2 applied of transaction 2-2 #2',
      '3-3 applied of transaction 2-3 #3',
      '3-4 applied of hold_posted 2-4 #4',
      '3-5 applied of transaction 2-5 #5',
      '3-6 applied of hold_voided 2-6 #6',
      '3-7 applied of account_changed 2-7 #7',
      '3-8 applied of reversal 2-8 #8',
      '3-9 applied of transaction 2-9 #9',
      '3-10 posting',
    ],
  )
  t.strictSame(
    rows.filter((row) => row.id_elsewhere).map(({ stream, seq }) => `${stream}-${seq}`),
    ['2-9'],
  )
  t.strictSame(rows[0].generation, 1)
  t.strictSame(rows[4].generation, 2)
})

t.test('a plain posting and what applies it are shown in the shape of a transaction', async (t) => {
  const { ask } = await book(t)
  const bodies = await ask(
    `select body, pending, imported from daybook.records
     where (stream, seq) in ((2, 1), (3, 1), (1, 4)) order by stream`,
  )
  const [old, home, applied] = bodies.map((row) => row.body)
  const common = {
    effectiveDate: 19_783,
    code: 17,
    postings: [[uuid(a), uuid(b), 12_550, 'EUR', 2]],
  }
  t.strictSame(home, { ...common, sides: [packSides(here, elsewhere)] })
  t.strictSame(applied, {
    ...common,
    sides: [packSides(elsewhere, here)],
    of: 1,
    cause: [2, 1],
    message: 1,
  })
  t.equal('sides' in old, false, 'nothing is said where all is here')
  t.ok(bodies.every((row) => !row.pending && !row.imported))
})

t.test(
  'a posting over several streams is one posting, which says where its sides are',
  async (t) => {
    const { ask } = await book(t)
    const rows = await ask(`select stream, seq, posting, kind, amount, debit_side, credit_side
    from daybook.postings order by stream, seq, posting`)
    t.strictSame(
      rows.map((row) => Object.values(row).join(' ')),
      [
        '1 4 0 posting 1.00 here here',
        '2 1 0 posting 125.50 here elsewhere',
        '2 2 0 transaction 5.00 here striped',
        '2 2 1 transaction 7.00 elsewhere striped',
        '2 4 0 hold_posted 40.00 here elsewhere',
        '2 8 0 reversal 125.50 elsewhere here',
        '2 9 0 transaction 2.00 here striped',
        '2 10 0 posting 9.99 here elsewhere',
        '3 10 0 posting 1.00 striped here',
      ],
    )
  },
)

t.test('a hold over several streams is one hold', async (t) => {
  const { ask } = await book(t)
  const rows =
    await ask(`select stream, seq, amount, remaining_minor, status, debit_side, credit_side
    from daybook.holds order by seq`)
  t.strictSame(
    rows.map((row) => Object.values(row).join(' ')),
    ['2 3 100.00 0 posted here elsewhere', '2 5 3.00 0 voided here elsewhere'],
  )
})

const balances = `select account, debits_posted, credits_posted, debits_posted_minor,
  credits_posted_minor from daybook.balances order by account`

t.test('a side counts in the record where it takes effect, whatever stream that is', async (t) => {
  const { ask } = await book(t)
  t.strictSame(
    (await ask(balances)).map((row) => Object.values(row).join(' ')),
    [
      `${uuid(a)} 183.49 125.50 18349 12550`,
      `${uuid(b)} 132.50 167.50 13250 16750`,
      `${uuid(s)} 1.00 14.00 100 1400`,
    ],
  )
})

t.test('what is not applied yet is told apart, and makes debits and credits equal', async (t) => {
  const { ask, write } = await book(t)
  const unapplied = 'select * from daybook.unapplied'
  const difference = `select
    (select sum(debits_posted_minor - credits_posted_minor) from daybook.balances)
    + (select coalesce(sum(debits_minor - credits_minor), 0) from daybook.unapplied) as minor`
  t.strictSame(await ask(unapplied), [
    {
      tenant: '4000000000',
      account: uuid(b),
      currency: 'EUR',
      debits_minor: '0',
      credits_minor: '999',
    },
  ])
  t.strictSame(await ask(difference), [{ minor: '0' }])
  const last = { amount: 999n, debit: a, credit: b, sides: packSides(elsewhere, here) }
  await write(3, 11, [plain(9, { seq: 11, id: 0x2a, ...last, cause: [2, 10], message: 10 })])
  t.strictSame(await ask(unapplied), [], 'its record has come')
  t.strictSame(await ask(difference), [{ minor: '0' }])
  const before = await ask(balances)
  t.match(before[1], { account: uuid(b), credits_posted_minor: '17749' })
  await write(3, 12, [plain(9, { seq: 12, id: 0x2a, ...last, cause: [2, 10], message: 10 })])
  t.match(
    await ask(unapplied),
    [{ account: uuid(b), credits_minor: '-999' }],
    'twice is once too often',
  )
})

t.test('an account is one account, however many streams keep a part of it', async (t) => {
  const { ask } = await book(t)
  const rows = await ask(
    'select id, name, status, striped, changed_at from daybook.accounts order by id',
  )
  t.match(rows, [
    { id: uuid(a), name: 'till', status: 'active', striped: false, changed_at: null },
    { id: uuid(b), name: 'ada', status: 'active', striped: false, changed_at: null },
    { id: uuid(s), name: 'fees', status: 'frozen', striped: true },
  ])
  t.equal(rows[2].changed_at.toISOString(), '2024-03-01T10:00:07.007Z', 'as its owner recorded it')
  t.equal(rows.length, 3)
})

t.test('streams show their generation and how many slots they own', async (t) => {
  const { ask } = await book(t)
  t.match(await ask('select * from daybook.streams order by stream'), [
    { stream: 1, generation: 1, closed: true, head: '4', slots: null, digest: '00'.repeat(32) },
    { stream: 2, generation: 2, closed: false, head: '10', slots: 512 },
    { stream: 3, generation: 2, closed: false, head: '10', slots: 512 },
  ])
})

t.test('records_between reads one stream', async (t) => {
  const { ask } = await book(t)
  const rows = await ask(
    'select stream, seq, cause_seq, generation from daybook.records_between(3, 9, 20)',
  )
  t.strictSame(rows, [
    { stream: 3, seq: '9', cause_seq: '9', generation: 2 },
    { stream: 3, seq: '10', cause_seq: null, generation: 2 },
  ])
})

t.test('an applied posting that is cut off is an error that names the position', async (t) => {
  const { ask, write } = await book(t)
  const whole = plain(9, {
    seq: 11,
    id: 1,
    amount: 1n,
    debit: a,
    credit: b,
    cause: [2, 1],
    message: 1,
  })
  const short = Buffer.from(whole.subarray(0, 136))
  short.writeUInt32LE(136, 4)
  await write(3, 11, [short])
  await t.rejects(
    ask('select * from daybook.records where stream = 3'),
    /stream 3, seq 11: .* truncated/,
  )
})

/** A database with the journal that this file is about. */
async function book(t: Test) {
  const db = new Client({ connectionString: await postgres.createDatabase() })
  await db.connect()
  t.teardown(() => db.end())
  await migrate(db)
  const write = (stream: number, firstSeq: number, records: Buffer[]) =>
    writeChunk(db, {
      stream,
      firstSeq,
      part: 0,
      n: records.length,
      payload: Buffer.concat(records),
    })
  await write(1, 1, firstGeneration())
  await write(2, 1, home())
  await write(3, 1, participant())
  await db.query(`
    update daybook.stream set closed = true, head = 4;
    insert into daybook.stream (id, generation, head) values (2, 2, 10), (3, 2, 10);
    update daybook.book set generation = 2, slots = decode(repeat('0000000200000003', 512), 'hex')`)
  return { write, ask: async (sql: string) => (await db.query(sql)).rows }
}

const eur = (debit: number, credit: number, minor: bigint) => [
  key(debit),
  key(credit),
  minor,
  'EUR',
  2,
]
const at = { effectiveDate: 19_783 }
const limits = { currency: 'EUR', scale: 2, overdraftLimit: null, minimumBalance: 0n }

function firstGeneration(): Buffer[] {
  return [
    packed(7, { seq: 1, id: a }, { name: 'till', class: 'asset', ...limits }),
    packed(7, { seq: 2, id: b }, { name: 'ada', class: 'liability', ...limits }),
    packed(7, { seq: 3, id: s }, { name: 'fees', class: 'income', striped: true, ...limits }),
    plain(1, { seq: 4, id: 0x14, amount: 100n, debit: a, credit: b }),
  ]
}

/** Stream 2. The ids of its transactions are 0x21, 0x22, … after their seqs. */
function home(): Buffer[] {
  const out = [packSides(here, elsewhere)]
  return [
    plain(1, { seq: 1, id: 0x21, amount: 12_550n, debit: a, credit: b, sides: out[0] }),
    packed(
      2,
      { seq: 2, id: 0x22 },
      {
        postings: [eur(a, s, 500n), eur(b, s, 700n)],
        sides: [packSides(here, striped), packSides(elsewhere, striped)],
        ...at,
      },
    ),
    packed(
      2,
      { seq: 3, id: 0x23, flags: 2 },
      { postings: [eur(a, b, 10_000n)], sides: out, ...at },
    ),
    packed(
      3,
      { seq: 4, id: 0x24 },
      { target: key(0x23), postings: [eur(a, b, 4000n)], sides: out, released: [6000n], ...at },
    ),
    packed(2, { seq: 5, id: 0x25, flags: 2 }, { postings: [eur(a, b, 300n)], sides: out, ...at }),
    packed(
      4,
      { seq: 6, id: 0x26 },
      { target: key(0x25), postings: [eur(a, b, 0n)], sides: out, released: [300n], ...at },
    ),
    packed(8, { seq: 7, id: s }, { striped: true, status: 'frozen' }),
    packed(
      6,
      { seq: 8, id: 0x28 },
      {
        target: key(0x21),
        postings: [eur(b, a, 12_550n)],
        sides: [packSides(elsewhere, here)],
        ...at,
      },
    ),
    // One item of an atomic batch, whose id lives in stream 3.
    packed(
      2,
      { seq: 9, id: 0x29, flags: 64 },
      { postings: [eur(a, s, 200n)], sides: [packSides(here, striped)], ...at },
    ),
    plain(1, { seq: 10, id: 0x2a, amount: 999n, debit: a, credit: b, sides: out[0] }),
  ]
}

/** Stream 3: all but the last of what stream 2 asks for, and a posting of its own. */
function participant(): Buffer[] {
  const cause = (of: number, seq: number) => ({ of, cause: [2, seq], message: seq, ...at })
  const into = [packSides(elsewhere, here)]
  const first = { amount: 12_550n, debit: a, credit: b, sides: into[0] }
  return [
    plain(9, { seq: 1, id: 0x21, ...first, cause: [2, 1], message: 1 }),
    packed(
      10,
      { seq: 2, id: 0x22 },
      { ...cause(2, 2), postings: [eur(b, s, 700n)], sides: [packSides(here, elsewhere)] },
    ),
    packed(
      10,
      { seq: 3, id: 0x23, flags: 2 },
      { ...cause(2, 3), postings: [eur(a, b, 10_000n)], sides: into },
    ),
    packed(
      10,
      { seq: 4, id: 0x24 },
      {
        ...cause(3, 4),
        target: key(0x23),
        postings: [eur(a, b, 4000n)],
        released: [6000n],
        sides: into,
        ended: true,
      },
    ),
    packed(
      10,
      { seq: 5, id: 0x25, flags: 2 },
      { ...cause(2, 5), postings: [eur(a, b, 300n)], sides: into },
    ),
    packed(
      10,
      { seq: 6, id: 0x26 },
      {
        ...cause(4, 6),
        target: key(0x25),
        postings: [eur(a, b, 0n)],
        released: [300n],
        sides: into,
        ended: true,
      },
    ),
    packed(10, { seq: 7, id: s }, { ...cause(8, 7), striped: true, status: 'frozen' }),
    packed(
      10,
      { seq: 8, id: 0x28 },
      {
        ...cause(6, 8),
        target: key(0x21),
        postings: [eur(b, a, 12_550n)],
        sides: [packSides(here, elsewhere)],
      },
    ),
    packed(
      10,
      { seq: 9, id: 0x29 },
      { ...cause(2, 9), postings: [eur(a, s, 200n)], sides: [packSides(elsewhere, elsewhere)] },
    ),
    plain(1, {
      seq: 10,
      id: 0x3a,
      amount: 100n,
      debit: s,
      credit: b,
      sides: packSides(striped, here),
    }),
  ]
}

interface Plain {
  seq: number
  id: number
  amount: bigint
  debit: number
  credit: number
  sides?: number
  cause?: [stream: number, seq: number]
  message?: number
}

/** A plain posting in EUR, or with kind 9 what applies one. */
function plain(kind: 1 | 9, of: Plain): Buffer {
  const flags = ((of.sides ?? 0) << 2) | (2 << 12)
  const bytes = header(kind, { seq: of.seq, id: of.id, flags, length: kind === 1 ? 120 : 144 })
  key(of.debit).copy(bytes, 64)
  key(of.credit).copy(bytes, 80)
  bytes.writeBigInt64LE(of.amount, 96)
  bytes.write('EUR', 104, 'latin1')
  bytes.writeInt32LE(19_783, 112)
  bytes.writeUInt32LE(17, 116)
  if (of.cause === undefined) return bytes
  bytes.writeUInt32LE(of.cause[0], 120)
  bytes.writeBigInt64LE(BigInt(of.cause[1]), 128)
  bytes.writeBigInt64LE(BigInt(of.message ?? 0), 136)
  return bytes
}
