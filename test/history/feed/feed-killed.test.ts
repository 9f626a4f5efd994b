import t from 'tap'
import { until } from '../../journal/faulty-store.js'
import { temporaryPostgres } from '../../postgres.js'
import { noRedis, TemporaryRedis } from '../../redis.js'
import { delivered, eventsIn, feedOptions, firstIn, key, startFeed } from './feed-fixture.js'
import { FeedingProcess } from './feeding-process.js'
import { FeedJournal } from './journal-fixture.js'

const skip = await noRedis()
const postgres = await temporaryPostgres(t)
const rounds = 30

t.test('a feed that is killed at any moment leaves no gap and no repeat', { skip }, async (t) => {
  const journal = await FeedJournal.make(t, postgres)
  const redis = await TemporaryRedis.start(t)
  const client = redis.client(t)
  let isWriting = true
  const writing = (async () => {
    // Always a little ahead of what is delivered, so that there is something to be killed in.
    while (isWriting) {
      await journal.append(1 + Math.floor(Math.random() * 40))
      await until(async () => !isWriting || (await client.xlen(key)) > journal.events.length - 800)
    }
  })()
  let killedBehind = 0
  for (let round = 0; round < rounds; round++) {
    const { connectionString } = journal
    const options = feedOptions(redis)
    const feeding = await FeedingProcess.start(t, { connectionString, options })
    const before = await client.xlen(key)
    const wanted = before + Math.floor(Math.random() * 300)
    await until(async () => (await client.xlen(key)) >= wanted)
    await feeding.kill()
    if ((await client.xlen(key)) < journal.events.length) killedBehind += 1
  }
  isWriting = false
  await writing
  t.ok(killedBehind > rounds / 2, `behind the journal when killed: ${killedBehind}`)
  const last = startFeed(t, journal, feedOptions(redis))
  await delivered(last, journal)
  t.same(last.begun, [], 'it goes on where the others ended')
  t.equal(await firstIn(client), 1)
  const events = await eventsIn(client)
  t.equal(events.length, journal.events.length)
  t.same(
    events.map(({ id }) => id),
    journal.events.map(({ id }) => id),
  )
  t.same(events.at(-1), journal.events.at(-1))
})
