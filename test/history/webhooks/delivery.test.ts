import { webcrypto } from 'node:crypto'
import t from 'tap'
import { secretText, webhookSecret } from '../../../src/history/webhooks/webhook-signature.js'
import { withClient } from '../../actors/book-database.js'
import { until } from '../../journal/faulty-store.js'
import { temporaryPostgres } from '../../postgres.js'
import { FeedJournal } from '../feed/journal-fixture.js'
import { type ReceivedRequest, TestReceiver } from './test-receiver.js'
import {
  addReceiver,
  hasAll,
  key,
  receiverStore,
  startDispatcher,
  tenant,
} from './webhook-fixture.js'

const postgres = await temporaryPostgres(t)

t.test(
  'every event comes once, in order, signed, and in requests of the size asked for',
  async (t) => {
    const [journal, hook] = [await FeedJournal.make(t, postgres), await TestReceiver.start(t)]
    await journal.append(1200)
    const store = receiverStore(t, journal)
    const { id } = await addReceiver(store, hook, { batchMax: 10 })
    const running = await startDispatcher(t, journal)
    await hasAll(hook, idsOf(journal))
    for (let batch = 0; batch < 5; batch++) await journal.append(7)
    await hasAll(hook, idsOf(journal))
    t.same(hook.events, journal.events, 'as the feed has them')
    const secret = secretText(webhookSecret(key, { id, generation: 1 }))
    for (const request of hook.requests) {
      const { events, headers } = request
      t.ok(events.length <= 10 && events.length >= 1)
      const name = [events[0].id, events.at(-1)?.id].slice(0, events.length).join('..')
      t.equal(headers['webhook-id'], name)
      t.ok(await isSignedBy(secret, request), name)
      t.notOk(await isSignedBy(secretText(webhookSecret(key, { id, generation: 2 })), request))
    }
    t.ok(hook.requests.some(({ events }) => events.length === 10))
    await until(() => running.gauges()?.delivered === journal.events.length)
    t.match(running.gauges(), { active: 1, failedAttempts: 0, lag: 0 })
    t.same(running.troubles, [])
  },
)

t.test('a second start goes on where the first ended, and two do not both deliver', async (t) => {
  const [journal, hook] = [await FeedJournal.make(t, postgres), await TestReceiver.start(t)]
  await addReceiver(receiverStore(t, journal), hook)
  for (let round = 0; round < 3; round++) {
    await journal.append(50)
    const running = await startDispatcher(t, journal)
    await hasAll(hook, idsOf(journal))
    await running.stop()
  }
  const [one, other] = [await startDispatcher(t, journal), await startDispatcher(t, journal)]
  await until(() => one.gauges() !== undefined)
  await journal.append(300)
  await hasAll(hook, idsOf(journal))
  t.equal(other.gauges(), undefined, 'it waits for the lock')
  await one.stop()
  await journal.append(50)
  await hasAll(hook, idsOf(journal))
  t.equal(other.gauges()?.active, 1)
})

t.test('a receiver begins where it was made, and gets only what it asked for', async (t) => {
  const journal = await FeedJournal.make(t, postgres)
  const store = receiverStore(t, journal)
  await journal.append(30)
  const [fresh, typed, named, foreign] = [
    ...(await Promise.all([1, 2, 3, 4].map(() => TestReceiver.start(t)))),
  ]
  const isOther = ({ type }: { type: string }) => type !== 'transaction.posted'
  const [{ accounts }] = journal.events
  await addReceiver(store, fresh, { fromBeginning: false })
  await addReceiver(store, typed, { types: ['account.changed', 'account.moved'] })
  await addReceiver(store, named, { accounts: [accounts[0]] })
  await addReceiver(store, foreign, { tenant: tenant + 1 })
  const running = await startDispatcher(t, journal)
  await journal.append(60)
  await hasAll(fresh, idsOf(journal, 30))
  await until(() => running.gauges()?.lag === 0)
  const ofAccount = journal.events.filter((event) => event.accounts.includes(accounts[0]))
  t.ok(ofAccount.length > 0 && ofAccount.length < journal.events.length)
  t.same(named.events, ofAccount)
  t.same(
    typed.events,
    journal.events.filter(isOther).filter(({ type }) => type !== 'hold.placed'),
  )
  t.equal(foreign.requests.length, 0, 'nothing of another tenant')
})

t.test('what was archived is missing, and the receiver is told where it goes on', async (t) => {
  const [journal, hook] = [await FeedJournal.make(t, postgres), await TestReceiver.start(t)]
  for (let batch = 0; batch < 10; batch++) await journal.append(30)
  await journal.archive(150)
  await addReceiver(receiverStore(t, journal), hook, { types: ['transaction.posted'] })
  const running = await startDispatcher(t, journal)
  await until(() => running.gauges()?.lag === 0)
  const [gap, ...events] = hook.events
  t.match(gap, { type: 'feed.gap', tenant, data: { after: '1-0' } })
  const { first } = gap.data as { first: string }
  const kept = Number(first.slice(2))
  t.ok(kept > 1 && kept <= 151, first)
  const rest = journal.eventsAfter(kept - 1).filter(({ type }) => type === 'transaction.posted')
  t.same(events, rest)
})

t.test('a damaged journal stops its stream, and says so', async (t) => {
  const [journal, hook] = [await FeedJournal.make(t, postgres), await TestReceiver.start(t)]
  for (let batch = 0; batch < 10; batch++) await journal.append(3)
  await withClient(journal.connectionString, (client) =>
    client.query('delete from daybook.journal where first_seq = 13'),
  )
  await addReceiver(receiverStore(t, journal), hook)
  const running = await startDispatcher(t, journal)
  await until(() => running.troubles.length > 2)
  t.match(running.troubles[0], /stream 1/)
  t.same(hook.events, [])
  t.same(running.faults, [], 'others would go on')
})

t.test('after a rotation both secrets sign, for a day', async (t) => {
  const [journal, hook] = [await FeedJournal.make(t, postgres), await TestReceiver.start(t)]
  const store = receiverStore(t, journal)
  const { id } = await addReceiver(store, hook)
  await startDispatcher(t, journal)
  await store.rotate(tenant, id)
  const secrets = [1, 2].map((generation) => secretText(webhookSecret(key, { id, generation })))
  const signers = async () => {
    await journal.append(1)
    await hasAll(hook, idsOf(journal))
    const request = hook.requests.at(-1) as ReceivedRequest
    return await Promise.all(secrets.map((secret) => isSignedBy(secret, request)))
  }
  await until(async () => JSON.stringify(await signers()) === '[true,true]')
  await withClient(journal.connectionString, (client) =>
    client.query(`update daybook_webhooks.receiver set rotated_at = now() - interval '25 hours'`),
  )
  await until(async () => JSON.stringify(await signers()) === '[false,true]')
})

t.test('one that is paused waits, one that is removed is forgotten', async (t) => {
  const [journal, hook] = [await FeedJournal.make(t, postgres), await TestReceiver.start(t)]
  const store = receiverStore(t, journal)
  const { id } = await addReceiver(store, hook)
  const running = await startDispatcher(t, journal)
  await journal.append(20)
  await hasAll(hook, idsOf(journal))
  await store.change(tenant, id, { state: 'paused' })
  await until(() => running.gauges()?.paused === 1)
  const before = idsOf(journal)
  await journal.append(20)
  const other = await TestReceiver.start(t)
  await addReceiver(store, other)
  await hasAll(other, idsOf(journal))
  t.same(hook.ids, before)
  await store.change(tenant, id, { state: 'active' })
  await hasAll(hook, idsOf(journal))
  await store.remove(tenant, id)
  await until(() => running.gauges()?.active === 1)
  await journal.append(20)
  await hasAll(other, idsOf(journal))
  await running.stop()
  t.same(running.faults, [])
  const rows = await withClient(journal.connectionString, (client) =>
    client.query('select distinct receiver from daybook_webhooks.position'),
  )
  t.equal(rows.rowCount, 1)
})

t.test('the secret is in no table', async (t) => {
  const [journal, hook] = [await FeedJournal.make(t, postgres), await TestReceiver.start(t)]
  const { id } = await addReceiver(receiverStore(t, journal), hook)
  const running = await startDispatcher(t, journal)
  await journal.append(5)
  await hasAll(hook, idsOf(journal))
  await running.stop()
  const secret = webhookSecret(key, { id, generation: 1 })
  const texts = await withClient(journal.connectionString, async (client) => {
    const { rows } = await client.query(
      `select table_name as name from information_schema.tables
       where table_schema = 'daybook_webhooks'`,
    )
    const texts: string[] = []
    for (const { name } of rows) {
      const { rows: all } = await client.query(`select * from daybook_webhooks.${name}`)
      texts.push(JSON.stringify(all))
    }
    return texts
  })
  t.match(texts.join(), id)
  for (const form of [secret.toString('base64'), secret.toString('hex'), key.toString()]) {
    t.notOk(texts.join().includes(form))
  }
})

function idsOf(journal: FeedJournal, after = 0): string[] {
  return journal.eventsAfter(after).map(({ id }) => id)
}

/** As the specification of Standard Webhooks says, by other means than those of the server. */
async function isSignedBy(
  secret: string,
  { headers, body }: Pick<ReceivedRequest, 'headers' | 'body'>,
): Promise<boolean> {
  const { subtle } = webcrypto
  const bytes = Buffer.from(secret.replace('whsec_', ''), 'base64')
  const algorithm = { name: 'HMAC', hash: 'SHA-256' }
  const imported = await subtle.importKey('raw', bytes, algorithm, false, ['verify'])
  const signed = Buffer.from(
    `${headers['webhook-id']}.${headers['webhook-timestamp']}.${body.toString()}`,
  )
  const signatures = String(headers['webhook-signature']).split(' ')
  const verified = await Promise.all(
    signatures.map((text) =>
      subtle.verify('HMAC', imported, Buffer.from(text.replace('v1,', ''), 'base64'), signed),
    ),
  )
  return verified.includes(true)
}
