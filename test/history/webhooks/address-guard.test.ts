import type { LookupAddress } from 'node:dns'
import t from 'tap'
import {
  guardedLookup,
  isPublicAddress,
  urlProblem,
} from '../../../src/history/webhooks/address-guard.js'
import { outcomeOf } from '../../../src/history/webhooks/outcome.js'
import { retryDelayMs, retryPolicy } from '../../../src/history/webhooks/retry-policy.js'
import { testEvent } from '../../../src/history/webhooks/webhook-event.js'
import { WebhookSender } from '../../../src/history/webhooks/webhook-sender.js'
import { webhookRequest } from '../../../src/history/webhooks/webhook-signature.js'
import { isTest, TestReceiver } from './test-receiver.js'
import { key, tenant } from './webhook-fixture.js'

const refusing = { allowsPrivate: false }
const allowing = { allowsPrivate: true }

t.test('only addresses of the whole internet are public', async (t) => {
  for (const address of [
    '1.1.1.1',
    '93.184.216.34',
    '172.15.0.1',
    '172.32.0.1',
    '2606:4700::1111',
  ]) {
    t.equal(isPublicAddress(address), true, address)
  }
  for (const address of [
    ...['0.0.0.0', '10.1.2.3', '100.64.0.1', '127.0.0.1', '127.9.9.9', '169.254.169.254'],
    ...['172.16.0.1', '172.31.255.255', '192.0.0.8', '192.168.1.1', '198.18.0.1', '224.0.0.1'],
    ...['240.0.0.1', '255.255.255.255', '192.0.2.1', '198.51.100.7', '203.0.113.9'],
    ...['::', '::1', 'fe80::1', 'fe80::1%eth0', 'fc00::1', 'fd12:3456::1', 'ff02::1'],
    ...['::ffff:10.0.0.1', '::ffff:1.1.1.1', '64:ff9b::7f00:1', '2002:7f00:1::', '2001::1'],
    ...['2001:db8::1', '3fff::1', 'localhost', ''],
  ]) {
    t.equal(isPublicAddress(address), false, address)
  }
})

t.test('a URL must be one that events may go to', async (t) => {
  for (const url of [
    'https://example.com/hook?a=b',
    'https://1.1.1.1:8443/',
    'https://[2606:4700::1]/',
  ]) {
    t.equal(urlProblem(url, refusing), undefined, url)
    t.equal(urlProblem(url, allowing), undefined, url)
  }
  for (const url of [
    ...['', 'example.com', 'ftp://example.com/', 'file:///etc/passwd', 'https://'],
    ...[
      'https://user@example.com/',
      'https://user:password@example.com/',
      'https://example.com/#a',
    ],
    ...['http://1.1.1.1/'],
  ]) {
    t.type(urlProblem(url, refusing), 'string', url)
    t.type(urlProblem(url, allowing), 'string', url)
  }
  for (const url of [
    ...['http://example.com/', 'https://127.0.0.1/', 'https://[::1]/', 'https://169.254.169.254/'],
    ...[
      'https://2130706433/',
      'https://0x7f.1/',
      'https://0177.0.0.1/',
      'https://[::ffff:127.0.0.1]/',
    ],
  ]) {
    t.type(urlProblem(url, refusing), 'string', url)
    t.equal(urlProblem(url, allowing), undefined, url)
  }
})

t.test('a name is judged by the addresses that it has when a connection is made', async (t) => {
  const resolved = (
    policy: Parameters<typeof guardedLookup>[0],
    addresses: string[],
    all = true,
  ) => {
    const found = addresses.map((address) => ({ address, family: address.includes(':') ? 6 : 4 }))
    const lookup = guardedLookup(policy, (_name, _options, callback) => callback(null, found))
    return new Promise<unknown>((resolve) => {
      lookup('rebound.example', { all }, (error, address) => {
        if (error !== null) return resolve(error.code)
        resolve(all ? (address as LookupAddress[]).map((each) => each.address) : address)
      })
    })
  }
  const secure = { ...refusing, isPlain: false }
  const mixed = ['10.0.0.1', '1.1.1.1', '::1']
  t.equal(await resolved(secure, ['127.0.0.1']), 'address_not_allowed')
  t.equal(await resolved(secure, ['10.0.0.1', 'fd00::1'], false), 'address_not_allowed')
  t.same(await resolved(secure, mixed), ['1.1.1.1'])
  t.equal(await resolved(secure, mixed, false), '1.1.1.1')
  t.same(await resolved({ ...allowing, isPlain: false }, mixed), mixed)
  t.same(await resolved({ ...allowing, isPlain: true }, mixed), ['10.0.0.1', '::1'])
  t.equal(await resolved({ ...allowing, isPlain: true }, ['1.1.1.1']), 'address_not_allowed')
})

t.test('a private address is refused when it is connected to, whoever let it in', async (t) => {
  const hook = await TestReceiver.start(t)
  const sender = new WebhookSender({ ...refusing, timeoutMs: 10_000 })
  t.teardown(() => sender.close())
  const send = (url: string) => sender.send(url, request(), new AbortController().signal)
  await t.rejects(send(hook.url), { code: 'address_not_allowed' })
  const byName = hook.url.replace('http://127.0.0.1', 'https://localhost')
  await t.rejects(send(byName), { code: 'address_not_allowed' })
  t.equal(hook.requests.length, 0)
})

t.test('a connection that was closed while it was idle costs no attempt', async (t) => {
  const hook = await TestReceiver.start(t)
  const sender = new WebhookSender({ ...allowing, timeoutMs: 10_000 })
  t.teardown(() => sender.close())
  const send = () => sender.send(hook.url, request(), new AbortController().signal)
  t.match(await send(), { status: 200 })
  let cuts = 0
  hook.answer = () => (cuts++ === 0 ? 'cut' : 200)
  t.match(await send(), { status: 200 })
  t.equal(hook.accepted.filter(isTest).length, 2)
  hook.answer = () => 'cut'
  await t.rejects(send(), { code: 'ECONNRESET' })
})

t.test('what a Retry-After may ask for has bounds', async (t) => {
  const nowMs = Date.UTC(2026, 0, 1)
  const waitOf = (retryAfter: string | undefined, status = 429) =>
    outcomeOf({ status, retryAfter }, nowMs)
  t.match(waitOf('30'), { kind: 'wait', waitMs: 30_000 })
  t.match(waitOf('30', 503), { kind: 'wait', waitMs: 30_000 })
  t.match(waitOf(undefined), { kind: 'wait', waitMs: 1000 })
  t.match(waitOf('0'), { waitMs: 1000 })
  t.match(waitOf('999999999'), { waitMs: 600_000 })
  t.match(waitOf('soon'), { waitMs: 1000 })
  t.match(waitOf('Thu, 01 Jan 2026 00:01:00 GMT'), { waitMs: 60_000 })
  t.match(waitOf('Thu, 01 Jan 2099 00:01:00 GMT'), { waitMs: 600_000 })
  t.match(waitOf(undefined, 503), { kind: 'failed' })
  for (const [status, kind] of [
    ...([
      [200, 'delivered'],
      [204, 'delivered'],
      [301, 'failed'],
      [400, 'refused'],
    ] as const),
    ...([
      [401, 'failed'],
      [404, 'failed'],
      [410, 'gone'],
      [413, 'refused'],
    ] as const),
    ...([
      [422, 'refused'],
      [500, 'failed'],
    ] as const),
  ]) {
    t.equal(outcomeOf({ status, retryAfter: undefined }, nowMs).kind, kind, `${status}`)
  }
})

t.test('the delay before an attempt doubles up to its bound, less by chance', async (t) => {
  const delays = (random: number) =>
    [1, 2, 3, 8, 9, 50, 2000].map((attempts) => retryDelayMs(attempts, retryPolicy, () => random))
  t.same(delays(1), [500, 1000, 2000, 60_000, 60_000, 60_000, 60_000])
  t.same(delays(0), [250, 500, 1000, 30_000, 30_000, 30_000, 30_000])
})

function request() {
  const receiver = { id: '019af2a0-0000-7000-8000-000000000001', generation: 1 }
  const events = [testEvent(tenant, 'a', 0)]
  return webhookRequest({ ...receiver, rotatedAtMs: undefined } as never, events, { key, nowMs: 0 })
}
