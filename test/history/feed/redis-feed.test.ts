import { inspect } from 'node:util'
import t from 'tap'
import { systemClock } from '../../../src/clock.js'
import { RedisFeed } from '../../../src/history/feed/redis-feed.js'
import { digestChain } from '../../../src/journal/digest.js'
import { withClient } from '../../actors/book-database.js'
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
import { FeedJournal } from './journal-fixture.js'

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
