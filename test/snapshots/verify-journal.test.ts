import t, { type Test } from 'tap'
import { readBookRows } from '../../src/journal/book-rows.js'
import { digestChain } from '../../src/journal/digest.js'
import { postgresDatabase } from '../../src/journal/postgres.js'
import { postgresStore } from '../../src/journal/postgres-session.js'
import { anchorOf } from '../../src/snapshots/anchor.js'
import { verifyJournal } from '../../src/snapshots/verify-journal.js'
import { withClient } from '../actors/book-database.js'
import { below, randomOf } from '../actors/random.js'
import { temporaryPostgres } from '../postgres.js'
import { SampleBook } from './sample-book.js'

t.setTimeout(240_000)

interface Row {
  stream: number
  first_seq: number
  part: number
  n: number
  length: number
}

const postgres = await temporaryPostgres(t)
const book = await SampleBook.make(t, postgres, { shards: [1, 2, 3], rounds: 2 })
await book.engine.stop()
const { connectionString } = book
const random = randomOf(9)
const rows = (
  await query<Row>(
    `select stream, first_seq::int, part, n, length(payload) as length from daybook.journal
     order by stream, first_seq, part`,
  )
).map((row, index) => ({ ...row, index }))
type Place = (typeof rows)[number]

t.test('a whole journal has no findings', async (t) => {
  const { findings, records } = await verified()
  t.same(findings, [])
  t.equal(
    records,
    (await book.rows()).streams.reduce((sum, { head }) => sum + head, 0),
  )
})

t.test('a flipped bit anywhere in a payload is found in its chunk', async (t) => {
  for (let run = 0; run < 60; run++) {
    const row = anyRow()
    const [byte, bit] = [below(random, row.length), 1 << below(random, 8)]
    await found(
      t,
      `update daybook.journal set payload = set_byte(payload, ${byte}, get_byte(payload, ${byte}) # ${bit})
       where ${at(row)}`,
      { row, from: row.first_seq, to: lastSeqOf(row) },
    )
  }
})

t.test('a flipped bit in any other column is found at its chunk', async (t) => {
  for (const column of ['n', 'epoch', 'prev'] as const) {
    for (let run = 0; run < 6; run++) {
      const row = anyRow()
      const change =
        column === 'prev' ? 'set_byte(prev, 7, get_byte(prev, 7) # 4)' : `${column} + ${1 + run}`
      await found(t, `update daybook.journal set ${column} = ${change} where ${at(row)}`, {
        ...{ row, from: row.first_seq, to: lastSeqOf(row) },
      })
    }
  }
})

t.test('a deleted row is missed at its first record', async (t) => {
  for (let run = 0; run < 20; run++) {
    const row = anyRow()
    const codes = isLast(row) ? ['cut_off'] : ['missing']
    const { first_seq: from } = row
    await found(t, `delete from daybook.journal where ${at(row)}`, {
      ...{ row, from, to: from, codes },
    })
  }
})

t.test('an inserted row is found where it is', async (t) => {
  const wide = rows.filter(({ n }) => n > 2)
  for (let run = 0; run < 8; run++) {
    const row = wide[below(random, wide.length)]
    const seq = row.first_seq + 1 + below(random, row.n - 1)
    await found(t, copyOf(row, `${row.stream}, ${seq}, 0`), {
      ...{ row, from: seq, to: seq, codes: ['inserted'] },
    })
    const part = row.part + 1
    await found(t, copyOf(row, `${row.stream}, ${row.first_seq}, ${part}`), {
      ...{ row, from: row.first_seq, to: row.first_seq, codes: ['inserted'] },
    })
  }
  const [first] = rows
  const { head } = await headOf(first.stream)
  const beyond = { row: first, from: head + 1, to: head + 1, codes: ['inserted'] }
  await found(t, copyOf(first, `${first.stream}, ${head + 1}, 0`), beyond)
  await found(t, copyOf(first, `${first.stream}, 0, 0`), { ...beyond, from: 0, to: 0 })
  for (const stream of [0, -5, 99]) {
    const row = { ...first, stream }
    await found(t, copyOf(first, `${stream}, 7, 0`), { ...beyond, row, from: 7, to: 7 })
  }
})

t.test('two swapped rows are found at the first of them', async (t) => {
  const columns = ['payload, n', 'payload, n, prev, epoch']
  for (let run = 0; run < 24; run++) {
    const names = columns[run % columns.length]
    const [row, other] = twoOfOneStream()
    if (row.n > other.n && names === 'payload, n') continue
    await found(t, swap(row, other, names), {
      ...{ row, from: row.first_seq, to: lastSeqOf(row) },
    })
  }
})

t.test('two neighbours that were swapped are found at the first of them', async (t) => {
  const pairs = rows.filter((row, index) => {
    const next = rows[index + 1]
    const isPair = next?.stream === row.stream && row.part === 0 && next.part === 0
    return isPair && row.n === next.n
  })
  for (const row of pairs.slice(0, 4)) {
    await found(t, swap(row, rows[row.index + 1], 'payload, n'), {
      ...{ row, from: row.first_seq, to: lastSeqOf(row), codes: ['changed'] },
    })
  }
})

t.test('a stream that was cut off with its row is found against its heads', async (t) => {
  const before = await book.rows()
  const anchor = anchorOf(before, new Date())
  t.same((await verified(anchor)).findings, [])
  for (const { id, head } of before.streams) {
    const ends = rows.filter((row) => row.stream === id && row.part === 0)
    const row = ends[1 + below(random, ends.length - 1)]
    const cut = `with gone as (delete from daybook.journal
        where stream = ${id} and first_seq >= ${row.first_seq} returning first_seq, part, prev)
      update daybook.stream set head = ${row.first_seq - 1},
        digest = (select prev from gone where first_seq = ${row.first_seq} and part = 0)
      where id = ${id}`
    await damaged(cut, async () => {
      const own = (await verified()).findings.filter(({ stream }) => stream === id)
      t.ok(
        own.every(({ code }) => code === 'message'),
        'its own chain is whole',
      )
      const [finding] = (await verified(anchor)).findings.filter(({ stream }) => stream === id)
      t.match(finding, { seq: row.first_seq, lastSeq: head, code: 'cut_off' })
    })
  }
  await damaged(
    'delete from daybook.stream where id = 6',
    async () => {
      const { findings } = await verified(anchor)
      t.match(
        findings.filter(({ stream }) => stream === 6),
        [{ stream: 6, seq: 1 }],
      )
    },
    'slots',
  )
})

t.test('a journal that was written anew is found against its heads', async (t) => {
  const anchor = anchorOf(await book.rows(), new Date())
  const row = rows[below(random, rows.length)]
  const { head } = await headOf(row.stream)
  const change = `update daybook.journal set payload = set_byte(payload, 30, 7) where ${at(row)}`
  await damaged(`${change}; ${chainAnew(row.stream)}`, async () => {
    t.same((await verified()).findings, [], 'the chain is that of the new one')
    const { findings } = await verified(anchor)
    t.match(findings, [{ stream: row.stream, seq: 1, lastSeq: head, code: 'anchor' }])
  })
  await t.rejects(verified({ ...anchor, bookId: 'another' }), /are of book another/)
})

t.test('messages that do not agree are found in the stream that applied them', async (t) => {
  // The chain is made right again behind the change, as somebody would who knows how.
  const [applied] = await query<{ stream: number; seq: number; first_seq: number; kind: string }>(
    `select stream, seq::int, first_seq::int, kind from daybook.records
     where kind = 'posting_applied' order by random() limit 1`,
  )
  const before = await query<{ seq: number; bytes: Buffer }>(
    `select seq::int, bytes from daybook.record_bytes where stream = ${applied.stream}
     and first_seq = ${applied.first_seq} order by seq`,
  )
  const offset = before
    .filter(({ seq }) => seq < applied.seq)
    .reduce((sum, { bytes }) => sum + ((bytes.length + 7) & ~7), 0)
  for (const [byte, what] of [
    [128, /which sends no such message|this message was sent by|names no cause|applies message/],
    [136, /applies message/],
  ] as const) {
    const change = `update daybook.journal set payload =
        set_byte(payload, ${offset + byte}, get_byte(payload, ${offset + byte}) # 1)
      where stream = ${applied.stream} and first_seq = ${applied.first_seq} and part = 0`
    await damaged(`${change}; ${chainAnew(applied.stream)}`, async () => {
      const { findings } = await verified()
      t.match(findings, [{ stream: applied.stream, seq: applied.seq, what }])
    })
  }
})

t.test('while the journal grows, nothing is found', async (t) => {
  const living = await SampleBook.make(t, postgres, { shards: [2], rounds: 1 })
  let isDone = false
  const life = (async () => {
    while (!isDone) await living.live()
  })()
  for (let run = 0; run < 6; run++) {
    t.same((await verified(undefined, living.connectionString)).findings, [])
  }
  isDone = true
  await life
})

interface Expected {
  row: Row
  from: number
  to: number
  codes?: string[]
}

/** Carries out `change`, expects one finding in the stream of `row`, and undoes it. */
async function found(t: Test, change: string, expected: Expected): Promise<void> {
  const { row, from, to, codes } = expected
  await damaged(change, async () => {
    const { findings } = await verified()
    const [finding] = findings.filter(({ stream }) => stream === row.stream)
    const isRight =
      finding !== undefined && finding.seq >= from && finding.seq <= to && finding.lastSeq >= from
    t.ok(isRight, `${row.stream}-${from} to ${to}: ${JSON.stringify(finding)}`)
    if (codes !== undefined) t.ok(codes.includes(finding?.code), finding?.code)
    t.equal(findings.length, 1, `only there: ${change} ${JSON.stringify(findings)}`)
  })
}

/** The tables as they were come back afterwards. */
async function damaged(change: string, look: () => Promise<void>, also?: string): Promise<void> {
  await query(`create table public.journal as select * from daybook.journal;
    create table public.stream as select * from daybook.stream;
    create table public.book as select * from daybook.book`)
  if (also === 'slots') {
    await query(`update daybook.book set slots = decode(repeat('0000000400000005', 512), 'hex')`)
  }
  await query(change)
  await look()
  await query(`truncate daybook.journal; insert into daybook.journal select * from public.journal;
    delete from daybook.stream; insert into daybook.stream select * from public.stream;
    update daybook.book set slots = (select slots from public.book);
    drop table public.journal, public.stream, public.book`)
}

function anyRow(): Place {
  return rows[below(random, rows.length)]
}

function twoOfOneStream(): [Place, Place] {
  for (;;) {
    const [one, other] = [anyRow(), anyRow()]
    if (one.stream === other.stream && one.index < other.index) return [one, other]
  }
}

function lastSeqOf({ first_seq, n }: Row): number {
  return first_seq + Math.max(1, n) - 1
}

function isLast({ stream, index }: Place): boolean {
  return rows[index + 1]?.stream !== stream
}

function at({ stream, first_seq, part }: Row): string {
  return `stream = ${stream} and first_seq = ${first_seq} and part = ${part}`
}

function copyOf(row: Row, place: string): string {
  return `insert into daybook.journal select ${place}, n, epoch, prev, payload
    from daybook.journal where ${at(row)}`
}

function swap(one: Row, other: Row, columns: string): string {
  const key = (row: Row) => `(${row.stream}, ${row.first_seq}::bigint, ${row.part}::smallint)`
  const from = columns.split(', ').map((name) => `b.${name}`)
  return `update daybook.journal a set (${columns}) = (${from.join(', ')})
    from daybook.journal b
    where ((a.stream, a.first_seq, a.part), (b.stream, b.first_seq, b.part)) in
      ((${key(one)}, ${key(other)}), (${key(other)}, ${key(one)}))`
}

/** A statement that makes the chain of a stream right, whatever its rows say. */
function chainAnew(stream: number): string {
  return `do $$ declare r record; d bytea := decode(repeat('00', 32), 'hex'); begin
    for r in select * from daybook.journal where stream = ${stream} order by first_seq, part loop
      update daybook.journal set prev = d where stream = r.stream and first_seq = r.first_seq
        and part = r.part;
      d := sha256(d || int4send(r.stream) || int8send(r.first_seq) || int2send(r.part)
        || int4send(r.n) || int4send(r.epoch) || r.payload);
    end loop;
    update daybook.stream set digest = d where id = ${stream}; end $$`
}

async function headOf(stream: number) {
  const { streams } = await withClient(connectionString, (client) => readBookRows(client))
  const row = streams.find(({ id }) => id === stream)
  if (row === undefined) throw new Error(`no stream ${stream}`)
  return row
}

async function verified(
  anchor?: Parameters<typeof verifyJournal>[0]['anchor'],
  address = connectionString,
) {
  const database = postgresDatabase(address, 5000)
  const store = postgresStore(database)
  const chain = digestChain()
  return await verifyJournal({ database, store, chain, anchor, onProgress: () => undefined })
}

async function query<T>(text: string): Promise<T[]> {
  return await withClient(
    connectionString,
    async (client) => (await client.query(text)).rows as T[],
  )
}
