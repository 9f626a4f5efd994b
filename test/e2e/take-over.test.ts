import pg from 'pg'
import t, { type Test } from 'tap'
import { temporaryPostgres } from '../postgres.js'
import { HttpClient, isAcknowledged, statusOf } from './client-log.js'
import { checkBook } from './journal-check.js'
import { Load } from './load.js'
import { PostgresProxy } from './proxy.js'
import { hold, single } from './requests.js'
import { roundsOr, shardCounts, withShards } from './rounds.js'
import { ServerProcess, until } from './server.js'

const rounds = roundsOr(1)
const exitTakenOver = 3
const leaseMs = 1000

t.setTimeout(120_000 + rounds * 60_000 * shardCounts.length)

const postgres = await temporaryPostgres(t)

for (const shards of shardCounts) {
  t.test(`each server of ${shards} takes over from the one before it, under load`, async (t) => {
    const DATABASE_URL = await postgres.createDatabase()
    const settings = { DATABASE_URL, ...withShards(shards) }
    const load = new Load()
    let server = await ServerProcess.start(t, settings)
    await load.open(server.url)
    for (let round = 0; round < rounds; round++) {
      load.start(server.url)
      await load.acknowledged(100 + Math.random() * 200)
      const next = await ServerProcess.start(t, settings)
      t.same(await server.ended(), { code: exitTakenOver, signal: null })
      await load.lost()
      // Repeats that the load sends here may be of ids that the first server acknowledged.
      load.start(next.url)
      await load.acknowledged(100)
      await load.stop()
      await checkBook(t, { url: next.url, connectionString: DATABASE_URL, load })
      server = next
    }
  })

  t.test(
    `two servers of ${shards} that start at once: one serves, the journal is whole`,
    async (t) => {
      const DATABASE_URL = await postgres.createDatabase()
      const settings = { DATABASE_URL, ...withShards(shards) }
      const load = new Load()
      const first = await ServerProcess.start(t, settings)
      await load.open(first.url)
      for (let round = 0; round < rounds; round++) {
        const two = [0, 1].map(() => ServerProcess.spawn(t, settings))
        await until('one of them is left', () => two.filter(({ ending }) => !ending).length === 1)
        const [left] = two.filter(({ ending }) => ending === undefined)
        await until('it serves', () => left.serves)
        load.start(left.url)
        await load.acknowledged(50)
        await load.stop()
        await checkBook(t, { url: left.url, connectionString: DATABASE_URL, load })
        const ended = two
          .filter(({ ending }) => ending !== undefined)
          .map(({ ending }) => ending?.code)
        t.ok(ended[0] === exitTakenOver || ended[0] === 1, `the other has ended: ${ended[0]}`)
        await left.end('SIGTERM')
      }
    },
  )
}

t.test('what a frozen server was reading from the journal is not answered either', async (t) => {
  const DATABASE_URL = await postgres.createDatabase()
  const settings = { DATABASE_URL, DAYBOOK_LEASE_MS: String(leaseMs) }
  const load = new Load()
  const first = await ServerProcess.start(t, settings)
  await load.open(first.url)
  const [cash] = load.accounts
  const [customer] = load.customers
  const held = hold({ debit: customer.id, credit: cash.id, amount: 100n })
  const client = new HttpClient(first.url, 2)
  t.equal(statusOf(await client.post(held.path, held.body)), 201)

  const locker = new pg.Client({ connectionString: DATABASE_URL })
  await locker.connect()
  t.teardown(() => locker.end())
  await locker.query('begin; lock table daybook.journal in access exclusive mode')
  const late = client.get(`/v1/transactions/${held.body.id}`)
  await until('the read waits for the lock', async () => {
    // pg_stat_activity stands still within a transaction; the locks are shown as they are.
    const { rowCount } = await locker.query(
      `select 1 from pg_locks where not granted and relation = 'daybook.journal'::regclass`,
    )
    return rowCount === 1
  })
  first.signal('SIGSTOP')
  const frozenAt = performance.now()
  await locker.query('rollback')
  const second = await ServerProcess.start(t, settings)
  const other = new HttpClient(second.url, 1)
  t.equal(statusOf(await other.post(`${held.path}/${held.body.id}/void`, {})), 201)
  other.close()
  await until('the lease has run out', () => performance.now() > frozenAt + 1.2 * leaseMs)
  first.signal('SIGCONT')
  t.not(statusOf(await late), 200, 'that the hold is pending is older than the lease')
  t.same(await first.ended(), { code: exitTakenOver, signal: null })
  client.close()
})

for (const shards of shardCounts) {
  t.test(
    `a server of ${shards} whose connections are half-open is taken over, and says nothing`,
    (t) => takesOverHalfOpen(t, shards),
  )
}

async function takesOverHalfOpen(t: Test, shards: number): Promise<void> {
  const database = await postgres.createDatabase()
  const proxy = await PostgresProxy.start(t, database)
  const settings = {
    ...withShards(shards),
    DAYBOOK_LEASE_MS: String(leaseMs),
    DAYBOOK_COMMIT_TIMEOUT_MS: '1000',
  }
  const first = await ServerProcess.start(t, {
    ...settings,
    DATABASE_URL: proxy.connectionString,
    DAYBOOK_ADMISSION_TIMEOUT_MS: '500',
    DAYBOOK_REQUEST_TIMEOUT_MS: '1000',
  })
  const load = new Load({ goOnWhenLost: true })
  await load.open(first.url)
  load.start(first.url)
  await load.acknowledged(100)
  load.log.reads.mayBeOld = true
  proxy.silence()
  const silentAt = performance.now()
  const second = await ServerProcess.start(t, { ...settings, DATABASE_URL: database })
  const client = new HttpClient(second.url, 1)
  const [cash] = load.accounts
  const [customer] = load.customers
  const change = load.log.add(single([{ debit: cash.id, credit: customer.id, amount: 1n }]))
  load.log.record(change, await client.post(change.path, change.body))
  t.ok(isAcknowledged(change.entries[0]), 'the newcomer serves')
  client.close()

  await until('the lease has run out', () => performance.now() > silentAt + leaseMs)
  const { acknowledged, refused } = load.log.counts
  const old = new HttpClient(first.url, 4)
  const paths = [`/v1/accounts/${customer.id}`, `/v1/transactions/${change.body.id}`]
  const reads = await Promise.all(paths.map((path) => old.get(path)))
  t.same(reads.map(statusOf), [503, 503], 'what may not be true any more is not told')
  old.close()
  t.equal(first.ending, undefined, 'it cannot know yet')
  proxy.heal()
  t.same(await first.ended(), { code: exitTakenOver, signal: null })
  await load.stop()
  const { counts } = load.log
  t.same([counts.acknowledged, counts.refused], [acknowledged, refused], 'nor was anything decided')
  await checkBook(t, { url: second.url, connectionString: database, load })
}

t.test('a second start on the same port fails before it takes anything', async (t) => {
  const DATABASE_URL = await postgres.createDatabase()
  const load = new Load()
  const first = await ServerProcess.start(t, { DATABASE_URL })
  await load.open(first.url)
  load.start(first.url)
  await load.acknowledged(20)
  const before = await ownerOf(DATABASE_URL)
  const second = ServerProcess.spawn(t, { DATABASE_URL, DAYBOOK_PORT: String(first.port) })
  t.same(await second.ended(), { code: 1, signal: null })
  t.match(second.log, /EADDRINUSE/)
  await load.acknowledged(20)
  await load.stop()
  t.same(await ownerOf(DATABASE_URL), before, 'the stream is still the first one’s')
  t.equal(first.ending, undefined)
  await checkBook(t, { url: first.url, connectionString: DATABASE_URL, load })
})

async function ownerOf(connectionString: string): Promise<unknown[]> {
  const client = new pg.Client({ connectionString })
  await client.connect()
  const { rows } = await client
    .query('select id, owner, epoch, backend_pid from daybook.stream')
    .finally(() => client.end())
  return rows
}
