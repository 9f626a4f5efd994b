import { type Clock, systemClock } from '../../../src/clock.js'
import {
  Dispatcher,
  type DispatcherParts,
  type WebhookGauges,
} from '../../../src/history/webhooks/dispatcher.js'
import type { Receiver } from '../../../src/history/webhooks/receiver.js'
import { type NewReceiver, ReceiverStore } from '../../../src/history/webhooks/receiver-store.js'
import { WebhookSender } from '../../../src/history/webhooks/webhook-sender.js'
import { digestChain } from '../../../src/journal/digest.js'
import { postgresDatabase } from '../../../src/journal/postgres.js'
import { until } from '../../journal/faulty-store.js'
import type { Teardown } from '../../postgres.js'
import type { FeedJournal } from '../feed/journal-fixture.js'
import type { TestReceiver } from './test-receiver.js'

export const key = Buffer.from('a key of the server that has more than 32 characters')
/** Of the records of the fixtures. */
export const tenant = 4_000_000_000

/** A dispatcher that runs in this process, and what it says. */
export interface RunningDispatcher {
  gauges(): WebhookGauges | undefined
  troubles: string[]
  faults: Error[]
  stop(): Promise<void>
}

export interface DispatcherOptions extends Partial<DispatcherParts> {
  timeoutMs?: number
}

export async function startDispatcher(
  t: Teardown,
  { store, connectionString }: Pick<FeedJournal, 'store' | 'connectionString'>,
  { timeoutMs = 10_000, ...options }: DispatcherOptions = {},
): Promise<RunningDispatcher> {
  const [troubles, faults]: [string[], Error[]] = [[], []]
  const sender = new WebhookSender({ allowsPrivate: true, timeoutMs })
  const dispatcher = await Dispatcher.open({
    ...{ database: postgresDatabase(connectionString, 10_000), store, key, sender },
    ...{ chain: digestChain(), clock: hurriedClock(), random: () => 1 },
    counts: { delivered: 0, failedAttempts: 0 },
    listener: { onTrouble: (message) => troubles.push(message) },
    ...options,
  })
  const abort = new AbortController()
  let gauges: WebhookGauges | undefined
  const run = dispatcher
    .run(abort.signal, (now) => {
      gauges = now
    })
    .catch((error) => void faults.push(error))
    .finally(() => dispatcher.close())
  const stop = async () => {
    abort.abort()
    await run
    sender.close()
  }
  t.teardown(stop)
  return { gauges: () => gauges, troubles, faults, stop }
}

/** What the API would do with receivers. */
export function receiverStore(
  t: Teardown,
  { connectionString }: Pick<FeedJournal, 'connectionString'>,
): ReceiverStore {
  const store = new ReceiverStore(connectionString, { timeoutMs: 10_000, onError: () => undefined })
  t.teardown(() => store.close())
  return store
}

export async function addReceiver(
  store: ReceiverStore,
  { url }: Pick<TestReceiver, 'url'>,
  options: Partial<NewReceiver> = {},
): Promise<Receiver> {
  const created = await store.create({
    ...{ tenant, url, description: undefined, types: undefined, accounts: undefined },
    ...{ batchMax: 10, fromBeginning: true },
    ...options,
  })
  if (created === undefined) throw new Error('there are too many receivers')
  return created.receiver
}

/** A clock on which nobody waits for long, and that keeps what they would have waited. */
export function hurriedClock(): Clock & { delaysMs: number[] } {
  const delaysMs: number[] = []
  let monotonicMs = systemClock.monotonic()
  return {
    delaysMs,
    now: () => Date.now(),
    monotonic: () => {
      return monotonicMs
    },
    schedule(delayMs, task) {
      delaysMs.push(delayMs)
      const dueMs = monotonicMs + delayMs
      return systemClock.schedule(Math.min(delayMs, 4), () => {
        monotonicMs = Math.max(monotonicMs, dueMs)
        task()
      })
    },
    nextTick: systemClock.nextTick,
  }
}

/** Waits until a receiver has taken all events, and each of them once and in order. */
export async function hasAll(receiver: TestReceiver, ids: readonly string[]): Promise<void> {
  const wrong = () => new Error(`it has ${receiver.ids.join(' ')} instead of ${ids.join(' ')}`)
  await until(() => receiver.ids.length >= ids.length).catch(() => Promise.reject(wrong()))
  if (JSON.stringify(receiver.ids) !== JSON.stringify(ids)) throw wrong()
}
