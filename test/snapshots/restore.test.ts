import t from 'tap'
import { formatBookPosition } from '../../src/journal/book-position.js'
import { readBookRows, streamsOf } from '../../src/journal/book-rows.js'
import { digestChain } from '../../src/journal/digest.js'
import { migrate } from '../../src/journal/migrate.js'
import { postgresDatabase } from '../../src/journal/postgres.js'
import { postgresStore } from '../../src/journal/postgres-session.js'
import { readLayout } from '../../src/journal/take-over.js'
import { type RestoreResult, restore } from '../../src/snapshots/restore.js'
import type { RestorePoint } from '../../src/snapshots/restore-cut.js'
import { withClient } from '../actors/book-database.js'
import { Engine } from '../actors/engine.js'
import { digestOfJournal } from '../actors/journal-check.js'
import { below, randomOf } from '../actors/random.js'
import { temporaryPostgres } from '../postgres.js'
import { positionOf, SampleBook } from './sample-book.js'
import { digestUpTo } from './shortened-book.js'

t.setTimeout(240_000)

const postgres = await temporaryPostgres(t)
const random = randomOf(5)

t.test('a book of three generations', async (t) => {
  const book = await SampleBook.make(t, postgres, { shards: [1, 2, 3] })
  const rows = await book.rows()

  t.test('restored to a moment at which all was quiet, it is what it was', async (t) => {
    for (const [index, mark] of book.marks.entries()) {
      const position = positionOf(mark.rows)
      const point = index % 2 === 0 ? { timeMs: mark.timeMs } : { position }
      const { target, result } = await restored(book, point)
      t.equal(result.generation, mark.rows.generation)
      t.equal(result.position, formatBookPosition(position))
      t.same(result.unapplied, [])
      t.equal(await digestIn(target), mark.digest, result.position)
    }
  })

  t.test('restored to any moment, it is what its records until then make', async (t) => {
    const times = await distinctTimes(book)
    let withMessages = 0
    for (let run = 0; run < 14; run++) {
      const timeMs = times[below(random, times.length)]
      const { target, result } = await restored(book, { timeMs })
      const position = new Map(
        result.position.split(',').map((part) => part.split('-').map(Number) as [number, number]),
      )
      t.same([...position.values()], await countsUntil(book, result.generation, timeMs))
      const expected = await digestUpTo(book.connectionString, rows, {
        generation: result.generation,
        position,
      })
      t.equal(await digestIn(target), expected, `at ${timeMs}, ${result.position}`)
      const kept = await withClient(target, (client) => readBookRows(client))
      for (const { id, head } of rows.streams) {
        const own = kept.streams.find((stream) => stream.id === id)?.head ?? 0
        const left = result.leftOut.find(({ stream }) => stream === id)?.records ?? 0
        t.equal(own + left, head, 'what was left out is counted')
      }
      if (result.unapplied.length === 0) continue
      withMessages += 1
      const messages = result.unapplied.reduce((sum, pair) => sum + pair.messages, 0)
      t.equal(await appliedByStart(target), messages, 'and applied at the start')
    }
    t.ok(withMessages > 0, 'some moments had messages under way')
  })

  t.test('a position is restored, or refused with the record that is not closed', async (t) => {
    let refused = 0
    let cut = 0
    for (let run = 0; run < 20; run++) {
      const generation = 2 + (run % 2)
      const position = await nearlyClosed(book, generation)
      const offenders = await offendersOf(book, generation, position)
      const outcome = await restored(book, { position }).catch((error: Error) => error)
      if (outcome instanceof Error) {
        refused += 1
        const named = /record (\d+-\d+) applies/.exec(outcome.message)?.[1]
        t.ok(offenders.includes(String(named)), `${named} is one of ${offenders}`)
      } else {
        cut += 1
        t.same(offenders, [], 'it is closed')
        const expected = await digestUpTo(book.connectionString, rows, { generation, position })
        t.equal(await digestIn(outcome.target), expected, outcome.result.position)
      }
    }
    t.ok(refused > 2 && cut > 2, `${refused} refused, ${cut} restored`)
  })

  t.test('a restored book serves, and goes on with any number of shards', async (t) => {
    const mark = book.marks[book.marks.length - 2]
    const { target, result } = await restored(book, { timeMs: mark.timeMs })
    const engine = await Engine.start({ connectionString: target, shards: 3 })
    t.teardown(() => engine.close())
    t.equal(engine.digest, mark.digest)
    const postings = [{ debit: 'customer:1', credit: 'customer:2', amount: '1' }]
    t.match(await engine.post({ id: 'new', postings }), { outcome: 'accepted' })
    const [used] = await query<{ name: string }>(
      target,
      "select body ->> 'name' as name from daybook.records where kind = 'transaction' limit 1",
    )
    const again = await engine.post({ id: used.name, postings })
    t.match(again, { outcome: 'refused', code: 'id_reused_with_different_body' })
    await engine.quiet()
    const { digest } = engine
    await engine.restart(2)
    t.equal(engine.digest, digest)
    const origin = await query(target, 'select book_id, position from daybook.origin')
    t.same(origin, [{ book_id: rows.id, position: result.position }])
    const [{ id }] = await query<{ id: string }>(target, 'select id from daybook.book')
    t.equal(id, result.bookId)
    t.not(id, rows.id)
  })
})

t.test('what is refused is refused before anything is written', async (t) => {
  const book = await SampleBook.make(t, postgres, { shards: [2], rounds: 1 })
  const other = await SampleBook.make(t, postgres, { shards: [1], rounds: 1 })
  const rows = await book.rows()
  const position = positionOf(rows)
  const refusal = { code: 'restore_refused' }

  await t.rejects(restoreInto(book, book.connectionString, { position }), {
    ...refusal,
    message: /own database/,
  })
  await other.engine.stop()
  const before = await query(other.connectionString, 'select * from daybook.stream order by id')
  await t.rejects(restoreInto(book, other.connectionString, { position }), {
    ...refusal,
    message: /something in it/,
  })
  const after = await query(other.connectionString, 'select * from daybook.stream order by id')
  t.same(after, before)

  const bad = [
    [new Map([[1, 5]]), /ends at|must name|stream/],
    [new Map([[2, 1]]), /3 is missing/],
    [
      new Map([
        [2, 1],
        [3, 1],
        [4, 1],
      ]),
      /not of one generation/,
    ],
    [
      new Map([
        [2, 1],
        [3, 1_000_000],
      ]),
      /ends at/,
    ],
  ] as const
  for (const [wrong, message] of bad) {
    const target = await postgres.createDatabase()
    await t.rejects(restoreInto(book, target, { position: wrong }), { ...refusal, message })
    const schema = await query(target, "select to_regclass('daybook.book') as book")
    t.same(schema, [{ book: null }], 'the target is as it was')
  }

  const live = await postgres.createDatabase()
  await withClient(live, migrate)
  const engine = await Engine.start({ connectionString: live })
  await t.rejects(restoreInto(book, live, { position }), { ...refusal, message: /a server runs/ })
  await engine.stop()
})

t.test('a damaged source is not restored', async (t) => {
  const book = await SampleBook.make(t, postgres, { shards: [2], rounds: 2 })
  const position = positionOf(book.marks[0].rows)
  const [last] = await query<{ first_seq: string }>(
    book.connectionString,
    `select first_seq from daybook.journal where stream = 2 and part = 0
       and first_seq <= ${position.get(2)} order by first_seq desc limit 1`,
  )
  await query(
    book.connectionString,
    `update daybook.journal set payload = set_byte(payload, 100, get_byte(payload, 100) # 1)
     where stream = 2 and first_seq = ${last.first_seq} and part = 0`,
  )
  const target = await postgres.createDatabase()
  await t.rejects(
    restoreInto(book, target, { position }),
    { code: 'broken_chain', message: new RegExp(`stream 2 is damaged at seq ${last.first_seq}`) },
    'in the very last chunk that is taken, too',
  )
  await t.rejects(Engine.start({ connectionString: target }), { code: 'half_restored' })
})

async function restored(
  book: SampleBook,
  to: RestorePoint,
): Promise<{ target: string; result: RestoreResult }> {
  const target = await postgres.createDatabase()
  return { target, result: await restoreInto(book, target, to) }
}

async function restoreInto(
  book: SampleBook,
  target: string,
  to: RestorePoint,
): Promise<RestoreResult> {
  const database = postgresDatabase(book.connectionString, 5000)
  return await restore({
    source: { database, store: postgresStore(database) },
    target: { connectionString: target },
    ...{ to, chain: digestChain(), onProgress: () => undefined, log: () => undefined },
  })
}

/** What a start with the shards of the book comes to, before it settles anything. */
async function digestIn(connectionString: string): Promise<bigint> {
  const database = postgresDatabase(connectionString, 5000)
  const layout = await withClient(connectionString, (client) => readLayout(client))
  return await digestOfJournal(layout, postgresStore(database), layout.layout.shards)
}

/** Starts the book on its own number of shards, and counts the messages that this applies. */
async function appliedByStart(connectionString: string): Promise<number> {
  const count = async () => {
    const [row] = await query<{ count: string }>(
      connectionString,
      "select count(*) from daybook.records where kind in ('applied', 'posting_applied')",
    )
    return Number(row.count)
  }
  const before = await count()
  const rows = await withClient(connectionString, (client) => readBookRows(client))
  const shards = streamsOf(rows, rows.generation).length
  const engine = await Engine.start({ connectionString, shards })
  await engine.close()
  t.same(await query(connectionString, 'select * from daybook.unapplied'), [])
  return (await count()) - before
}

async function distinctTimes(book: SampleBook): Promise<number[]> {
  const rows = await query<{ ms: string }>(
    book.connectionString,
    'select distinct (extract(epoch from time) * 1000)::bigint as ms from daybook.records order by 1',
  )
  return rows.map(({ ms }) => Number(ms))
}

/** Records of each stream of a generation that are not later, as SQL counts them. */
async function countsUntil(
  book: SampleBook,
  generation: number,
  timeMs: number,
): Promise<number[]> {
  const rows = await query<{ count: string }>(
    book.connectionString,
    `select (select count(*) from daybook.records r where r.stream = s.id
         and (extract(epoch from r.time) * 1000)::bigint <= ${timeMs}) as count
     from daybook.stream s where s.generation = ${generation} order by s.id`,
  )
  return rows.map(({ count }) => Number(count))
}

/** A position that is closed for the most part: a moment, and then some records more or less. */
async function nearlyClosed(book: SampleBook, generation: number): Promise<Map<number, number>> {
  const { streams } = await book.rows()
  const heads = streams.filter((stream) => stream.generation === generation)
  const part = random()
  return new Map(
    heads.map(({ id, head }) => {
      const seq = Math.round(head * part) + below(random, 7) - 3
      return [id, Math.max(0, Math.min(head, seq))]
    }),
  )
}

/** The applied records of a position whose cause is beyond it, as SQL finds them. */
async function offendersOf(
  book: SampleBook,
  generation: number,
  position: ReadonlyMap<number, number>,
): Promise<string[]> {
  const rows = await query<{
    stream: number
    seq: string
    cause_stream: number
    cause_seq: string
  }>(
    book.connectionString,
    `select stream, seq, cause_stream, cause_seq from daybook.records
     where generation = ${generation} and cause_stream is not null`,
  )
  return rows
    .filter(({ stream, seq }) => Number(seq) <= (position.get(stream) ?? 0))
    .filter((row) => Number(row.cause_seq) > (position.get(row.cause_stream) ?? 0))
    .map(({ stream, seq }) => `${stream}-${seq}`)
}

async function query<T>(connectionString: string, text: string): Promise<T[]> {
  return await withClient(
    connectionString,
    async (client) => (await client.query(text)).rows as T[],
  )
}
