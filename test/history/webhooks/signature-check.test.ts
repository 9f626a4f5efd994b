import { readFileSync } from 'node:fs'
import t from 'tap'
import type { Receiver } from '../../../src/history/webhooks/receiver.js'
import { testEvent } from '../../../src/history/webhooks/webhook-event.js'
import {
  rotationOverlapMs,
  secretText,
  webhookRequest,
  webhookSecret,
} from '../../../src/history/webhooks/webhook-signature.js'
import { key, tenant } from './webhook-fixture.js'

/** What docs/webhooks.md tells receivers to do. */
const page = readFileSync(new URL('../../../../docs/webhooks.md', import.meta.url), 'utf8')
const [, program] = /```js\n([\s\S]*?)```/.exec(page) ?? []
const { isAuthentic }: { isAuthentic: Check } = await import(
  `data:text/javascript,${encodeURIComponent(program)}`
)
type Check = (secret: string, headers: Record<string, string>, body: Buffer) => boolean

const id = '019af2a0-0000-7000-8000-000000000001'
const events = [testEvent(tenant, 'a', 0)]
const secretOf = (generation: number) => secretText(webhookSecret(key, { id, generation }))

t.test('the check in docs/webhooks.md takes what was signed, and nothing else', async (t) => {
  const { headers, body } = requestOf({ generation: 1 }, Date.now())
  t.equal(isAuthentic(secretOf(1), headers, body), true)
  t.equal(isAuthentic(secretOf(2), headers, body), false)
  t.equal(isAuthentic(secretOf(1), headers, Buffer.concat([body, body])), false)
  const timestamp = String(Number(headers['webhook-timestamp']) + 1)
  const signature = headers['webhook-signature'].replace(/,./, ([, first]) =>
    first === 'A' ? ',B' : ',A',
  )
  for (const [name, changed] of [
    ['webhook-id', 'test-b'],
    ['webhook-timestamp', timestamp],
    ['webhook-signature', signature],
  ]) {
    t.equal(isAuthentic(secretOf(1), { ...headers, [name]: changed }, body), false, name)
  }
  const old = requestOf({ generation: 1 }, Date.now() - 301_000)
  t.equal(isAuthentic(secretOf(1), old.headers, old.body), false, 'too old')
})

t.test('a signature is as Standard Webhooks has it', async (t) => {
  const receiver = { ...{ id, generation: 3 }, rotatedAtMs: undefined } as Receiver
  const { headers, body } = webhookRequest(receiver, events, { key, nowMs: 1_674_087_231_999 })
  t.equal(headers['webhook-timestamp'], '1674087231')
  t.match(headers['webhook-signature'], /^v1,[A-Za-z0-9+/]{43}=$/)
  t.equal(headers['content-length'], String(body.length))
  t.same(JSON.parse(body.toString()), { events })
})

t.test(
  'a rotated secret signs as long as it is told, and another receiver has another',
  async (t) => {
    const rotatedAtMs = Date.now()
    const within = requestOf({ generation: 2, rotatedAtMs }, rotatedAtMs)
    t.equal(isAuthentic(secretOf(1), within.headers, within.body), true)
    t.equal(isAuthentic(secretOf(2), within.headers, within.body), true)
    const ago = rotatedAtMs - rotationOverlapMs
    const after = requestOf({ generation: 2, rotatedAtMs: ago }, rotatedAtMs)
    t.equal(isAuthentic(secretOf(1), after.headers, after.body), false)
    t.equal(isAuthentic(secretOf(2), after.headers, after.body), true)
    const other = secretText(webhookSecret(key, { id: id.replace('1', '2'), generation: 1 }))
    t.not(other, secretOf(1))
    const otherKey = Buffer.from(key.toString().toUpperCase())
    t.not(secretText(webhookSecret(otherKey, { id, generation: 1 })), secretOf(1))
  },
)

function requestOf(receiver: { generation: number; rotatedAtMs?: number }, nowMs: number) {
  return webhookRequest({ id, ...receiver } as Receiver, events, { key, nowMs })
}
