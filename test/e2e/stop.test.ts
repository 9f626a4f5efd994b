import { join } from 'node:path'
import t, { type Test } from 'tap'
import { findPostmaster } from '../../src/journal/postmaster.js'
import { killPostgres, temporaryFolder, temporaryPostgres } from '../postgres.js'
import { HttpClient, toAmount } from './client-log.js'
import { checkBook, problemsOf } from './journal-check.js'
import { Load } from './load.js'
import { hold } from './requests.js'
import { roundsOr, shardCounts, withShards } from './rounds.js'
import { ServerProcess, until } from './server.js'

const rounds = roundsOr(1)

t.setTimeout(120_000 + rounds * 30_000 * shardCounts.length)

const postgres = await temporaryPostgres(t)

const stops = shardCounts.flatMap((shards) =>
  (['SIGTERM', 'SIGINT'] as const).map((signal) => ({ shards, signal })),
)

for (const { shards, signal } of stops) {
  t.test(
    `${signal} under load of ${shards}: what was accepted is answered, and there again`,
    async (t) => {
      const DATABASE_URL = await postgres.createDatabase()
      const settings = { DATABASE_URL, ...withShards(shards) }
      const load = new Load()
      let server = await ServerProcess.start(t, settings)
      await load.open(server.url)
      for (let round = 0; round < rounds; round++) {
        load.start(server.url)
        await load.acknowledged(50 + Math.random() * 200)
        t.same(await server.end(signal), { code: 0, signal: null })
        await load.lost()
        // Before anything is sent again: a record that nobody was told about is a problem.
        t.same(await problemsOf({ connectionString: DATABASE_URL, load }), [])
        server = await ServerProcess.start(t, settings)
        await checkBook(t, { url: server.url, connectionString: DATABASE_URL, load })
      }
    },
  )
}

t.test('a stop also stops the Postgres that comes with it, and the data stays', async (t) => {
  const { folder, postmaster } = await embeddedFolder(t)
  const load = new Load()
  const first = await ServerProcess.start(t, { DAYBOOK_DATA_DIR: folder })
  await load.open(first.url)
  load.start(first.url)
  await load.acknowledged(200)
  t.equal((await postmaster())?.kind, 'server')
  t.same(await first.end('SIGTERM'), { code: 0, signal: null })
  await load.lost()
  t.equal(await postmaster(), undefined, 'Postgres is gone')

  const second = await ServerProcess.start(t, { DAYBOOK_DATA_DIR: folder })
  await load.log.settle(second.url)
  const client = new HttpClient(second.url, 4)
  t.teardown(() => client.close())
  for (const request of load.log.requests) {
    const answer = await client.post(request.path, request.body)
    load.log.record(request, answer)
  }
  t.same(load.log.violations, [])
  const doubled = [...load.log.entries.values()].filter(
    ({ answers }) => answers.filter((a) => a.outcome === 'acknowledged' && !a.replayed).length > 1,
  )
  t.same(doubled, [], 'every repeat was a replay')
  t.same(await second.end('SIGTERM'), { code: 0, signal: null })
})

for (const shards of shardCounts) {
  t.test(`a hold expires after a kill -9 of ${shards}, and gives back what it reserved`, (t) =>
    expiresAfterKill(t, shards),
  )
}

async function expiresAfterKill(t: Test, shards: number): Promise<void> {
  const DATABASE_URL = await postgres.createDatabase()
  const settings = { DATABASE_URL, ...withShards(shards) }
  const load = new Load()
  const { log } = load
  const first = await ServerProcess.start(t, settings)
  await load.open(first.url)
  const [cash] = load.accounts
  const [customer] = load.customers
  const movement = { debit: customer.id, credit: cash.id, amount: 1_000n }
  // One expires while no server runs, one under the next, and one not at all.
  const now = Date.now()
  const expiries = [now + 400, now + 3000, now + 3_600_000]
  const holds = expiries.map((at) => hold(movement, { expiresAt: new Date(at).toISOString() }))
  const client = new HttpClient(first.url, 1)
  for (const request of holds)
    log.record(log.add(request), await client.post(request.path, request.body))
  client.close()
  t.equal(log.counts.acknowledged, load.customers.length + holds.length)
  await first.end('SIGKILL')
  await until('the first hold has run out', () => Date.now() > expiries[0])

  const second = await ServerProcess.start(t, settings)
  const reader = new HttpClient(second.url, 1)
  t.teardown(() => reader.close())
  const state = async () => {
    const shown = await Promise.all(
      holds.map(({ body }) => reader.get(`/v1/transactions/${body.id}`)),
    )
    return shown.map((answer) => (answer.kind === 'lost' ? '' : answer.body.data?.status)).join(' ')
  }
  const pending = async () => {
    const answer = await reader.get(`/v1/accounts/${customer.id}`)
    return answer.kind === 'lost' ? '' : answer.body.data?.balances?.debitsPending
  }
  await until('one hold has expired', async () => (await state()).startsWith('expired '))
  await until('so has the second', async () => (await state()) === 'expired expired pending')
  t.ok(Date.now() >= expiries[1], 'and not too early')
  t.equal(await pending(), toAmount(1_000n))
  await checkBook(t, { url: second.url, connectionString: DATABASE_URL, load })
}

/** A data folder whose Postgres is killed at the end of the test if it still runs. */
async function embeddedFolder(t: Test) {
  const folder = await temporaryFolder(t)
  const data = join(folder, 'postgres', 'cluster', 'data')
  const postmaster = () => findPostmaster(data)
  t.teardown(async () => {
    const found = await postmaster()
    if (found?.kind === 'server') await killPostgres(found.pid, data)
  })
  return { folder, postmaster }
}
