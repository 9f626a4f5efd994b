import t from 'tap'
import { temporaryPostgres } from '../postgres.js'
import { HttpClient, statusOf } from './client-log.js'
import { checkBook } from './journal-check.js'
import { Load } from './load.js'
import { ServerProcess, until } from './server.js'

const leaseMs = 1000
const inFlightMax = 8192
/** Far above what the waiting commands take, far below what an unbounded queue would. */
const growthBytesMax = 400 * 1024 * 1024

t.setTimeout(120_000)

t.test('while Postgres is away requests are refused honestly, in bounded memory', async (t) => {
  const { postgres, server, DATABASE_URL } = await fixture(t)
  const load = new Load({
    connections: 48,
    batchItemsMax: 600,
    batchShare: 0.9,
    goOnWhenLost: true,
  })
  await load.open(server.url)
  load.start(server.url)
  await load.acknowledged(2000)
  const before = await server.residentBytes()
  await postgres.kill()
  const { counts } = load.log
  const at = { ...counts }
  let bytesMax = 0
  let inFlightSeen = 0
  await until('many were refused', async () => {
    bytesMax = Math.max(bytesMax, await server.residentBytes())
    inFlightSeen = Math.max(inFlightSeen, await server.metric('daybook_in_flight_commands'))
    return counts.http503 > at.http503 + 100 && counts.http504 > at.http504
  })
  t.comment(
    `${counts.http503} of 503, ${counts.http504} of 504, ${counts.unavailable} not accepted`,
  )
  t.ok(bytesMax - before < growthBytesMax, `memory grew by ${(bytesMax - before) >> 20} MB`)
  t.ok(inFlightSeen > 0 && inFlightSeen <= inFlightMax, `${inFlightSeen} commands in flight`)
  t.equal((await fetch(`${server.url}/health`)).status, 200)

  await postgres.start()
  await load.acknowledged(1000)
  await load.stop()
  t.equal(server.ending, undefined)
  await checkBook(t, { url: server.url, connectionString: DATABASE_URL, load })
})

t.test('reads are refused once Postgres is away for longer than the lease', async (t) => {
  const { postgres, server, DATABASE_URL } = await fixture(t)
  const load = new Load({ goOnWhenLost: true })
  await load.open(server.url)
  load.start(server.url)
  await load.acknowledged(50)
  const client = new HttpClient(server.url, 4)
  t.teardown(() => client.close())
  // Nothing touches this account: a read of it waits for no record, only for the lease.
  const quiet = { id: 'quiet', currency: 'EUR', class: 'liability' }
  t.equal(statusOf(await client.post('/v1/accounts', quiet)), 201)
  const statuses = async () => {
    const paths = [
      '/v1/accounts/quiet',
      `/v1/accounts/${load.accounts[2].id}`,
      `/v1/transactions/${load.log.requests[0].body.id}`,
    ]
    const answers = await Promise.all(paths.map((path) => client.get(path)))
    return answers.map(statusOf).join(' ')
  }
  t.equal(await statuses(), '200 200 200')

  await postgres.kill()
  const awayAt = performance.now()
  await until('the lease has run out', () => performance.now() > awayAt + leaseMs)
  for (let read = 0; read < 3; read++) t.equal(await statuses(), '503 503 503')

  await postgres.start()
  await until('reads are answered again', async () => (await statuses()) === '200 200 200')
  await load.acknowledged(50)
  await load.stop()
  await checkBook(t, { url: server.url, connectionString: DATABASE_URL, load })
})

async function fixture(t: Parameters<typeof temporaryPostgres>[0]) {
  const postgres = await temporaryPostgres(t, { own: true })
  const DATABASE_URL = await postgres.createDatabase()
  const server = await ServerProcess.start(t, {
    DATABASE_URL,
    DAYBOOK_LEASE_MS: String(leaseMs),
    DAYBOOK_COMMIT_TIMEOUT_MS: '500',
    DAYBOOK_ADMISSION_TIMEOUT_MS: '400',
    DAYBOOK_REQUEST_TIMEOUT_MS: '800',
    DAYBOOK_IN_FLIGHT_MAX: String(inFlightMax),
  })
  return { postgres, server, DATABASE_URL }
}
