import { inspect } from 'node:util'
import t from 'tap'
import { systemClock } from '../../../src/clock.js'
import { RedisFeed } from '../../../src/history/feed/redis-feed.js'
import { digestChain } from '../../../src/journal/digest.js'
import { withClient } from '../../actors/book-database.js'
import { TestClock } from '../../actors/test-clock.js'
import { until } from '../../journal/faulty-store.js'
import { temporaryPostgres } from '../../postgres.js'
import { noRedis, TemporaryRedis } from '../../redis.js'
import {
  bookId,
  delivered,
  eventsIn,
  feedOptions,
  firstIn,
  key,
  startFeed,
} from './feed-fixture.js'
import { plainPosting } from './feed-records.js'
import { FeedJournal, seqOf } from './journal-fixture.js'

const skip = await noRedis()
const postgres = await temporaryPostgres(t)

t.test('every event comes once, in order, under the seq of its record', { skip }, async (t) => {
  const [journal, redis] = [await FeedJournal.make(t, postgres), await TemporaryRedis.start(t)]
  await journal.append(2000)
  const feed = startFeed(t, journal, feedOptions(redis))
  for (let batch = 0; batch < 10; batch++) await journal.append(10)
  await delivered(feed, journal)
  const client = redis.client(t)
  t.same(await eventsIn(client), journal.events)
  t.equal(await firstIn(client), 1)
  t.match(feed.feed.gauges, [
    {
      ...{ stream: 1, position: 2100, head: 2100, lag: 0, isConnected: true, begun: 1 },
      delivered: journal.events.length,
    },
  ])
  await feed.stop()
  t.same(feed.troubles, [])
  t.match(feed.feed.gauges, [{ isConnected: false }])
})

t.test(
  'a second start goes on where the first ended, and the prefix is free',
  { skip },
  async (t) => {
    const [journal, redis] = [await FeedJournal.make(t, postgres), await TemporaryRedis.start(t)]
    for (let round = 0; round < 5; round++) {
      await journal.append(13)
      const feed = startFeed(t, journal, feedOptions(redis))
      await delivered(feed, journal)
      await feed.stop()
      t.equal(feed.feed.gauges[0].begun, round === 0 ? 1 : 0)
    }
    const other = startFeed(t, journal, feedOptions(redis, { prefix: 'other' }))
    await delivered(other, journal)
    const client = redis.client(t)
    t.same(await eventsIn(client), journal.events)
    t.equal(await client.xlen(`other:${bookId}:1`), journal.events.length)
  },
)

t.test('a closed stream is delivered, and then left alone', { skip }, async (t) => {
  const [journal, redis] = [await FeedJournal.make(t, postgres), await TemporaryRedis.start(t)]
  await journal.append(700)
  const parts = {
    ...{ store: journal.store, chain: digestChain(), clock: systemClock, random: () => 0 },
    listener: { onTrouble: (error: Error) => t.fail(error.message), onBegun: () => undefined },
  }
  const streams = [{ stream: 1, isClosed: true }]
  await new RedisFeed(feedOptions(redis, { streams }), parts).run(new AbortController().signal)
  t.same(await eventsIn(redis.client(t)), journal.events)
})

t.test(
  'two feeds of one stream get in each other’s way, and no event is lost',
  { skip },
  async (t) => {
    const [journal, redis] = [await FeedJournal.make(t, postgres), await TemporaryRedis.start(t)]
    const feeds = [1, 2].map(() => startFeed(t, journal, feedOptions(redis)))
    for (let batch = 0; batch < 30; batch++) await journal.append(20)
    await until(async () => (await redis.client(t).xlen(key)) === journal.events.length)
    t.same(await eventsIn(redis.client(t)), journal.events)
    for (const { troubles } of feeds) {
      for (const error of troubles) t.match(error, { code: 'stream_moved' })
    }
  },
)

t.test(
  'a Redis that was killed comes back with what it kept, and misses nothing',
  { skip },
  async (t) => {
    const journal = await FeedJournal.make(t, postgres)
    const redis = await TemporaryRedis.start(t, { appendOnly: true })
    const feed = startFeed(t, journal, feedOptions(redis))
    for (let round = 0; round < 5; round++) {
      await journal.append(300)
      await until(() => feed.feed.gauges[0].position > round * 300)
      await Promise.all([redis.kill(), journal.append(20)])
      await until(() => !feed.feed.gauges[0].isConnected && feed.troubles.length > round)
      await redis.start()
      await until(() => feed.feed.gauges[0].isConnected)
    }
    await delivered(feed, journal)
    const client = redis.client(t)
    t.same(await eventsIn(client), journal.events)
    t.equal(await firstIn(client), 1)
    t.same(feed.begun, [1])
  },
)

t.test('what Redis has forgotten of the end is delivered again', { skip }, async (t) => {
  const [journal, redis] = [await FeedJournal.make(t, postgres), await TemporaryRedis.start(t)]
  const feed = startFeed(t, journal, feedOptions(redis))
  await journal.append(50)
  await delivered(feed, journal)
  await redis.client(t).save()
  await journal.append(50)
  await delivered(feed, journal)
  await redis.kill()
  await redis.start()
  await journal.append(1)
  await until(async () => (await redis.client(t).xlen(key)) === journal.events.length)
  t.same(await eventsIn(redis.client(t)), journal.events)
  t.same(feed.begun, [1])
})

t.test('a Redis that was emptied is filled again, busy or idle', { skip }, async (t) => {
  const [journal, redis] = [await FeedJournal.make(t, postgres), await TemporaryRedis.start(t)]
  const feed = startFeed(t, journal, feedOptions(redis))
  const client = redis.client(t)
  await journal.append(30)
  await delivered(feed, journal)
  await client.flushall()
  await journal.append(7)
  await until(async () => (await client.xlen(key)) === journal.events.length)
  t.same(await eventsIn(client), journal.events)
  await client.flushall()
  await until(async () => (await client.xlen(key)) === journal.events.length)
  t.same(await eventsIn(client), journal.events)
  t.equal(await firstIn(client), 1)
  t.same(feed.begun, [1, 1, 1])
})

for (const { name, harm } of [
  { name: 'its stream', harm: ['del', key] },
  { name: 'what goes with its stream', harm: ['del', `${key}:state`] },
  { name: 'an entry', harm: ['xdel', key, '3-0'] },
  { name: 'the oldest entries', harm: ['xtrim', key, 'maxlen', '5'] },
  { name: 'its place, by an entry of somebody else', harm: ['xadd', key, '*', 'what', 'else'] },
]) {
  t.test(`a Redis that has lost ${name} is begun anew`, { skip }, async (t) => {
    const [journal, redis] = [await FeedJournal.make(t, postgres), await TemporaryRedis.start(t)]
    const feed = startFeed(t, journal, feedOptions(redis))
    const client = redis.client(t)
    await journal.append(30)
    await delivered(feed, journal)
    await client.call(...(harm as [string, ...string[]]))
    await journal.append(1)
    await until(() => feed.begun.length === 2)
    await delivered(feed, journal)
    t.same(await eventsIn(client), journal.events)
    t.match(feed.troubles, [{ code: 'stream_moved' }])
  })
}

t.test(
  'a stream begins where it is told to, again after a loss, and says so',
  { skip },
  async (t) => {
    const [journal, redis] = [await FeedJournal.make(t, postgres), await TemporaryRedis.start(t)]
    await journal.append(30)
    const feed = startFeed(t, journal, feedOptions(redis, { startAfter: () => 17 }))
    const client = redis.client(t)
    for (let round = 0; round < 2; round++) {
      await until(async () => (await client.xlen(key)) === journal.eventsAfter(17).length)
      t.same(await eventsIn(client), journal.eventsAfter(17))
      t.equal(await firstIn(client), 18)
      await client.flushall()
    }
    await until(() => feed.begun.length === 3)
  },
)

t.test(
  'what was archived before it was delivered is missing, and readers are told',
  { skip },
  async (t) => {
    const [journal, redis] = [await FeedJournal.make(t, postgres), await TemporaryRedis.start(t)]
    const client = redis.client(t)
    await journal.append(30)
    const first = startFeed(t, journal, feedOptions(redis))
    await delivered(first, journal)
    await first.stop()
    for (let batch = 0; batch < 10; batch++) await journal.append(30)
    await journal.archive(150)
    const second = startFeed(t, journal, feedOptions(redis))
    await delivered(second, journal)
    const begun = (await firstIn(client)) ?? 0
    t.ok(begun > 31 && begun <= 151, `${begun}`)
    t.same(second.begun, [begun])
    t.same(await eventsIn(client), journal.eventsAfter(begun - 1))
  },
)

t.test('a damaged journal is not passed over', { skip }, async (t) => {
  const [journal, redis] = [await FeedJournal.make(t, postgres), await TemporaryRedis.start(t)]
  for (let batch = 0; batch < 10; batch++) await journal.append(3)
  await withClient(journal.connectionString, (client) =>
    client.query('delete from daybook.journal where first_seq = 13'),
  )
  const feed = startFeed(t, journal, feedOptions(redis, { startAfter: () => 12 }))
  await until(() => feed.troubles.length > 3)
  t.equal(await redis.client(t).xlen(key), 0)
  t.same(feed.begun, [13])
  for (const error of feed.troubles) t.match(error, { code: /no_such_record|broken_chain/ })
})

t.test(
  'a journal that is not the one that was delivered is not gone on with',
  { skip },
  async (t) => {
    const redis = await TemporaryRedis.start(t)
    const [one, other] = [await FeedJournal.make(t, postgres), await FeedJournal.make(t, postgres)]
    await one.append(10)
    const first = startFeed(t, one, feedOptions(redis))
    await delivered(first, one)
    await first.stop()
    await other.append(9)
    const second = startFeed(t, other, feedOptions(redis))
    await until(() => second.troubles.length > 0)
    t.match(second.troubles[0], { code: 'position_ahead' })
    await other.append(5)
    await until(() => second.troubles.at(-1)?.message.includes('does not go on') === true)
    await second.stop()
    t.same(await eventsIn(redis.client(t)), one.events)
  },
)

t.test('the marker says at every moment from where on nothing is missing', { skip }, async (t) => {
  const [journal, redis] = [await FeedJournal.make(t, postgres), await TemporaryRedis.start(t)]
  const client = redis.client(t)
  const feed = startFeed(t, journal, feedOptions(redis, { lengthMax: 100 }))
  // A reader that is as slow as it likes: what it finds is complete from the marker on.
  let looks = 0
  const look = async () => {
    const looked = await client.multi().xrange(key, '-', '+').hgetall(`${key}:state`).exec()
    const [entries, state] = (looked ?? []).map(([, answer]) => answer) as [
      [string][],
      Record<string, string>,
    ]
    if (state.first === undefined) return
    looks += 1
    const [first, position] = [Number(state.first), Number(state.position)]
    const there = entries.map(([id]) => Number.parseInt(id, 10))
    const due = journal.eventsAfter(first - 1).map(seqOf)
    t.same(
      there,
      due.filter((seq) => seq <= position),
    )
    const gone = journal.events.map(seqOf).filter((seq) => seq < (there[0] ?? 0))
    t.equal(first, (gone.at(-1) ?? 0) + 1, 'and who has read what was trimmed has missed nothing')
  }
  for (let round = 0; round < 40; round++) {
    await journal.append(1 + ((round * 37) % 90))
    await look()
  }
  await delivered(feed, journal)
  await look()
  t.ok(looks > 5)
  t.same(await eventsIn(client), journal.events.slice(-100))
})

t.test('a limit that was lowered is reached step by step', { skip }, async (t) => {
  const [journal, redis] = [await FeedJournal.make(t, postgres), await TemporaryRedis.start(t)]
  const client = redis.client(t)
  await journal.append(1500, (seq) => plainPosting({ seq, id: 1 }))
  const first = startFeed(t, journal, feedOptions(redis))
  await delivered(first, journal)
  await first.stop()
  const second = startFeed(t, journal, feedOptions(redis, { lengthMax: 10 }))
  await until(async () => (await client.xlen(key)) === 10)
  t.same(second.begun, [])
  t.equal(await firstIn(client), 1491)
})

t.test('what is too old goes, in an idle stream too', { skip }, async (t) => {
  const [journal, redis] = [await FeedJournal.make(t, postgres), await TemporaryRedis.start(t)]
  const client = redis.client(t)
  // Each a little more than a second after the one before it, from 10:00:01.
  await journal.append(20, (seq) => plainPosting({ seq, id: seq }))
  const clock = new TestClock(Date.UTC(2024, 2, 1, 10, 0, 15, 5))
  const feed = startFeed(t, journal, feedOptions(redis, { ageMsMax: 10_000 }), clock)
  await delivered(feed, journal)
  t.same(await eventsIn(client), journal.events.slice(4))
  t.equal(await firstIn(client), 5)
  clock.setWall(Date.UTC(2024, 2, 1, 10, 0, 26))
  const ticking = setInterval(() => clock.advance(1), 1)
  t.teardown(() => clearInterval(ticking))
  await until(async () => (await client.xlen(key)) < 10)
  t.equal(await firstIn(client), seqOf((await eventsIn(client))[0]))
})

t.test('a Postgres that is away, and back, is no more than a delay', { skip }, async (t) => {
  const journal = await FeedJournal.make(t, postgres)
  const redis = await TemporaryRedis.start(t)
  const feed = startFeed(t, journal, feedOptions(redis))
  await journal.append(10)
  await delivered(feed, journal)
  await withClient(journal.connectionString, (client) =>
    client.query(
      `select pg_terminate_backend(pid) from pg_stat_activity
       where application_name = 'daybook journal' and datname = current_database()
         and pid not in (select backend_pid from daybook.stream)`,
    ),
  )
  await until(() => feed.troubles.length > 0)
  await journal.append(10)
  await delivered(feed, journal)
  t.same(await eventsIn(redis.client(t)), journal.events)
})

t.test('a Redis that falls silent is given up, and tried again', { skip }, async (t) => {
  const [journal, redis] = [await FeedJournal.make(t, postgres), await TemporaryRedis.start(t)]
  const feed = startFeed(t, journal, feedOptions(redis, { timeoutMs: 200 }))
  await journal.append(10)
  await delivered(feed, journal)
  redis.freeze()
  t.teardown(() => redis.thaw())
  await journal.append(10)
  await until(() => feed.troubles.length > 1)
  redis.thaw()
  await delivered(feed, journal)
  t.same(await eventsIn(redis.client(t)), journal.events)
})

t.test(
  'the password is in no error, and what is no address of Redis not either',
  { skip },
  async (t) => {
    const journal = await FeedJournal.make(t, postgres)
    const password = 's3cret/with%marks'
    const redis = await TemporaryRedis.start(t, { password })
    const right = startFeed(t, journal, feedOptions(redis))
    await journal.append(3)
    await delivered(right, journal)
    t.same(right.troubles, [])
    const secrets = ['wr0ng', 'wr%6Fng']
    const wrong = new URL(redis.url)
    const urls = secrets.flatMap((secret) => {
      wrong.password = secret
      return [wrong.href, wrong.href.replace(wrong.port, '1')]
    })
    const feeds = urls.map((url) => startFeed(t, journal, feedOptions(redis, { url })))
    await until(() => feeds.every(({ troubles }) => troubles.length > 1))
    const said = inspect(feeds, { depth: 10, showHidden: true })
    t.match(said, /WRONGPASS/)
    t.match(said, /ECONNREFUSED/)
    t.notMatch(
      inspect(
        feeds.map(({ troubles }) => troubles),
        { depth: 10, showHidden: true },
      ),
      /wr(0|o|%6F)ng/,
    )
    for (const url of ['http://user:wr0ng@host', 'wr0ng', 'redis://:wr0ng@host:port']) {
      try {
        startFeed(t, journal, feedOptions(redis, { url }))
        t.fail('it was taken')
      } catch (error) {
        t.match(error, { message: /not a URL/ })
        t.notMatch(inspect(error, { showHidden: true }), /wr0ng/)
      }
    }
  },
)
