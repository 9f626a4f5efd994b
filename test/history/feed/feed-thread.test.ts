import type { Worker } from 'node:worker_threads'
import t, { type Test } from 'tap'
import { systemClock } from '../../../src/clock.js'
import { FeedThread, startFeedWorker } from '../../../src/history/feed/feed-thread.js'
import { until } from '../../journal/faulty-store.js'
import { temporaryPostgres } from '../../postgres.js'
import { FeedJournal } from './journal-fixture.js'

const postgres = await temporaryPostgres(t)
const tenant = 4_000_000_000

function startThread(t: Test, { connectionString }: Pick<FeedJournal, 'connectionString'>) {
  const workers: Worker[] = []
  const feed = new FeedThread(
    { connectionString, timeoutMs: 10_000, digestKey: undefined, archiveDirectory: undefined },
    {
      ...{ clock: systemClock, listenersMax: 2, heartbeatMs: 10_000, stallMs: 10_000 },
      ...{ beginTimeoutMs: 10_000, onTrouble: () => undefined, onEnd: () => undefined },
    },
    (task) => {
      const worker = startFeedWorker(task)
      workers.push(worker)
      return worker
    },
  )
  t.teardown(() => feed.stop())
  return { feed, workers }
}

t.test(
  'a thread that is lost is replaced, and who listens misses and repeats nothing',
  async (t) => {
    const journal = await FeedJournal.make(t, postgres)
    const { feed, workers } = startThread(t, journal)
    const text = await feed.listen({ tenant })
    const ids: string[] = []
    text.setEncoding('utf8').on('data', (piece: string) => {
      for (const [, id] of piece.matchAll(/"id":"(1-\d+)","type"/g)) ids.push(id)
    })
    for (let round = 1; round <= 3; round++) {
      await journal.append(40)
      await until(() => ids.length > 0)
      await workers.at(-1)?.terminate()
      await journal.append(40)
      await until(() => ids.length === journal.events.length)
      t.equal(workers.length, round + 1)
    }
    t.same(
      ids,
      journal.events.map(({ id }) => id),
    )
  },
)

t.test('a thread is only started by somebody who listens, and none after the end', async (t) => {
  const journal = await FeedJournal.make(t, postgres)
  const { feed, workers } = startThread(t, journal)
  t.equal(workers.length, 0)
  const text = await feed.listen({ tenant })
  text.resume()
  const ended = new Promise((resolve) => text.once('end', resolve))
  feed.endAll()
  await ended
  await t.rejects(feed.listen({ tenant }), { code: 'stopping' })
  t.equal(workers.length, 1)
})

t.test('who cannot begin in time is refused, and leaves nothing behind', async (t) => {
  // A Postgres that is not there refuses at once; that is the same refusal.
  const { feed } = startThread(t, { connectionString: 'postgres://127.0.0.1:1/none' })
  await t.rejects(feed.listen({ tenant }), { code: 'journal_unavailable' })
  t.equal(feed.gauges.listeners, 0)
})
