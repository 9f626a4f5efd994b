import t from 'tap'
import { withClient } from '../../actors/book-database.js'
import { until } from '../../journal/faulty-store.js'
import { temporaryPostgres } from '../../postgres.js'
import { noRedis, TemporaryRedis } from '../../redis.js'
import { delivered, eventsIn, feedOptions, firstIn, key, startFeed } from './feed-fixture.js'
import { FeedJournal } from './journal-fixture.js'

const skip = await noRedis()
const postgres = await temporaryPostgres(t)

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
  { name: 'its stream', harm: [['del', key]] },
  { name: 'what goes with its stream', harm: [['del', `${key}:state`]] },
  { name: 'an entry', harm: [['xdel', key, '3-0']] },
  { name: 'the oldest entries', harm: [['xtrim', key, 'maxlen', '5']] },
  {
    name: 'its place, by an entry of somebody else',
    harm: [
      ['xadd', key, '9999999-0', 'what', 'else'],
      ['xdel', key, '9999999-0'],
    ],
  },
]) {
  t.test(`a Redis that has lost ${name} is begun anew`, { skip }, async (t) => {
    const [journal, redis] = [await FeedJournal.make(t, postgres), await TemporaryRedis.start(t)]
    const feed = startFeed(t, journal, feedOptions(redis))
    const client = redis.client(t)
    await journal.append(30)
    await delivered(feed, journal)
    for (const [command, ...words] of harm) await client.call(command, ...words)
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
