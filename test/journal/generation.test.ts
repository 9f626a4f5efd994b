import pg from 'pg'
import t, { type Test } from 'tap'
import { Batch } from '../../src/journal/batch.js'
import { digestChain, emptyDigest } from '../../src/journal/digest.js'
import { openGeneration } from '../../src/journal/generation.js'
import { migrate } from '../../src/journal/migrate.js'
import { postgresDatabase } from '../../src/journal/postgres.js'
import { postgresStore } from '../../src/journal/postgres-session.js'
import { headWord, plainPostingBytes, RecordKind } from '../../src/journal/record.js'
import type { JournalSession, SealedBatch, StreamState } from '../../src/journal/session.js'
import { type BookLayout, readLayout, takeOver } from '../../src/journal/take-over.js'
import { shardsMax } from '../../src/layout.js'
import { type Fate, PostgresProxy } from '../e2e/proxy.js'
import { temporaryPostgres } from '../postgres.js'

t.setTimeout(180_000)
const postgres = await temporaryPostgres(t)
const silent = () => undefined

t.test(
  'a new generation deals the slots to new streams and keeps the old ones in order',
  async (t) => {
    const book = await newBook(t)
    const { client } = book
    const first = await book.takenOverBy('first')
    t.same(first.closed, [])
    const second = await openGeneration(client, 'first', first, 3, silent)
    const third = await openGeneration(client, 'first', second, 1, silent)
    const fourth = await openGeneration(client, 'first', third, 2, silent)
    t.same(
      [first, second, third, fourth].map(({ layout }) => [layout.generation, layout.streams]),
      [
        [1, [1]],
        [2, [2, 3, 4]],
        [3, [5]],
        [4, [6, 7]],
      ],
      'no id is used twice',
    )
    t.same(fourth.closed, [[1], [2, 3, 4], [5]])
    t.equal(fourth.bookId, first.bookId)
    const slots = Array.from({ length: 1024 }, (_, slot) => slot)
    t.same(
      [...second.streamOfSlot],
      slots.map((slot) => 2 + (slot % 3)),
    )
    t.same(
      slots.map((slot) => second.layout.shardOf(slot)),
      slots.map((slot) => slot % 3),
    )
    t.same(await readLayout(client), fourth, 'as everybody reads it')
    const { rows } = await client.query(
      'select id, closed, epoch, head, owner, backend_pid from daybook.stream order by id',
    )
    t.same(rows.slice(4), [
      { id: 5, closed: true, epoch: 0, head: '0', owner: 'first', backend_pid: null },
      { id: 6, closed: false, epoch: 0, head: '0', owner: 'first', backend_pid: null },
      { id: 7, closed: false, epoch: 0, head: '0', owner: 'first', backend_pid: null },
    ])
  },
)

t.test('as many shards as a layout may have, and no more', async (t) => {
  const book = await newBook(t)
  const first = await book.takenOverBy('first')
  for (const shards of [0, -1, 1.5, shardsMax + 1]) {
    await t.rejects(openGeneration(book.client, 'first', first, shards, silent), RangeError)
  }
  const most = await openGeneration(book.client, 'first', first, shardsMax, silent)
  t.equal(most.layout.shards, shardsMax)
})

t.test('the streams of the generation before are fenced, the new ones take records', async (t) => {
  const book = await newBook(t)
  const first = await book.takenOverBy('first')
  const writer = await book.session()
  const before = await writer.settle(1, 'first')
  await writer.commit(oneRecord(1, before))
  const head = await writer.readHead(1)
  await openGeneration(book.client, 'first', first, 2, silent)

  await t.rejects(writer.commit(oneRecord(1, head)), { code: 'fenced' }, 'the next batch')
  await t.rejects((await book.session()).settle(1, 'first'), { code: 'fenced' })
  await t.rejects((await book.session()).confirm(1, head.epoch), { code: 'fenced' })
  t.same(await book.records(), ['1-1'], 'the fenced batch left nothing behind')
  t.same(await (await book.session()).readHead(1), head, 'and did not move the head')

  for (const stream of [2, 3]) {
    const session = await book.session()
    const state = await session.settle(stream, 'first')
    t.same(state, { epoch: 1, head: 0, digest: emptyDigest })
    await session.commit(oneRecord(stream, state))
  }
  t.same(await book.records(), ['1-1', '2-1', '3-1'])
})

t.test(
  'a batch under way when its stream is closed is in whole, before it is closed',
  async (t) => {
    const book = await newBook(t)
    const first = await book.takenOverBy('first')
    const state = await (await book.session()).settle(1, 'first')
    const writer = await book.connect()
    await writer.query('begin')
    const digest = Buffer.alloc(32, 9)
    const fence = [1, state.epoch, state.head, state.digest, 5, digest]
    await writer.query('call daybook.fence($1, $2, $3, $4, $5, $6)', fence)
    let committed: Promise<unknown> | undefined
    await openGeneration(book.client, 'first', first, 2, () => {
      committed ??= writer.query('commit')
    })
    t.equal((await committed) !== undefined, true, 'the generation waited for it')
    t.match(await (await book.session()).readHead(1), { head: 5, digest })
  },
)

t.test('a process that has been taken over opens no generation', async (t) => {
  const book = await newBook(t)
  const first = await book.takenOverBy('first')
  await book.takenOverBy('second')
  const before = await book.rows()
  await t.rejects(openGeneration(book.client, 'first', first, 2, silent), { code: 'fenced' })
  t.same(await book.rows(), before)
  await t.rejects(openGeneration(book.client, 'nobody', first, 2, silent), { code: 'fenced' })
  t.same(await book.rows(), before)
})

t.test('a generation follows only the one that it is opened after', async (t) => {
  const book = await newBook(t)
  const first = await book.takenOverBy('first')
  const second = await openGeneration(book.client, 'first', first, 2, silent)
  const before = await book.rows()
  const stale = openGeneration(book.client, 'first', first, 3, silent)
  await t.rejects(stale, { code: 'fenced' }, 'another number of shards is another generation')
  const elsewhere = { ...second, bookId: '018e0000-0000-7000-8000-000000000000' }
  await t.rejects(openGeneration(book.client, 'first', elsewhere, 3, silent), { code: 'fenced' })
  t.same(await book.rows(), before)
  await openGeneration(book.client, 'first', second, 2, silent)
  const late = openGeneration(book.client, 'first', first, 2, silent)
  await t.rejects(late, { code: 'fenced' }, 'two generations behind')
})

t.test('a take-over that expects another layout takes nothing and ends no backend', async (t) => {
  const book = await newBook(t)
  const first = await book.takenOverBy('first')
  const second = await openGeneration(book.client, 'first', first, 2, silent)
  const theirs = await book.session()
  const { epoch } = await theirs.settle(2, 'first')
  const before = await book.rows()
  const other = await book.connect()
  await t.rejects(takeOver(other, 'other', first, silent), { code: 'layout_changed' })
  const elsewhere = { ...second, bookId: '018e0000-0000-7000-8000-000000000000' }
  await t.rejects(takeOver(other, 'other', elsewhere, silent), { code: 'layout_changed' })
  t.same(await book.rows(), before)
  await theirs.confirm(2, epoch)
  const taken = await takeOver(other, 'other', second, silent)
  t.same(taken, second, 'with the right one it takes the open streams')
  await t.rejects(theirs.confirm(2, epoch), 'and ends their backends')
  const rows = await book.rows()
  t.same(
    rows.streams.map(({ id, epoch, owner }) => [id, epoch, owner]),
    [
      [1, 1, 'first'],
      [2, 2, 'other'],
      [3, 1, 'other'],
    ],
    'and leaves the closed ones alone',
  )
})

t.test('the generation is looked at under the lock, not before it', async (t) => {
  const book = await newBook(t)
  const first = await book.takenOverBy('first')
  const theirs = await book.session()
  const { epoch } = await theirs.settle(1, 'first')
  const holder = await book.connect()
  await holder.query('begin; select from daybook.book for update')
  const other = await book.connect()
  const taking = t.rejects(takeOver(other, 'other', first, silent), { code: 'layout_changed' })
  await book.untilWaiting(1)
  // What opening a generation does, while the take-over waits for the lock.
  await holder.query(`
    update daybook.stream set closed = true;
    insert into daybook.stream (id, generation, owner) values (2, 2, 'first');
    update daybook.book set generation = 2, slots = decode(repeat('00000002', 1024), 'hex');
    commit`)
  await taking
  t.match((await book.rows()).streams, [
    { id: 1, epoch: epoch, owner: 'first' },
    { id: 2, epoch: 0, owner: 'first' },
  ])
  await t.rejects(theirs.confirm(1, epoch), { code: 'fenced' }, 'answered: its backend lives')
})

t.test('of a new generation and a take-over that race, one succeeds', async (t) => {
  // Each is put first in the queue for the lock once, then chance decides.
  for (const order of ['opener', 'taker', 'chance', 'chance', 'chance', 'chance']) {
    const book = await newBook(t)
    const first = await book.takenOverBy('first')
    const opener = await book.connect()
    const taker = await book.connect()
    const holder = await book.connect()
    await holder.query('begin; select from daybook.book for update')
    const open = () => openGeneration(opener, 'first', first, 4, silent)
    const take = () => takeOver(taker, 'second', first, silent)
    let opening: Promise<BookLayout>
    let taking: Promise<BookLayout>
    if (order === 'taker') {
      taking = take()
      await book.untilWaiting(1)
      opening = open()
    } else {
      opening = open()
      if (order === 'opener') await book.untilWaiting(1)
      taking = take()
    }
    const outcomes = Promise.allSettled([opening, taking])
    if (order !== 'chance') await book.untilWaiting(2)
    await holder.query('commit')
    const [opened, taken] = await outcomes
    const { generation, streams } = await book.rows()
    const state = streams.map(({ id, closed, epoch, owner }) => [id, closed, epoch, owner])
    if (opened.status === 'fulfilled') {
      t.match(taken, { status: 'rejected', reason: { code: 'layout_changed' } })
      t.same([generation, state], [2, [[1, true, 1, 'first'], ...newStreams('first', 4)]])
    } else {
      t.match(opened.reason, { code: 'fenced' })
      t.equal(taken.status, 'fulfilled')
      t.same([generation, state], [1, [[1, false, 2, 'second']]])
    }
  }
})

t.test('of two processes that want different numbers of shards, the owner opens', async (t) => {
  for (let round = 0; round < 4; round++) {
    const book = await newBook(t)
    const first = await book.takenOverBy('first')
    const second = await book.takenOverBy('second')
    const [one, other] = [await book.connect(), await book.connect()]
    const outcomes = await Promise.allSettled([
      openGeneration(one, 'first', first, 2, silent),
      openGeneration(other, 'second', second, 4, silent),
    ])
    t.match(outcomes[0], { status: 'rejected', reason: { code: 'fenced' } })
    t.equal(outcomes[1].status, 'fulfilled')
    const { streams } = await book.rows()
    const state = streams.map(({ id, closed, epoch, owner }) => [id, closed, epoch, owner])
    t.same(state, [[1, true, 2, 'second'], ...newStreams('second', 4)])
  }
})

t.test('opening once more, while the first call is under way, opens once', async (t) => {
  const book = await newBook(t)
  const first = await book.takenOverBy('first')
  const another = await book.connect()
  const [one, other] = await Promise.all([
    openGeneration(book.client, 'first', first, 2, silent),
    openGeneration(another, 'first', first, 2, silent),
  ])
  t.same(one.layout.streams, [2, 3])
  t.same(other, one)
  t.same((await book.rows()).generation, 2)
})

const fates: Fate[] = ['cut before', 'cut after', 'cut at once', 'half-open', 'late']
for (const fate of fates) {
  t.test(
    `a generation whose commit is struck with ${fate} is opened by a second call`,
    async (t) => {
      const book = await newBook(t)
      const first = await book.takenOverBy('first')
      const proxy = await PostgresProxy.start(t, book.connectionString)
      let struck: () => void
      const isStruck = new Promise<void>((resolve) => {
        struck = resolve
      })
      proxy.onCommit = () => {
        struck()
        return fate
      }
      const broken = await book.connect(proxy.connectionString)
      const { rows } = await broken.query('select pg_backend_pid() as pid')
      const { pid } = rows[0]
      const lost = openGeneration(broken, 'first', first, 2, silent)
      const never = fate === 'half-open' || fate === 'late'
      if (never) lost.catch(silent)
      else await t.rejects(lost, 'the first call cannot know')
      await isStruck
      let waited = false
      const second = await openGeneration(book.client, 'first', first, 2, () => {
        if (!waited && fate === 'late') void proxy.deliverLate()
        if (!waited && fate === 'half-open') void book.end(pid)
        waited = true
      })
      t.same(second.layout.streams, [2, 3], 'and not two more')
      const { generation, streams } = await book.rows()
      const state = streams.map(({ id, closed, epoch, owner }) => [id, closed, epoch, owner])
      t.same([generation, state], [2, [[1, true, 1, 'first'], ...newStreams('first', 2)]])
      const session = await book.session()
      await session.commit(oneRecord(3, await session.settle(3, 'first')))
    },
  )
}

t.test('a generation whose backend is ended before its commit leaves nothing behind', async (t) => {
  const book = await newBook(t)
  const first = await book.takenOverBy('first')
  const before = await book.rows()
  const holder = await book.connect()
  await holder.query('begin; select from daybook.stream for update')
  const doomed = await book.connect()
  const lost = t.rejects(openGeneration(doomed, 'first', first, 2, silent))
  await book.untilWaiting(1)
  await book.client.query(
    `select pg_terminate_backend(pid, 5000) from pg_stat_activity
     where datname = current_database() and wait_event_type = 'Lock'`,
  )
  await lost
  await holder.query('commit')
  t.same(await book.rows(), before)
  const second = await openGeneration(book.client, 'first', first, 2, silent)
  t.same(second.layout.streams, [2, 3])
})

t.test('a book whose open streams are not those of its slots is refused', async (t) => {
  const damages = [
    'insert into daybook.stream (id, generation) values (9, 1)',
    'update daybook.stream set closed = true',
    'update daybook.stream set generation = 2',
    'update daybook.book set generation = 2',
    'update daybook.book set slots = set_byte(slots, 7, 9)',
    'update daybook.book set slots = substring(slots from 5)',
    'insert into daybook.stream (id, generation) values (0, 0)',
  ]
  for (const damage of damages) {
    const book = await newBook(t)
    const first = await book.takenOverBy('first')
    await book.client.query(damage)
    const before = await book.rows()
    await t.rejects(readLayout(book.client), Error, damage)
    await t.rejects(takeOver(book.client, 'second', first, silent), Error, damage)
    await t.rejects(openGeneration(book.client, 'first', first, 2, silent), Error, damage)
    t.same(await book.rows(), before, damage)
  }
})

/** Rows of the open streams of generation 2, none of them settled yet. */
function newStreams(owner: string, shards: number): unknown[] {
  return Array.from({ length: shards }, (_, index) => [2 + index, false, 0, owner])
}

/** A batch of one record that follows `state` in `stream`. */
function oneRecord(stream: number, state: StreamState): SealedBatch {
  const { head, digest, epoch } = state
  const batch = new Batch(stream)
  batch.restart(head + 1)
  const word = batch.add(plainPostingBytes)
  batch.words.fill(0, word, word + plainPostingBytes / 4)
  batch.words[word] = headWord(RecordKind.posting, 0)
  batch.words[word + 1] = plainPostingBytes
  const sealed = batch.seal(epoch, digest, digestChain())
  return {
    stream,
    epoch,
    head,
    digest,
    newHead: head + 1,
    newDigest: sealed.digest,
    copy: sealed.copy,
  }
}

interface StreamRow {
  id: number
  closed: boolean
  epoch: number
  owner: string
}

/** A new database with the schema, and what the tests ask of it. */
async function newBook(t: Test) {
  const connectionString = await postgres.createDatabase()
  const connect = async (address = connectionString): Promise<pg.Client> => {
    const client = new pg.Client({ connectionString: address })
    client.on('error', silent)
    await client.connect()
    t.teardown(() => client.connection.stream.destroy())
    return client
  }
  const client = await connect()
  const watcher = await connect()
  await migrate(client)
  return {
    connectionString,
    client,
    connect,
    takenOverBy: async (owner: string): Promise<BookLayout> =>
      takeOver(client, owner, await readLayout(client), silent),
    async session(): Promise<JournalSession> {
      const session = await postgresStore(postgresDatabase(connectionString, 5000)).open()
      t.teardown(() => session.close())
      return session
    },
    /** Everything that a take-over or a generation may change. */
    async rows(): Promise<{ generation: number; slots: Buffer; streams: StreamRow[] }> {
      const book = await watcher.query('select generation, slots from daybook.book')
      const streams = await watcher.query('select * from daybook.stream order by id')
      return { ...book.rows[0], streams: streams.rows }
    },
    async records(): Promise<string[]> {
      const { rows } = await watcher.query(
        "select stream || '-' || first_seq as position from daybook.journal order by stream, first_seq",
      )
      return rows.map((row) => row.position)
    },
    /** Resolves as soon as `count` backends wait for a lock. */
    async untilWaiting(count: number): Promise<void> {
      for (;;) {
        const { rows } = await watcher.query(
          `select count(*)::int as n from pg_stat_activity
           where datname = current_database() and wait_event_type = 'Lock'`,
        )
        if (rows[0].n >= count) return
      }
    },
    async end(pid: number): Promise<void> {
      await watcher.query('select pg_terminate_backend($1)', [pid])
    },
  }
}
