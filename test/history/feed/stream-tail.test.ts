import t from 'tap'
import type { FeedEvent } from '../../../src/history/feed/feed-event.js'
import { keptAfter, streamTail, type TailBatch } from '../../../src/history/feed/stream-tail.js'
import { digestChain } from '../../../src/journal/digest.js'
import type { JournalSession } from '../../../src/journal/session.js'
import { withClient } from '../../actors/book-database.js'
import { TestClock } from '../../actors/test-clock.js'
import { type Teardown, temporaryPostgres } from '../../postgres.js'
import { plainPosting, sampleRecord } from './feed-records.js'
import { FeedJournal } from './journal-fixture.js'

const postgres = await temporaryPostgres(t)
const chain = digestChain()

/** A tail of stream 1 whose polls wait for the clock. */
async function tailOf(
  t: Teardown,
  journal: FeedJournal,
  start: { afterSeq: number; digest?: Buffer; isClosed?: boolean; session?: JournalSession },
) {
  const session = start.session ?? (await journal.store.open())
  const [clock, abort] = [new TestClock(), new AbortController()]
  t.teardown(() => session.close())
  const parts = { chain, clock, signal: abort.signal }
  const batches = streamTail(session, { stream: 1, ...parts, ...start })
  return { session, clock, abort, batches }
}

/** What comes of it while time passes. */
async function passing<T>(clock: TestClock, waiting: Promise<T>): Promise<T> {
  const ticking = setInterval(() => clock.advance(50), 1)
  return await waiting.finally(() => clearInterval(ticking))
}

/** Everything that is there after a seq. */
async function read(
  t: Teardown,
  journal: FeedJournal,
  start: { afterSeq: number; digest?: Buffer; session?: JournalSession },
): Promise<{ events: FeedEvent[]; batches: TailBatch[] }> {
  const tail = await tailOf(t, journal, { ...start, isClosed: true })
  const batches: TailBatch[] = []
  for await (const batch of tail.batches) batches.push(batch)
  tail.session.close()
  return { events: batches.flatMap(({ events }) => events), batches }
}

t.test('the tail goes on from every position, without a gap or a repeat', async (t) => {
  const journal = await FeedJournal.make(t, postgres)
  for (const count of [1, 40, 1, 25, 66]) await journal.append(count)
  await withClient(journal.connectionString, async (client) => {
    const { rows } = await client.query(
      'select max(n)::int as records, max(part)::int as parts from daybook.journal',
    )
    t.ok(rows[0].records > 10 && rows[0].parts === 2, 'some in the middle of chunks, some across')
  })
  const session = await journal.store.open()
  t.teardown(() => session.close())
  for (let afterSeq = 0; afterSeq <= journal.head; afterSeq++) {
    const tail = await tailOf(t, journal, { afterSeq, session, isClosed: true })
    const events: FeedEvent[] = []
    for await (const batch of tail.batches) events.push(...batch.events)
    t.same(events, journal.eventsAfter(afterSeq), `after ${afterSeq}`)
  }
})

t.test('what is committed later comes at the next look, and never twice', async (t) => {
  const journal = await FeedJournal.make(t, postgres)
  const { batches, clock, abort } = await tailOf(t, journal, { afterSeq: 0 })
  const events: FeedEvent[] = []
  for (let round = 0; round < 20; round++) {
    await journal.append(1 + (round % 4))
    for (let isNew = true; isNew; ) {
      const { value } = await passing(clock, batches.next())
      isNew = value !== undefined && value.events.length > 0
      if (value !== undefined) events.push(...value.events)
      if (value?.seq === journal.head) break
    }
  }
  t.same(events, journal.events)
  const last = batches.next()
  abort.abort()
  t.same(await last, { done: true, value: undefined }, 'and it stops at the signal')
})

t.test('a look that finds nothing new is a batch without events', async (t) => {
  const journal = await FeedJournal.make(t, postgres)
  await journal.append(5)
  const { batches, clock } = await tailOf(t, journal, { afterSeq: 5 })
  const next = await passing(clock, batches.next())
  t.match(next, { value: { events: [], seq: 5, head: 5 } })
})

t.test(
  'no statement is open, and no more than a window read, while the receiver waits',
  async (t) => {
    const journal = await FeedJournal.make(t, postgres)
    await journal.append(3000)
    const { batches } = await tailOf(t, journal, { afterSeq: 0, isClosed: true })
    const sizes: number[] = []
    let before = 0
    for await (const { seq } of batches) {
      sizes.push(seq - before)
      before = seq
      await withClient(journal.connectionString, async (client) => {
        const { rows } = await client.query(
          `select from pg_stat_activity where application_name = 'daybook journal'
           and datname = current_database() and (state <> 'idle' or backend_xmin is not null)`,
        )
        t.equal(rows.length, 0)
      })
    }
    t.equal(before, 3000)
    t.ok(Math.max(...sizes) <= 512 + 128, `${sizes}`)
    t.ok(sizes.length >= 5)
  },
)

t.test('after large records fewer are read at once', async (t) => {
  const journal = await FeedJournal.make(t, postgres)
  // Of 20,000 bytes each.
  await journal.append(1500, () => sampleRecord(33))
  const { batches } = await read(t, journal, { afterSeq: 0 })
  const sizes = batches.map(({ seq }, index) => seq - (batches[index - 1]?.seq ?? 0))
  t.equal(sizes[0], 512)
  t.ok(Math.min(...sizes.slice(0, -1)) <= 64, `${sizes}`)
})

t.test('a journal that goes on from another digest is refused', async (t) => {
  const journal = await FeedJournal.make(t, postgres)
  await journal.append(3)
  const session = await journal.store.open()
  const { digest } = await session.readHead(1)
  session.close()
  await journal.append(3)
  t.equal((await read(t, journal, { afterSeq: 3, digest })).events.length, 3)
  const other = Buffer.alloc(32, 7)
  await t.rejects(read(t, journal, { afterSeq: 3, digest: other }), { code: 'broken_chain' })
  await t.rejects(read(t, journal, { afterSeq: 6, digest }), { code: 'broken_chain' })
  await t.rejects(read(t, journal, { afterSeq: 2, digest }), { code: 'broken_chain' })
})

t.test('a changed record, and one that is missing, end the tail', async (t) => {
  const journal = await FeedJournal.make(t, postgres)
  for (let batch = 0; batch < 5; batch++) await journal.append(3, (seq) => plainPosting({ seq }))
  await withClient(journal.connectionString, async (client) => {
    await client.query(
      `update daybook.journal set payload = set_byte(payload, 96, 99) where first_seq = 7`,
    )
    await t.rejects(read(t, journal, { afterSeq: 0 }), { code: 'broken_chain' })
    await client.query('delete from daybook.journal where first_seq = 7')
    await t.rejects(read(t, journal, { afterSeq: 0 }), { code: 'broken_chain' })
    await t.rejects(read(t, journal, { afterSeq: 6 }), { code: 'no_such_record' })
    await client.query('delete from daybook.journal where first_seq = 13')
    await t.rejects(read(t, journal, { afterSeq: 9 }), { code: 'no_such_record' })
  })
})

t.test('a stream that ends before the position, or has lost its end, ends the tail', async (t) => {
  const journal = await FeedJournal.make(t, postgres)
  await journal.append(3)
  await t.rejects(read(t, journal, { afterSeq: 4 }), { code: 'position_ahead' })
  const { batches, clock } = await tailOf(t, journal, { afterSeq: 0 })
  t.match(await batches.next(), { value: { seq: 3 } })
  await withClient(journal.connectionString, (client) =>
    client.query('update daybook.stream set head = 2 where id = 1'),
  )
  await t.rejects(passing(clock, batches.next()), { code: 'broken_chain' })
})

t.test('what Postgres says ends the tail', async (t) => {
  const journal = await FeedJournal.make(t, postgres)
  await journal.append(3)
  const { batches, session, clock } = await tailOf(t, journal, { afterSeq: 0 })
  t.match(await batches.next(), { value: { seq: 3 } })
  session.close()
  await t.rejects(passing(clock, batches.next()))
})

t.test('the beginning that has not been archived is found', async (t) => {
  const journal = await FeedJournal.make(t, postgres)
  const session = await journal.store.open()
  t.teardown(() => session.close())
  t.equal(await keptAfter(session, 1), 0)
  await journal.append(60)
  t.equal(await keptAfter(session, 1), 0)
  for (let batch = 0; batch < 10; batch++) await journal.append(100)
  for (const upTo of [0, 30, 200, 700, 931, 1050]) {
    await journal.archive(upTo)
    const after = await keptAfter(session, 1)
    await withClient(journal.connectionString, async (client) => {
      const { rows } = await client.query(
        'select min(first_seq)::int as first from daybook.journal',
      )
      t.equal(after, rows[0].first - 1, `of ${upTo}`)
    })
    t.same((await read(t, journal, { afterSeq: after })).events, journal.eventsAfter(after))
  }
  await journal.archive(journal.head)
  t.equal(await keptAfter(session, 1), journal.head)
})
