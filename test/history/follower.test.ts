import t, { type Test } from 'tap'
import { systemClock } from '../../src/clock.js'
import { Follower } from '../../src/history/follower.js'
import { recreateSchema } from '../../src/history/history-store.js'
import type { Database, DatabaseConnection } from '../../src/journal/database.js'
import { digestChain } from '../../src/journal/digest.js'
import { postgresDatabase } from '../../src/journal/postgres.js'
import { postgresStore } from '../../src/journal/postgres-session.js'
import { below, randomOf } from '../actors/random.js'
import { startApi } from '../api/server.js'
import { historyRows } from './history-rows.js'
import { runWorkload } from './workload.js'

const timeoutMs = 10_000

t.test('wherever it is stopped, or breaks, nothing is skipped and nothing repeated', async (t) => {
  const databaseUrl = await workedBook(t, '3')
  const whole = await rowsAfter(t, databaseUrl, async () => {
    await follow(plain(databaseUrl))
  })
  for (let seed = 1; seed <= 12; seed++) {
    const random = randomOf(seed)
    const broken = await rowsAfter(t, databaseUrl, async () => {
      let rounds = 0
      for (;;) {
        rounds += 1
        const statements = rounds > 60 ? Number.POSITIVE_INFINITY : 1 + below(random, 40)
        const database = breaking(databaseUrl, statements)
        const isDone = await follow(database, 1 + below(random, 60)).catch(() => false)
        if (isDone) return
      }
    })
    t.same(broken, whole, `seed ${seed}`)
  }
})

t.test('only one follows at a time, and a late one notices', async (t) => {
  const databaseUrl = await workedBook(t, '1')
  const parts = partsOf(plain(databaseUrl))
  const first = await Follower.open(parts)
  const second = await Follower.open(parts)
  t.teardown(() => [first, second].forEach((follower) => void follower.close()))
  t.equal(await first.lock(), true)
  t.equal(await second.lock(), false)
  await first.load()
  // As if the first had been away for so long that another one had followed meanwhile.
  await second.load()
  while ((await second.step()) > 0);
  await t.rejects(first.step(), { code: 'history_taken' })
})

/** A book in which much has happened, whose server has stopped. */
async function workedBook(t: Test, shards: string): Promise<string> {
  const api = await startApi(t, { environment: { DAYBOOK_SHARDS: shards } })
  await runWorkload(api, randomOf(7), 250)
  return api.databaseUrl
}

function plain(databaseUrl: string): Database {
  return postgresDatabase(databaseUrl, timeoutMs)
}

/** A database whose connections break after so many statements, in the middle of one. */
function breaking(databaseUrl: string, statements: number): Database {
  const inner = plain(databaseUrl)
  let left = statements
  return {
    async connect(options) {
      const connection = await inner.connect(options)
      const count = <T>(run: () => Promise<T>): Promise<T> => {
        left -= 1
        const result = run()
        if (left <= 0) connection.close()
        return result
      }
      const counted: DatabaseConnection = {
        query: (text, values) => count(() => connection.query(text, values)),
        copyIn: (text, rows) => count(() => connection.copyIn(text, rows)),
        copyOut: (text) => connection.copyOut(text),
        onNotice: (listener) => connection.onNotice(listener),
        close: () => connection.close(),
        end: () => connection.end(),
      }
      return counted
    },
  }
}

function partsOf(database: Database, recordsMax?: number) {
  return {
    database,
    store: postgresStore(database),
    chain: digestChain(),
    clock: systemClock,
    ...(recordsMax === undefined ? {} : { recordsMax }),
  }
}

/** Follows to the end; resolves with whether it has come there. */
async function follow(database: Database, recordsMax?: number): Promise<boolean> {
  const follower = await Follower.open(partsOf(database, recordsMax))
  try {
    // A session that was cut off may hold the lock for a moment still.
    while (!(await follower.lock()));
    await follower.load()
    while ((await follower.step()) > 0);
    return true
  } finally {
    follower.close()
  }
}

/** Every row of the read models that `work` makes from nothing. */
async function rowsAfter(t: Test, databaseUrl: string, work: () => Promise<void>) {
  const connection = await plain(databaseUrl).connect({ name: 'test' })
  await recreateSchema(connection)
  await connection.end()
  await work()
  return await historyRows(t, databaseUrl)
}
