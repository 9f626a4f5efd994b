import { connect } from 'node:net'
import t from 'tap'
import { batch, movementWith } from './bad-rows.js'
import { eventually, rawExchange, startApi } from './server.js'
import { watch } from './watch.js'

t.setTimeout(120_000)

/** Raw bytes on a connection, and the statuses that come back. */
const exchanges: {
  name: string
  send: (string | Buffer)[]
  half?: boolean
  statuses: number[]
  code?: string
}[] = [
  {
    name: 'raw garbage',
    send: ['\x16\x03\x01\x02\x00garbage\r\n\r\n'],
    statuses: [400],
    code: 'invalid_request',
  },
  {
    name: 'another protocol',
    send: ['SSH-2.0-OpenSSH_9.0\r\n'],
    statuses: [400],
    code: 'invalid_request',
  },
  {
    name: 'no Host',
    send: ['GET /health HTTP/1.1\r\nConnection: close\r\n\r\n'],
    statuses: [403],
    code: 'host_not_allowed',
  },
  {
    name: 'a Host that is not loopback',
    send: [get('/health', 'Host: evil.example')],
    statuses: [403],
    code: 'host_not_allowed',
  },
  {
    name: 'a Host that begins like loopback',
    send: [get('/health', 'Host: 127.0.0.1.evil.example')],
    statuses: [403],
    code: 'host_not_allowed',
  },
  {
    name: 'a Host that is empty',
    send: [get('/health', 'Host:')],
    statuses: [403],
    code: 'host_not_allowed',
  },
  {
    name: 'headers of 20 KB',
    send: [get('/health', `Host: localhost\r\nX-Long: ${'x'.repeat(20_000)}`)],
    statuses: [431],
    code: 'headers_too_large',
  },
  {
    name: 'a header with a line feed',
    send: ['GET /health HTTP/1.1\r\nHost: localhost\r\nbad header\r\n\r\n'],
    statuses: [400],
    code: 'invalid_request',
  },
  {
    name: 'Content-Length and Transfer-Encoding',
    send: [post('Content-Length: 5\r\nTransfer-Encoding: chunked', '0\r\n\r\n')],
    statuses: [400],
    code: 'invalid_request',
  },
  {
    name: 'two different Content-Lengths',
    send: [post('Content-Length: 5\r\nContent-Length: 6', '{}')],
    statuses: [400],
    code: 'invalid_request',
  },
  {
    name: 'a negative Content-Length',
    send: [post('Content-Length: -5', '{}')],
    statuses: [400],
    code: 'invalid_request',
  },
  {
    name: 'a chunk size that is none',
    send: [post('Transfer-Encoding: chunked', 'zz\r\n{}\r\n0\r\n\r\n')],
    statuses: [400],
    code: 'invalid_request',
  },
  {
    name: 'a body without a content type',
    send: [
      'POST /v1/transactions HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}',
    ],
    statuses: [415],
    code: 'unsupported_media_type',
  },
  {
    name: 'HTTP/2 without asking',
    send: ['PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'],
    statuses: [400],
    code: 'invalid_request',
  },
  {
    name: 'a slow body',
    send: [post('Content-Length: 100', '{"debit":"cash",')],
    statuses: [408],
    code: 'request_timeout',
  },
  {
    name: 'slow headers',
    send: ['GET /health HTTP/1.1\r\nHost: loc'],
    statuses: [408],
    code: 'request_timeout',
  },
  {
    name: 'half a request, then the end',
    send: [post('Content-Length: 100', '{"debit":"cash",')],
    half: true,
    statuses: [400],
  },
  {
    name: 'pipelining: each gets its answer, in order',
    send: [
      'GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n' +
        'GET /v1/nothing HTTP/1.1\r\nHost: localhost\r\n\r\n' +
        get('/ready', 'Host: localhost'),
    ],
    statuses: [200, 404, 200],
  },
  {
    name: 'pipelining: garbage behind a request gets no answer, which could be taken for its own',
    send: ['GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n\x00\x01\x02\r\n\r\n'],
    statuses: [],
  },
]

function get(path: string, lines: string): string {
  return `GET ${path} HTTP/1.1\r\n${lines}\r\nConnection: close\r\n\r\n`
}

function post(lines: string, body: string): string {
  return (
    `POST /v1/transactions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n` +
    `Connection: close\r\n${lines}\r\n\r\n${body}`
  )
}

t.test('what is not even a request gets an answer, or its connection is closed', async (t) => {
  const api = await startApi(t, { environment: { DAYBOOK_BODY_TIMEOUT_MS: '300' } })
  const goesOn = await watch(api)
  for (const { name, send, half, statuses, code } of exchanges) {
    const received = await rawExchange(api.port, send, { half })
    const found = [...received.matchAll(/HTTP\/1\.1 (\d{3}) /g)].map((match) => Number(match[1]))
    t.same(found, statuses, `${name}: ${statuses}`, { received })
    if (code !== undefined) {
      const { error } = JSON.parse(received.slice(received.indexOf('\r\n\r\n') + 4))
      t.equal(error.code, code, `${name}: ${code}`)
      t.ok(error.message && error.timestamp && error.correlationId, `${name}: the shape of errors`)
    }
    t.equal(await goesOn(), 'goes on', `${name}: the server goes on`)
  }
  t.notMatch(api.logs.join(''), /"level":(50|60)/, 'nothing of it is a fault of the server')
})

t.test('clients that go away leave nothing behind', async (t) => {
  const api = await startApi(t)
  const goesOn = await watch(api)
  // More announced bytes than all bodies together may have: they must be given back.
  for (let round = 0; round < 12; round++) {
    const socket = connect(api.port, '127.0.0.1')
    socket.on('error', () => undefined)
    socket.write(
      `POST ${batch} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n` +
        `Content-Length: ${48 * 1024 * 1024}\r\n\r\n{"transactions":[`,
    )
    await new Promise((resolve) => socket.once('ready', resolve))
    if (round % 2 === 0) socket.destroy()
    else socket.resetAndDestroy()
    await new Promise((resolve) => socket.once('close', resolve))
  }
  const body = { transactions: [movementWith({ id: 'late', reference: 'x' })], atomic: true }
  const padding = ' '.repeat(40 * 1024 * 1024)
  const big = await eventually(async () => {
    const answer = await api.post(batch, JSON.stringify(body) + padding)
    return answer.status === 429 ? undefined : answer
  })
  t.equal(big.status, 200, 'their bytes have been given back')

  // The client is gone when the answer comes; what it asked for happens all the same, once.
  const gone = JSON.stringify(movementWith({ id: 'gone' }))
  const socket = connect(api.port, '127.0.0.1')
  socket.write(post(`Content-Length: ${gone.length}`, gone), () => socket.destroy())
  await eventually(async () => (await api.get('/v1/transactions/gone')).status === 200)
  const again = await api.post('/v1/transactions', movementWith({ id: 'gone' }))
  t.equal(again.status, 200)
  t.equal(again.headers.get('idempotent-replayed'), 'true')
  t.match(await goesOn(), /2\.0\d of 0\.0\d/, 'two postings more')
})

t.test('bodies under way are bounded: beyond it 429 before they are read', async (t) => {
  const api = await startApi(t)
  const sockets = Array.from({ length: 6 }, () => connect(api.port, '127.0.0.1'))
  t.teardown(() => {
    for (const socket of sockets) socket.destroy()
  })
  const answers = sockets.map(
    (socket) =>
      new Promise<string>((resolve) => {
        socket.setEncoding('latin1').once('data', (data) => resolve(String(data)))
        socket.write(
          `POST ${batch} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n` +
            `Content-Length: ${48 * 1024 * 1024}\r\n\r\n{`,
        )
      }),
  )
  const first = await Promise.race(answers)
  t.match(first, /^HTTP\/1\.1 429 /)
  t.match(first, /retry-after: 1/i)
  t.match(first, /"code":"overloaded"/)
})
