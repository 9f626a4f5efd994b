import type { Worker } from 'node:worker_threads'
import pg from 'pg'
import t, { type Test } from 'tap'
import type { FollowerProgress } from '../../src/history/follower.js'
import { HistoryThread } from '../../src/history/history-thread.js'
import type { HistoryTask } from '../../src/history/history-worker.js'
import { eventually, startApi } from '../api/server.js'

t.test('a thread that ends by itself is started again, and says nothing of before', async (t) => {
  const databaseUrl = await emptyBook(t)
  const workers = startedWorkers(t)
  const { thread, ends } = await threadOf(t, databaseUrl)
  await eventually(() => thread.progress)
  t.equal(workers.length, 1)
  await workers[0].terminate()
  t.equal(thread.progress, undefined)
  const progress = await eventually(() => thread.progress)
  t.equal(progress.indexed, true)
  t.equal(workers.length, 2)
  t.same(ends, [], 'it was ended, and had no fault')
})

t.test('a reader that waits ends the rest of the thread', async (t) => {
  const api = await startApi(t)
  const { thread } = await threadOf(t, api.databaseUrl, { restMs: 3_600_000 })
  await eventually(() => thread.progress?.indexed)
  await api.post('/v1/accounts', { id: 'ada', currency: 'EUR', class: 'liability' })
  await eventually(() => {
    thread.hurry()
    return thread.progress?.records === 1
  })
  t.same(thread.progress?.followed, [[1, 1]])
})

t.test('a fault of the thread is told each time, and it is started again', async (t) => {
  // No bytes: the thread throws before it does anything.
  const digestKey = 7 as unknown as Uint8Array
  const { ends } = await threadOf(t, 'postgres://nobody@127.0.0.1:1/none', { digestKey })
  await eventually(() => ends.length >= 2)
  t.match(ends[0].message, 'first argument must be')
})

t.test('while it does not follow, its progress is not known, and it goes on', async (t) => {
  const databaseUrl = await emptyBook(t)
  const { thread, troubles } = await threadOf(t, databaseUrl)
  await eventually(() => thread.progress)
  const client = new pg.Client({ connectionString: databaseUrl })
  await client.connect()
  t.teardown(() => client.end())
  await client.query(
    `select pg_terminate_backend(pid) from pg_stat_activity
     where application_name = 'daybook history' and datname = current_database()`,
  )
  await eventually(() => troubles.length > 0)
  t.equal(troubles[0].progress, undefined, 'what it was before is no lag of now')
  await eventually(() => thread.progress)
})

t.test('a node that keeps no history says that Redis gets nothing', async (t) => {
  const environment = { REDIS_URL: 'redis://127.0.0.1:1' }
  const said = (logs: string[]) => logs.some((line) => line.includes('nothing is delivered'))
  const without = await startApi(t, { environment: { ...environment, DAYBOOK_HISTORY: 'off' } })
  t.ok(said(without.logs))
  const withHistory = await startApi(t, { environment: { ...environment, DAYBOOK_HISTORY: 'on' } })
  t.notOk(said(withHistory.logs))
})

/** Every thread that is started from now on. */
function startedWorkers(t: Test): Worker[] {
  const workers: Worker[] = []
  const note = (worker: Worker) => workers.push(worker)
  process.on('worker', note)
  t.teardown(() => process.off('worker', note))
  return workers
}

/** A migrated database whose server keeps no read models. */
async function emptyBook(t: Test): Promise<string> {
  let databaseUrl = ''
  await t.test('a book', async (t) => {
    const api = await startApi(t)
    databaseUrl = api.databaseUrl
  })
  return databaseUrl
}

async function threadOf(t: Test, connectionString: string, more: Partial<HistoryTask> = {}) {
  const ends: Error[] = []
  const troubles: { message: string; progress: FollowerProgress | undefined }[] = []
  const task: HistoryTask = {
    ...{ connectionString, timeoutMs: 5000 },
    ...{ digestKey: undefined, archiveDirectory: undefined, redis: undefined },
    ...more,
  }
  const thread = new HistoryThread(task, {
    onTrouble: (message) => troubles.push({ message, progress: thread.progress }),
    onEnd: (error) => ends.push(error),
    onProjected: () => undefined,
  })
  t.teardown(() => thread.stop())
  return { thread, ends, troubles }
}
