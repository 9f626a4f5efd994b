import t from 'tap'
import { withClient } from '../actors/book-database.js'
import { isTest, TestReceiver } from '../history/webhooks/test-receiver.js'
import { eventually, type Json, openAccounts, refused, startApi } from './server.js'

const masterKey = 'a key of more than 32 characters for webhooks'
const environment = {
  DAYBOOK_HISTORY: 'on',
  DAYBOOK_WEBHOOK_KEY: masterKey,
  DAYBOOK_WEBHOOK_PRIVATE: 'allow',
}
/** Nobody listens there. */
const url = 'http://127.0.0.1:9/hook'
const api = await startApi(t, { environment })
await openAccounts(api)

t.test('a webhook is told of what is posted, and its secret is shown once', async (t) => {
  const hook = await TestReceiver.start(t)
  const filter = { types: ['transaction.posted'], accounts: ['ada'] }
  const made = await api.post('/v1/webhooks', { url: hook.url, ...filter, batchMax: 7 })
  t.equal(made.status, 201)
  const { secret, ...shown } = made.json.data
  t.match(secret, /^whsec_[A-Za-z0-9+/]{43}=$/)
  t.match(shown, { url: hook.url, types: filter.types, batchMax: 7, state: 'active' })
  await api.post('/v1/transactions', { debit: 'cash', credit: 'ben', amount: '1.00' })
  const { json } = await api.post('/v1/transactions', {
    ...{ debit: 'cash', credit: 'ada', amount: '2.00', reference: 'r' },
  })
  await eventually(() => hook.events.length > 0)
  t.match(hook.events, [
    {
      ...{ id: json.meta.position, type: 'transaction.posted', version: 1, tenant: 1 },
      ...{ position: json.meta.position, data: { reference: 'r' } },
      correlationId: /^[0-9a-f-]{36}$/,
    },
  ])
  t.equal(hook.events.length, 1, 'nothing else')

  const path = `/v1/webhooks/${shown.id}`
  t.same((await api.get(path)).json.data, shown)
  t.same((await api.get('/v1/webhooks')).json.data, [shown])
  const log = await eventually(async () => {
    const { data } = (await api.get(`${path}/deliveries`)).json
    return data.length > 0 && data
  })
  t.match(log, [{ outcome: 'delivered', status: 200, attempt: 1, events: 1 }])
  t.match((await api.post(`${path}/test`, undefined)).json.data, { outcome: 'delivered' })
  t.equal(hook.requests.filter(isTest).length, 1)
  const rotated = (await api.post(`${path}/rotate`, undefined)).json.data
  t.equal(rotated.secretGeneration, 2)
  t.not(rotated.secret, secret)

  const answers = await Promise.all(
    ['', '/deliveries', '/dead-letters'].map((rest) => api.get(`${path}${rest}`)),
  )
  const metrics = await (await fetch(`${api.url}/metrics`)).text()
  const said = [...api.logs, metrics, ...answers.map((each) => each.bytes.toString())].join('\n')
  for (const each of [secret, rotated.secret]) t.notOk(said.includes(each.slice(6)))
  t.notOk(said.includes(masterKey))

  t.same((await api.call('DELETE', path)).json.data, { id: shown.id })
  for (const [method, rest] of [
    ...([
      ['GET', ''],
      ['DELETE', ''],
      ['POST', '/rotate'],
      ['POST', '/test'],
    ] as const),
    ...([
      ['GET', '/deliveries'],
      ['GET', '/dead-letters'],
    ] as const),
  ]) {
    refused(t, withTransient(await api.call(method, `${path}${rest}`)), 404, 'webhook_not_found')
  }
})

t.test(
  'what a receiver did not take is listed, page by page, sent again or discarded',
  async (t) => {
    const hook = await TestReceiver.start(t)
    hook.answer = ({ events }) => (events[0].type === 'webhook.test' ? 200 : 422)
    const { id } = (await api.post('/v1/webhooks', { url: hook.url, batchMax: 1 })).json.data
    for (const account of ['eve', 'flo', 'gus']) {
      await api.post('/v1/accounts', { id: account, currency: 'EUR', class: 'asset' })
    }
    const path = `/v1/webhooks/${id}/dead-letters`
    const letters = await eventually(async () => {
      const { data } = (await api.get(path)).json
      return data.length === 3 && data
    })
    t.match(letters, [{ event: { type: 'account.created' }, status: 422, attempts: 1 }, {}, {}])
    const first = await api.get(`${path}?limit=2`)
    t.same(first.json.data, letters.slice(0, 2))
    const second = await api.get(`${path}?cursor=${first.json.meta.cursor}`)
    t.same(second.json.data, letters.slice(2))
    t.equal(second.json.meta.cursor, undefined)
    const log = await api.get(`/v1/webhooks/${id}/deliveries?limit=2`)
    t.equal(log.json.data.length, 2)
    const rest = await api.get(`/v1/webhooks/${id}/deliveries?cursor=${log.json.meta.cursor}`)
    t.ok(Number(rest.json.data[0].id) < Number(log.json.data[1].id))

    hook.answer = () => 200
    const chosen = await api.post(`${path}/resend`, { ids: [letters[1].id] })
    t.same(chosen.json.data, { count: 1 })
    await eventually(async () => (await api.get(path)).json.data.length === 2)
    t.same(hook.ids, [letters[1].event.id])
    t.same((await api.post(`${path}/discard`, {})).json.data, { count: 2 })
    t.same((await api.get(path)).json.data, [])
  },
)

t.test('what is asked for and cannot be is refused, with the field', async (t) => {
  const { id } = (await api.post('/v1/webhooks', { url })).json.data
  const wrong: [body: Json, field: string][] = [
    [{}, 'url'],
    [{ url: 'no url' }, 'url'],
    [{ url: 'ftp://example.com' }, 'url'],
    [{ url: 'https://me:you@example.com' }, 'url'],
    [{ url: 'http://8.8.8.8/' }, 'url'],
    [{ url: `https://example.com/${'x'.repeat(2048)}` }, 'url'],
    [{ url, types: [] }, 'types'],
    [{ url, types: ['transaction.lost'] }, 'types/0'],
    [{ url, types: ['hold.placed', 'hold.placed'] }, 'types'],
    [{ url, accounts: ['a b'] }, 'accounts/0'],
    [{ url, batchMax: 0 }, 'batchMax'],
    [{ url, batchMax: 501 }, 'batchMax'],
    [{ url, batchMax: 1.5 }, 'batchMax'],
    [{ url, description: '' }, 'description'],
    [{ url, after: 'yesterday' }, 'after'],
    [{ url, id: 'a b' }, 'id'],
    [{ url, secret: 'mine' }, 'secret'],
  ]
  for (const [body, field] of wrong) {
    const { status, json } = await api.post('/v1/webhooks', body)
    t.equal(status, 400, JSON.stringify(body))
    t.equal(json.error.details.field, field, JSON.stringify(body))
  }
  for (const [body, field] of [
    [{ url: 'http://8.8.8.8/' }, 'url'],
    [{ state: 'disabled' }, 'state'],
    [{ tenant: 2 }, 'tenant'],
    [{ accounts: ['a b'] }, 'accounts/0'],
    [{}, 'body'],
  ] as [Json, string][]) {
    const { status, json } = await api.patch(`/v1/webhooks/${id}`, body)
    t.equal(status, 400, JSON.stringify(body))
    t.equal(json.error.details.field, field, JSON.stringify(body))
  }
  for (const [path, field] of [
    ['deliveries?limit=0', 'limit'],
    ['deliveries?cursor=AAAA', 'cursor'],
    ['dead-letters?order=up', 'order'],
  ]) {
    const { status, json } = await api.get(`/v1/webhooks/${id}/${path}`)
    t.equal(status, 400, path)
    t.equal(json.error.details.field, field, path)
  }
  const letters = await api.post(`/v1/webhooks/${id}/dead-letters/resend`, { ids: ['x'] })
  t.match(letters, { status: 400, json: { error: { details: { field: 'ids/0' } } } })
})

t.test('private addresses are refused unless they are allowed', async (t) => {
  const api = await startApi(t, {
    environment: { ...environment, DAYBOOK_WEBHOOK_PRIVATE: 'refuse' },
  })
  const hook = await TestReceiver.start(t)
  for (const each of [
    hook.url,
    'https://127.0.0.1/',
    'https://[::1]/',
    'https://169.254.169.254/',
  ]) {
    const { status, json } = await api.post('/v1/webhooks', { url: each })
    t.equal(status, 400, each)
    t.equal(json.error.details.field, 'url', each)
  }
  const byName = hook.url.replace('http://127.0.0.1', 'https://localhost')
  const { id } = (await api.post('/v1/webhooks', { url: byName })).json.data
  const tested = await api.post(`/v1/webhooks/${id}/test`, undefined)
  t.match(tested.json.data, { outcome: 'failed', error: 'address_not_allowed' })
})

t.test('a webhook is made once, changed, paused and made active', async (t) => {
  const body = { id: 'hook:1', url, description: 'ours', types: ['hold.placed'] }
  const made = await api.post('/v1/webhooks', body)
  t.equal(made.status, 201)
  const again = await api.post('/v1/webhooks', body)
  t.equal(again.status, 200)
  t.equal(again.headers.get('idempotent-replayed'), 'true')
  const { secret, ...shown } = made.json.data
  t.ok(secret)
  t.same(again.json.data, shown, 'without the secret')
  const other = await api.post('/v1/webhooks', { ...body, url: `${url}/other` })
  t.equal(other.json.error.code, 'id_reused_with_different_body')
  const path = '/v1/webhooks/hook:1'
  const paused = (await api.patch(path, { state: 'paused', description: null })).json.data
  t.match(paused, { id: shown.id, state: 'paused', types: ['hold.placed'] })
  t.notOk('description' in paused)
  const changed = (await api.patch(path, { types: null, accounts: ['ada'], state: 'active' })).json
  t.equal(changed.data.state, 'active')
  t.notOk('types' in changed.data)
  t.match(changed.data.accounts, [/^[0-9a-f-]{36}$/])
})

t.test('another tenant sees nothing of it, and has a limit of its own', async (t) => {
  const { id } = (await api.post('/v1/webhooks', { id: 'hook:2', url })).json.data
  await withClient(api.databaseUrl, (client) =>
    client.query('update daybook_webhooks.receiver set tenant = 2 where id = $1', [id]),
  )
  const listed = (await api.get('/v1/webhooks')).json.data
  t.notOk(listed.some((each: Json) => each.id === id))
  const path = `/v1/webhooks/${id}`
  for (const [method, rest, body] of [
    ...[
      ['GET', ''],
      ['PATCH', '', { state: 'paused' }],
      ['DELETE', ''],
    ],
    ...[
      ['POST', '/rotate'],
      ['POST', '/test'],
      ['GET', '/deliveries'],
      ['GET', '/dead-letters'],
    ],
    ...[
      ['POST', '/dead-letters/resend', {}],
      ['POST', '/dead-letters/discard', {}],
    ],
  ] as [string, string, Json?][]) {
    const answer = await api.call(method, `${path}${rest}`, { body })
    t.match(
      answer,
      { status: 404, json: { error: { code: 'webhook_not_found' } } },
      `${method} ${rest}`,
    )
  }
  const taken = await api.post('/v1/webhooks', { id, url })
  t.equal(taken.json.error.code, 'id_reused_with_different_body')
  await withClient(api.databaseUrl, (client) =>
    client.query(
      `insert into daybook_webhooks.receiver (id, tenant, url, batch_max, state)
       select gen_random_uuid(), 1, 'https://example.com/', 1, 'paused' from generate_series(1, 100)`,
    ),
  )
  refused(t, withTransient(await api.post('/v1/webhooks', { url })), 422, 'webhook_limit_reached')
})

t.test(
  'without a key, or without a history, nothing can be made, and posting goes on',
  async (t) => {
    const keyless = await startApi(t, { environment: { DAYBOOK_HISTORY: 'on' } })
    refused(
      t,
      withTransient(await keyless.post('/v1/webhooks', { url })),
      422,
      'webhooks_not_configured',
    )
    t.same((await keyless.get('/v1/webhooks')).json.data, [])
    await openAccounts(keyless)
    const off = await startApi(t)
    const answer = await off.get('/v1/webhooks')
    t.match(answer, { status: 503, json: { error: { code: 'webhooks_unavailable' } } })
    t.ok(answer.headers.get('retry-after'))
  },
)

/** Errors of the API itself do not say whether they are transient. */
function withTransient<T extends { json: Json }>(answer: T): T {
  const details = answer.json?.error?.details
  if (details !== undefined) details.transient = false
  return answer
}
