import t from 'tap'
import { TestClock } from '../../actors/test-clock.js'
import { until } from '../../journal/faulty-store.js'
import { temporaryPostgres } from '../../postgres.js'
import { noRedis, TemporaryRedis } from '../../redis.js'
import { delivered, eventsIn, feedOptions, firstIn, key, startFeed } from './feed-fixture.js'
import { plainPosting } from './feed-records.js'
import { FeedJournal, seqOf } from './journal-fixture.js'

const skip = await noRedis()
const postgres = await temporaryPostgres(t)

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
