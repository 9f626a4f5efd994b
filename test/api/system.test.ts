import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { buildServer } from '../../src/api/server.js'
import { systemClock } from '../../src/clock.js'
import { CurrencyList } from '../../src/currency.js'
import { serverMetrics } from '../../src/metrics.js'
import { notStarted } from '../../src/start-progress.js'
import { type ApiServer, eventually, openAccounts, refused, startApi } from './server.js'
import '../plain-children.js'

t.setTimeout(90_000)

const path = '/v1/transactions'
const movement = { debit: 'cash', credit: 'ada', amount: '1.00' }
const digestKey = 'a-digest-key-that-nobody-may-see'
const passwordOf = (api: ApiServer) => new URL(api.databaseUrl).password

t.test('it listens at once, and says that it is not ready until it serves', async (t) => {
  const api = await startApi(t, { start: false })
  const health = await api.get('/health')
  t.equal(health.status, 200)
  t.same(health.json, { status: 'ok' })
  const before = await api.get('/ready')
  t.equal(before.status, 503)
  t.same(before.json, { ready: false, phase: 'created', ...notStarted })
  for (const early of [await api.post(path, movement), await api.get('/v1/accounts/ada')]) {
    t.equal(early.status, 503)
    t.equal(early.json.error.code, 'not_ready')
    t.equal(early.headers.get('retry-after'), '1')
  }
  t.match((await metrics(api)).get('daybook_http_request_seconds_count'), /./, 'metrics are there')
  await api.start()
  const after = await api.get('/ready')
  t.equal(after.status, 200)
  t.match(after.json, { ready: true, phase: 'serving' })
  const phases = api.logs.map((line) => JSON.parse(line).phase).filter(Boolean)
  t.same(phases, [
    'connecting',
    'migrating',
    'choosing_snapshot',
    'warming_up',
    'taking_over',
    'reading_rest',
    'settling',
    'serving',
  ])
})

t.test('a correlation id is taken or made, returned, and on every log line', async (t) => {
  const api = await startApi(t, { environment: { DAYBOOK_LOG_REQUESTS: 'true' } })
  for (const given of ['0198c5a4-7a10-7c3e-9d5b-6f1f0a2b3c4d', 'job:7.a']) {
    const headers = { 'x-correlation-id': given }
    const fine = await api.call('GET', '/health', { headers })
    t.equal(fine.headers.get('x-correlation-id'), given)
    const bad = await api.call('GET', '/v1/accounts/nobody', { headers })
    t.equal(bad.headers.get('x-correlation-id'), given)
    t.equal(bad.json.error.correlationId, given)
    const lines = api.logs.filter((line) => JSON.parse(line).correlationId === given)
    t.ok(lines.length >= 2, 'a line for each request at least')
  }
  const made = await api.get('/health')
  t.match(made.headers.get('x-correlation-id'), /^[0-9a-f]{8}-[0-9a-f]{4}-7/)
  const requests = api.logs.map((line) => JSON.parse(line)).filter(({ route }) => route)
  t.equal(requests.length, 5)
  t.ok(
    requests.every(({ correlationId }) => correlationId),
    'no line of a request without one',
  )
})

t.test('failures of the server and a sample of requests are logged', async (t) => {
  const api = await startApi(t, { environment: { DAYBOOK_LOG_SAMPLE: '1' } })
  await api.get('/v1/accounts/nobody')
  const lines = api.logs.map((line) => JSON.parse(line))
  t.match(
    lines.find(({ msg }) => msg === 'request'),
    {
      method: 'GET',
      route: '/v1/accounts/:id',
      status: 404,
      correlationId: /./,
    },
  )
})

t.test('every metric is there, and moves', async (t) => {
  const api = await startApi(t)
  await openAccounts(api)
  const before = await metrics(api)
  for (const name of [
    'daybook_mailbox_commands',
    'daybook_open_records',
    'daybook_waiting_answers_bytes',
    'daybook_in_flight_commands',
    'daybook_striped_accounts',
    'daybook_coordinations',
    'daybook_reserved_accounts',
    'daybook_waiting_commands',
    'daybook_settlements',
    'daybook_stalls_total',
    'nodejs_eventloop_lag_seconds',
    'nodejs_eventloop_lag_p99_seconds',
  ]) {
    t.ok(before.has(name), name)
  }
  await api.post(path, movement)
  await api.post(path, { ...movement, credit: 'nobody' })
  await api.post(`${path}/batch`, {
    transactions: [movement, movement, { ...movement, credit: 'x' }],
  })
  await api.post(path, { ...movement, id: 'hold', pending: true, expiresAt: soon() })
  await api.post(path, { ...movement, id: 'hold:2', pending: true })
  await eventually(async () => (await metrics(api)).get('daybook_holds_expired_total') === '1')
  // It is counted when it is decided; its record, when that is durable.
  const recordsBefore = Number(before.get('daybook_records_total') ?? 0)
  await eventually(async () => {
    return Number((await metrics(api)).get('daybook_records_total')) - recordsBefore >= 6
  })
  const after = await metrics(api)
  const moved = (name: string) => Number(after.get(name) ?? 0) - Number(before.get(name) ?? 0)
  t.equal(moved('daybook_records_total'), 6, 'records')
  t.equal(moved('daybook_batch_records_sum'), 6, 'batch size')
  t.equal(moved('daybook_batch_records_count'), moved('daybook_commit_seconds_count'), 'commits')
  t.ok(moved('daybook_commit_seconds_sum') > 0, 'commit latency')
  t.ok(moved('daybook_journal_bytes_total') > 6 * 120, 'bytes of the journal')
  t.equal(moved('daybook_transactions'), 5)
  t.equal(moved('daybook_holds'), 1)
  t.equal(after.get('daybook_accounts'), '3')
  t.equal(after.get('daybook_durable_seq'), '9')
  t.equal(moved('daybook_refusals_total{code="account_not_found"}'), 2, 'refusals by code')
  const requests = (status: number) =>
    moved(`daybook_http_request_seconds_count{route="${path}",method="POST",status="${status}"}`)
  t.equal(requests(201), 3, 'requests by route and status')
  t.equal(requests(404), 1)
  await api.get('/v1/accounts/ada')
  await api.get('/no/such/route')
  const text = (await api.get('/metrics')).bytes.toString()
  t.match(text, /route="\/v1\/accounts\/:id"/, 'the pattern of a route')
  t.notMatch(text, /no\/such|accounts\/ada/, 'never what a client wrote')
})

t.test(
  'without Postgres: 504, 503 and 429, each transient; with it again all goes on',
  async (t) => {
    const api = await startApi(t, {
      ownPostgres: true,
      environment: {
        DAYBOOK_REQUEST_TIMEOUT_MS: '1500',
        DAYBOOK_COMMIT_TIMEOUT_MS: '500',
        DAYBOOK_ADMISSION_TIMEOUT_MS: '500',
        DAYBOOK_IN_FLIGHT_MAX: '8192',
        DAYBOOK_DIGEST_KEY: digestKey,
      },
    })
    await openAccounts(api)
    await api.post(path, { ...movement, id: 'before' })
    await api.postgres.kill()

    const body = { ...movement, id: 'unknown' }
    const unknown = await api.post(path, body)
    t.equal(unknown.status, 504)
    t.equal(unknown.json.error.code, 'outcome_unknown')
    t.equal(unknown.json.error.details.id, 'unknown')
    const read = await api.get('/v1/accounts/ada')
    refused(t, read, 503, 'journal_unavailable', true)
    t.equal(read.headers.get('retry-after'), '1')
    t.equal((await api.get(`${path}/before`)).status, 503, 'nothing rests on what may be lost')
    const transactions = Array.from({ length: 8190 }, () => movement)
    const long = api.post(`${path}/batch`, { transactions })
    const overloaded = await eventually(async () => {
      const inFlight = (await metrics(api)).get('daybook_in_flight_commands')
      return Number(inFlight) >= 8190 && (await api.post(`${path}/batch`, { transactions }))
    })
    t.equal(overloaded.status, 429)
    t.equal(overloaded.json.error.code, 'overloaded')
    t.equal(overloaded.headers.get('retry-after'), '1')
    t.equal((await api.get('/health')).status, 200)
    t.ok([503, 504].includes((await long).status))

    await api.postgres.start()
    const settled = await eventually(async () => {
      const answer = await api.post(path, body)
      return answer.status < 300 && answer
    })
    t.ok([200, 201].includes(settled.status), 'the same id tells what became of it')
    t.ok(Number((await metrics(api)).get('daybook_settlements')) > 0, 'a settlement was counted')
    const seen = api.logs.join('') + JSON.stringify([unknown.json, read.json, overloaded.json])
    t.notOk(seen.includes(passwordOf(api)), 'the password of the database is nowhere')
    t.notOk(seen.includes(digestKey), 'nor is the digest key')
  },
)

t.test('no secret is in logs, answers or metrics', async (t) => {
  const api = await startApi(t, { environment: { DAYBOOK_DIGEST_KEY: digestKey } })
  await openAccounts(api)
  const answers = await Promise.all(
    ['/health', '/ready', '/metrics', '/openapi.json', '/v1/accounts/ada', '/v1/nothing'].map((p) =>
      api.get(p),
    ),
  )
  const seen = api.logs.join('') + answers.map(({ bytes }) => bytes.toString()).join('')
  t.ok(passwordOf(api).length > 8 || process.env.DAYBOOK_TEST_POSTGRES !== undefined)
  if (passwordOf(api) !== '') t.notOk(seen.includes(passwordOf(api)))
  t.notOk(seen.includes(digestKey))
  t.notOk(seen.includes(api.databaseUrl))
})

for (const [name, environment] of [
  ['a Postgres that is not there', { DATABASE_URL: 'postgres://u:hunter2hunter2@127.0.0.1:1/x' }],
  ['an address that is none', { DATABASE_URL: 'hunter2hunter2 is not an address' }],
  ['a digest key that is too short', { DAYBOOK_DIGEST_KEY: 'hunter2hunter2' }],
  ['a bad setting beside a secret', { DAYBOOK_PORT: 'x', DAYBOOK_DIGEST_KEY: 'hunter2hunter2!!!' }],
] as const) {
  t.test(`a start that fails tells no secret: ${name}`, async (t) => {
    const child = spawn(
      process.execPath,
      [fileURLToPath(new URL('../../src/main.js', import.meta.url))],
      {
        env: { PATH: process.env.PATH, DAYBOOK_PORT: '0', ...environment },
        stdio: ['ignore', 'pipe', 'pipe'],
      },
    )
    t.teardown(() => child.kill('SIGKILL'))
    let output = ''
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding('utf8').on('data', (text: string) => {
        output += text
      })
    }
    const [code] = await once(child, 'close')
    t.equal(code, 1)
    t.match(output, /Daybook did not start/)
    t.notMatch(output, /hunter2/)
  })
}

t.test('a fault of the server is logged whole and answered without internals', async (t) => {
  const lines: string[] = []
  const { pino } = await import('pino')
  const app = await buildServer(
    {
      clock: systemClock,
      currencies: new CurrencyList([]),
      servicer: { name: 'Daybook' },
      serving: () => {
        throw new Error('internals of the server')
      },
    },
    {
      status: () => ({ phase: 'serving', ...notStarted }),
      shardMetrics: async () => [],
      digestOf: async () => undefined,
      metrics: serverMetrics({ router: () => undefined }),
    },
    {
      logger: pino({}, { write: (line: string) => void lines.push(line) }),
      logRequests: false,
      logSlowMs: 1000,
      logSample: 0,
      bodyTimeoutMs: 1000,
    },
  )
  t.teardown(() => app.close())
  const headers = { host: 'localhost', 'x-correlation-id': 'find-me' }
  const answer = await app.inject({ method: 'GET', url: '/v1/accounts/ada', headers })
  t.equal(answer.statusCode, 500)
  t.equal(answer.json().error.code, 'internal_error')
  t.notMatch(answer.body, /internals|at .*\.js/)
  t.match(lines.join(''), /internals of the server/)
  t.match(JSON.parse(lines[0]), { correlationId: 'find-me', err: { stack: /system\.test\.[jt]s/ } })
})

t.test('the document and a page to try it are served', async (t) => {
  const api = await startApi(t)
  const document = await api.get('/openapi.json')
  t.equal(document.status, 200)
  t.equal(document.json.openapi, '3.1.0')
  const page = await fetch(`${api.url}/docs`)
  t.equal(page.status, 200)
  const html = await page.text()
  t.match(html, /swagger-ui/)
  const scripts = [...html.matchAll(/(?:src|href)="([^"]+)"/g)].map(([, link]) => link)
  t.ok(scripts.length > 2)
  for (const link of scripts) {
    const file = await fetch(new URL(link, `${api.url}/docs/`))
    // Read to its end, or the connection stays busy and the server waits for it.
    await file.arrayBuffer()
    t.equal(file.status, 200, `${link} is served here`)
  }
  t.same(await (await fetch(`${api.url}/docs/json`)).json(), document.json)
})

/** The samples of /metrics: the sum over streams of each name, and each name with its labels. */
async function metrics(api: ApiServer): Promise<Map<string, string>> {
  const text = (await api.get('/metrics')).bytes.toString()
  const samples = new Map<string, string>()
  for (const line of text.split('\n')) {
    const match = /^(\w+)(?:\{(.*)\})? (\S+)$/.exec(line)
    if (match === null) continue
    const [, name, labels = '', value] = match
    const kept = labels.split(',').filter((label) => label !== '' && !label.startsWith('shard='))
    samples.set(kept.length === 0 ? name : `${name}{${kept.join(',')}}`, value)
    if (kept.length > 0 && !samples.has(name)) samples.set(name, value)
  }
  return samples
}

function soon(): string {
  return new Date(Date.now() + 300).toISOString()
}
