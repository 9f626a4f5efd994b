import t from 'tap'
import { until } from '../../journal/faulty-store.js'
import { temporaryPostgres } from '../../postgres.js'
import { FeedJournal } from '../feed/journal-fixture.js'
import { isTest, type ReceivedRequest, TestReceiver } from './test-receiver.js'
import {
  addReceiver,
  hasAll,
  hurriedClock,
  receiverStore,
  startDispatcher,
  tenant,
} from './webhook-fixture.js'

const postgres = await temporaryPostgres(t)
const retry = { attemptsMax: 10, delayMsMin: 500, delayMsMax: 60_000 }
/** One that is never open. */
const noBreaker = { attemptsMin: 1e9, failedPercentMax: 50, windowMs: 120_000, pauseMs: 10 }
const breaker = { attemptsMin: 5, failedPercentMax: 50, windowMs: 120_000, pauseMs: 10 }

t.test('what fails is sent again, later each time, and nothing overtakes it', async (t) => {
  const [journal, hook] = [await FeedJournal.make(t, postgres), await TestReceiver.start(t)]
  await journal.append(20)
  const answers = ['cut', 500, 404, 302, 408] as const
  hook.answer = () => answers[hook.requests.length - 1] ?? 200
  const clock = hurriedClock()
  await addReceiver(receiverStore(t, journal), hook, { batchMax: 4 })
  const random = () => 0.5
  await startDispatcher(t, journal, { clock, random, retry, breaker: noBreaker })
  await hasAll(hook, idsOf(journal))
  t.same(
    clock.delaysMs.filter((delayMs) => delayMs > 0 && delayMs % 375 === 0),
    [375, 750, 1500, 3000, 6000],
    'twice as long each time, times three quarters by chance',
  )
  const sizes = hook.requests.map(({ events }) => events.length)
  t.same(sizes.slice(0, 8), [4, 2, 1, 1, 1, 1, 2, 4], 'smaller after a failure, then as before')
  const log = await receiverLog(journal, t)
  t.same(
    log
      .slice(0, 6)
      .map(({ outcome, status, error, attempt }) => [...[outcome, status ?? error, attempt]]),
    [
      ['failed', 'ECONNRESET', 1],
      ['failed', 500, 2],
      ['failed', 404, 3],
      ['failed', 302, 4],
      ['failed', 408, 5],
      ['delivered', 200, 6],
    ],
  )
})

t.test('a redirect is not followed', async (t) => {
  const journal = await FeedJournal.make(t, postgres)
  const [hook, elsewhere] = [await TestReceiver.start(t), await TestReceiver.start(t)]
  await journal.append(5)
  hook.answer = () =>
    hook.requests.length < 4 ? { status: 307, headers: { location: elsewhere.url } } : 200
  await addReceiver(receiverStore(t, journal), hook)
  await startDispatcher(t, journal, { breaker: noBreaker })
  await hasAll(hook, idsOf(journal))
  t.equal(elsewhere.requests.length, 0)
})

t.test('a receiver that hangs keeps nobody else waiting', async (t) => {
  const journal = await FeedJournal.make(t, postgres)
  const [hook, other] = [await TestReceiver.start(t), await TestReceiver.start(t)]
  const store = receiverStore(t, journal)
  const { id } = await addReceiver(store, hook)
  await addReceiver(store, other)
  hook.answer = () => 'hang'
  const running = await startDispatcher(t, journal, { timeoutMs: 200, breaker })
  for (let round = 0; round < 20; round++) {
    await journal.append(20)
    await hasAll(other, idsOf(journal))
  }
  await until(() => running.gauges()?.open === 1)
  t.same(hook.accepted, [])
  const [newest] = await store.attempts(id, { before: undefined, limit: 1 })
  t.match(newest, { outcome: 'failed', error: 'timeout' })
  hook.answer = () => 200
  await hasAll(hook, idsOf(journal))
  t.same(await store.deadLetters(id, { after: undefined, limit: 10 }), [])
})

t.test('a receiver that is away for long loses nothing, and gets it in order', async (t) => {
  const [journal, hook] = [await FeedJournal.make(t, postgres), await TestReceiver.start(t)]
  const store = receiverStore(t, journal)
  const { id } = await addReceiver(store, hook)
  const clock = hurriedClock()
  const running = await startDispatcher(t, journal, { clock, breaker })
  await journal.append(20)
  await hasAll(hook, idsOf(journal))
  await hook.close()
  await journal.append(200)
  await until(() => running.gauges()?.open === 1)
  const failedAttempts = () => running.gauges()?.failedAttempts ?? 0
  const before = failedAttempts()
  await until(() => failedAttempts() > before + 30)
  t.equal(hook.ids.length, idsOf(journal).length - idsOf(journal, 20).length)
  t.ok((running.gauges()?.lag ?? 0) >= 200, 'the lag says so')
  const log = await store.attempts(id, { before: undefined, limit: 10_000 })
  const real = log.filter(
    ({ outcome, firstEvent }) => outcome !== 'delivered' && !isProbe(firstEvent),
  )
  t.ok(real.length <= 5, `after a few attempts only probes are sent: ${real.length}`)
  t.same(await store.deadLetters(id, { after: undefined, limit: 10 }), [])
  await hook.listen()
  await hasAll(hook, idsOf(journal))
  t.equal(running.gauges()?.deadLetters, 0)
})

t.test('an event that nobody can take becomes a dead letter, and the rest goes on', async (t) => {
  const [journal, hook] = [await FeedJournal.make(t, postgres), await TestReceiver.start(t)]
  await journal.append(40)
  const ids = idsOf(journal)
  const [poison, refused] = [ids[7], ids[20]]
  hook.answer = (request) => (has(request, poison) ? 500 : has(request, refused) ? 422 : 200)
  const store = receiverStore(t, journal)
  const { id } = await addReceiver(store, hook)
  const running = await startDispatcher(t, journal, { breaker })
  await hasAll(
    hook,
    ids.filter((each) => each !== poison && each !== refused),
  )
  await until(async () => running.gauges()?.deadLetters === 2)
  const letters = await store.deadLetters(id, { after: undefined, limit: 10 })
  t.match(letters, [
    { event: { id: poison }, attempts: 10, status: 500, isResending: false },
    { event: { id: refused }, status: 422 },
  ])
  t.same(
    letters.map(({ event }) => event),
    journal.events.filter(({ id }) => id === poison || id === refused),
    'whole, as they were sent',
  )
  const probes = hook.requests.filter(isTest)
  t.ok(probes.length >= 4, 'a probe had to be answered before each attempt that counted')

  t.equal(await store.resend(id, [letters[0].id]), 1)
  await until(async () => {
    const [first] = await store.deadLetters(id, { after: undefined, limit: 1 })
    return first.attempts === 11 && !first.isResending
  })
  hook.answer = () => 200
  t.equal(await store.resend(id, undefined), 2)
  await until(() => running.gauges()?.deadLetters === 0)
  const resent = hook.ids.slice(ids.length - 2)
  t.same(resent, [poison, refused], 'each once')
  t.equal(await store.resend(id, undefined), 0)
})

t.test(
  'a receiver that refuses everything does not get dead letters by the thousand',
  async (t) => {
    const [journal, hook] = [await FeedJournal.make(t, postgres), await TestReceiver.start(t)]
    await journal.append(300)
    hook.answer = () => 400
    await addReceiver(receiverStore(t, journal), hook)
    const slow = { ...breaker, pauseMs: 600_000 }
    const running = await startDispatcher(t, journal, { breaker: slow })
    await until(() => running.gauges()?.open === 1)
    await until(() => (running.gauges()?.deadLetters ?? 0) >= 5)
    t.ok((running.gauges()?.lag ?? 0) > 250)
  },
)

t.test('one that says 410 is disabled, until it is made active again', async (t) => {
  const [journal, hook] = [await FeedJournal.make(t, postgres), await TestReceiver.start(t)]
  await journal.append(10)
  hook.answer = () => 410
  const store = receiverStore(t, journal)
  const { id } = await addReceiver(store, hook)
  const running = await startDispatcher(t, journal)
  await until(async () => (await store.find(tenant, id))?.state === 'disabled')
  t.equal((await store.find(tenant, id))?.reason, 'gone')
  await until(() => running.gauges()?.disabled === 1)
  t.equal(hook.requests.length, 1)
  hook.answer = () => 200
  const active = await store.change(tenant, id, { state: 'active' })
  t.match(active, { state: 'active', reason: undefined })
  await hasAll(hook, idsOf(journal))
})

t.test('one that asks for time gets it, however often, and it counts for nothing', async (t) => {
  const [journal, hook] = [await FeedJournal.make(t, postgres), await TestReceiver.start(t)]
  await journal.append(10)
  const headers = { 'retry-after': '77' }
  hook.answer = () =>
    hook.requests.length > 30 ? 200 : { status: hook.requests.length % 2 ? 429 : 503, headers }
  const clock = hurriedClock()
  const store = receiverStore(t, journal)
  const { id } = await addReceiver(store, hook)
  const running = await startDispatcher(t, journal, { clock, breaker })
  await hasAll(hook, idsOf(journal))
  const waits = clock.delaysMs.filter((delayMs) => delayMs > 70_000)
  t.equal(waits.length, 30)
  t.ok(waits.every((waitMs) => waitMs <= 77_000))
  t.same(await store.deadLetters(id, { after: undefined, limit: 10 }), [])
  t.equal(running.gauges()?.open, 0)
})

function idsOf(journal: FeedJournal, after = 0): string[] {
  return journal.eventsAfter(after).map(({ id }) => id)
}

function has({ events }: ReceivedRequest, id: string): boolean {
  return events.some((event) => event.id === id)
}

function isProbe(eventId: string): boolean {
  return eventId.startsWith('test-')
}

/** Of its only receiver, oldest first, once it is written. */
async function receiverLog(journal: FeedJournal, t: Parameters<typeof receiverStore>[0]) {
  const store = receiverStore(t, journal)
  const [{ id }] = await store.list(tenant)
  await until(async () => {
    const [newest] = await store.attempts(id, { before: undefined, limit: 1 })
    return newest?.lastEvent === idsOf(journal).at(-1)
  })
  return (await store.attempts(id, { before: undefined, limit: 1000 })).reverse()
}
