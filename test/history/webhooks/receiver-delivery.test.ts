import t from 'tap'
import { DeliveryNotes } from '../../../src/history/webhooks/delivery-notes.js'
import type { EventReader } from '../../../src/history/webhooks/event-source.js'
import type { Receiver } from '../../../src/history/webhooks/receiver.js'
import { breakerPolicy } from '../../../src/history/webhooks/receiver-breaker.js'
import { ReceiverDelivery } from '../../../src/history/webhooks/receiver-delivery.js'
import { retryPolicy } from '../../../src/history/webhooks/retry-policy.js'
import { testEvent, type WebhookEvent } from '../../../src/history/webhooks/webhook-event.js'
import { SendError, type WebhookSender } from '../../../src/history/webhooks/webhook-sender.js'
import { until } from '../../journal/faulty-store.js'
import { hurriedClock, key, tenant } from './webhook-fixture.js'

const receiver: Receiver = {
  ...{ id: '019af2a0-0000-7000-8000-000000000001', tenant, url: 'http://127.0.0.1:1/' },
  ...{ description: undefined, types: undefined, accounts: undefined, batchMax: 3 },
  ...{ state: 'active', reason: undefined, generation: 1, rotatedAtMs: undefined },
  ...{ createdAtMs: 0, changedAtMs: 0 },
}

t.test('streams of a generation go side by side, generations one after the other', async (t) => {
  const { delivery, sent, notes } = start(t, {
    streams: [head(1, 1, 5), head(2, 1, 7), head(3, 2, 4), head(4, 2, 4)],
    send: async () => {
      // Everybody who could send does.
      await new Promise(setImmediate)
      return { status: 200, retryAfter: undefined }
    },
  })
  await until(() => delivery.lag === 0)
  const streams = sent.map((id) => Number(id.split('-')[0]))
  t.same(new Set(streams.slice(0, 4)), new Set([1, 2]), 'side by side')
  t.ok(Math.max(...streams.slice(0, 12)) <= 2)
  t.ok(Math.min(...streams.slice(12)) >= 3)
  t.equal(sent.length, 20)
  for (const stream of [1, 2, 3, 4]) {
    const seqs = sent.filter((id) => id.startsWith(`${stream}-`)).map((id) => Number(id.slice(2)))
    t.same(
      seqs,
      [...seqs].sort((a, b) => a - b),
    )
  }
  const { positions, attempts } = notes.take()
  t.equal(positions.length, 4)
  t.ok(attempts.every(({ events }) => events <= 3))
})

t.test('what was sent and not noted at the end is not noted later', async (t) => {
  let answer: () => void = () => undefined
  const { delivery, notes } = start(t, {
    streams: [head(1, 1, 2)],
    send: (_url, _request, signal) =>
      new Promise((resolve, reject) => {
        answer = () => resolve({ status: 200, retryAfter: undefined })
        signal.addEventListener('abort', () => reject(new SendError('ABORT_ERR')))
      }),
  })
  await until(() => String(answer) !== '() => undefined')
  delivery.abandon()
  await delivery.stop()
  answer()
  t.equal(notes.isEmpty, true)
})

t.test(
  'a letter that the database still has is not sent again, unless it is asked for',
  async (t) => {
    const { delivery, sent, notes } = start(t, {
      streams: [],
      send: async () => ({ status: 422, retryAfter: undefined }),
    })
    const event = testEvent(tenant, 'a', 0)
    const letter = { receiver: receiver.id, id: '7', event, attempts: 10, askedAt: 'then' }
    for (let look = 0; look < 5; look++) {
      delivery.take([letter])
      await until(() => sent.length === 1)
    }
    delivery.take([{ ...letter, attempts: 11, askedAt: 'later' }])
    await until(() => sent.length === 2)
    delivery.take([])
    delivery.take([letter])
    await until(() => sent.length === 3)
    await delivery.stop()
    t.same(sent, [event.id, event.id, event.id])
    const { resent } = notes.take()
    t.equal(resent.length, 3)
    t.match(resent[0], { id: '7', isDelivered: false, status: 422 })
  },
)

t.test('the log that waits to be written is bounded', async (t) => {
  const notes = new DeliveryNotes()
  for (let attempt = 1; attempt <= 5000; attempt++) {
    notes.attempt({
      ...{
        receiver: receiver.id,
        atMs: 0,
        firstEvent: '1-1',
        lastEvent: '1-1',
        events: 1,
        attempt,
      },
      ...{ outcome: 'delivered', status: 200, error: undefined, durationMs: 1 },
    })
  }
  const { attempts } = notes.take()
  t.ok(attempts.length >= 1000 && attempts.length <= 2000, `${attempts.length}`)
  t.equal(attempts.at(-1)?.attempt, 5000)
})

function head(stream: number, generation: number, head: number) {
  return { stream, generation, isClosed: true, head }
}

/** A delivery from streams in which every seq is an event. */
function start(
  t: { teardown(work: () => Promise<void>): void },
  { streams, send }: { streams: ReturnType<typeof head>[]; send: WebhookSender['send'] },
) {
  const sent: string[] = []
  const notes = new DeliveryNotes()
  const source: EventReader = {
    headOf: (stream) => streams.find((each) => each.stream === stream)?.head ?? 0,
    keptAfter: async () => 0,
    async next({ stream, seq }) {
      const last = source.headOf(stream)
      if (seq >= last) return undefined
      const events = Array.from({ length: last - seq }, (_, index): WebhookEvent => {
        const id = `${stream}-${seq + 1 + index}`
        return { ...testEvent(tenant, '', 0), id, position: id }
      })
      return { events, seq: last, digest: undefined }
    },
  }
  const delivery = new ReceiverDelivery(
    receiver,
    { places: [], streams },
    {
      ...{ source, notes, key, clock: hurriedClock(), random: () => 1 },
      sender: {
        send: async (url, request, signal) => {
          const answer = await send(url, request, signal)
          const { events } = JSON.parse(request.body.toString())
          sent.push(...events.map(({ id }: WebhookEvent) => id))
          return answer
        },
      },
      counts: { delivered: 0, failedAttempts: 0 },
      listener: { onTrouble: (message) => t.teardown(() => Promise.reject(new Error(message))) },
      ...{ retry: retryPolicy, breaker: breakerPolicy },
    },
    (error) => {
      throw error
    },
  )
  t.teardown(() => delivery.stop())
  return { delivery, sent, notes }
}
