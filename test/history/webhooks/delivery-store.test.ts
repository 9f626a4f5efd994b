import t from 'tap'
import { DeliveryNotes } from '../../../src/history/webhooks/delivery-notes.js'
import {
  deadLettersMax,
  readPlaces,
  saveNotes,
  trimAttempts,
} from '../../../src/history/webhooks/delivery-store.js'
import { testEvent } from '../../../src/history/webhooks/webhook-event.js'
import { postgresDatabase } from '../../../src/journal/postgres.js'
import { temporaryPostgres } from '../../postgres.js'
import { FeedJournal } from '../feed/journal-fixture.js'
import { addReceiver, receiverStore, tenant } from './webhook-fixture.js'

const postgres = await temporaryPostgres(t)
const journal = await FeedJournal.make(t, postgres)
const store = receiverStore(t, journal)
const hook = { url: 'http://127.0.0.1:9/' }
const database = await postgresDatabase(journal.connectionString, 10_000).connect({ name: 'test' })
t.teardown(() => database.end())

t.test('a position never goes back', async (t) => {
  const { id } = await addReceiver(store, hook)
  const digest = Buffer.alloc(32, 7)
  for (const seq of [5, 9, 7]) {
    const notes = new DeliveryNotes()
    notes.position({ receiver: id, stream: 1, seq, digest: seq === 9 ? digest : undefined })
    await saveNotes(database, notes.take())
  }
  t.same(await readPlaces(database, id), [{ stream: 1, seq: 9, digest }])
})

t.test('what belongs to a receiver that is gone comes to nothing', async (t) => {
  const { id } = await addReceiver(store, hook)
  await store.remove(tenant, id)
  const notes = new DeliveryNotes()
  notes.position({ receiver: id, stream: 1, seq: 1, digest: undefined })
  notes.attempt(attemptOf(id, 1))
  notes.deadLetter(letterOf(id, 'a'))
  await saveNotes(database, notes.take())
  const { rows } = await database.query(
    `select from daybook_webhooks.position where receiver = $1 union all
     select from daybook_webhooks.dead_letter where receiver = $1`,
    [id],
  )
  t.equal(rows.length, 0)
})

t.test('the log keeps the newest, and not for ever', async (t) => {
  const { id } = await addReceiver(store, hook)
  const notes = new DeliveryNotes()
  for (let attempt = 1; attempt <= 1300; attempt++) notes.attempt(attemptOf(id, attempt))
  await saveNotes(database, notes.take())
  await trimAttempts(database)
  const kept = await store.attempts(id, { before: undefined, limit: 5000 })
  t.equal(kept.length, 1000)
  t.equal(kept[0].attempt, 1300)
  await database.query(
    `update daybook_webhooks.delivery set at = now() - interval '8 days' where id <= $1`,
    [kept[10].id],
  )
  await trimAttempts(database)
  t.equal((await store.attempts(id, { before: undefined, limit: 5000 })).length, 10)
})

t.test('a dead letter is there once, and too many disable the receiver', async (t) => {
  const { id } = await addReceiver(store, hook)
  const save = async (name: string) => {
    const notes = new DeliveryNotes()
    notes.deadLetter(letterOf(id, name))
    await saveNotes(database, notes.take())
  }
  await save('a')
  await save('a')
  t.equal((await store.deadLetters(id, { after: undefined, limit: 10 })).length, 1)
  t.equal((await store.find(tenant, id))?.state, 'active')
  await database.query(
    `insert into daybook_webhooks.dead_letter
       (receiver, event_id, event, attempts, first_at, last_at)
     select $1, n, '{}', 1, now(), now() from generate_series(1, $2) n`,
    [id, deadLettersMax - 2],
  )
  await save('a')
  t.equal((await store.find(tenant, id))?.state, 'active')
  await save('b')
  t.match(await store.find(tenant, id), { state: 'disabled', reason: 'too_many_dead_letters' })
  t.equal(await store.discard(id, undefined), deadLettersMax)
})

function attemptOf(receiver: string, attempt: number) {
  return {
    ...{ receiver, atMs: Date.now(), firstEvent: '1-1', lastEvent: '1-1', events: 1, attempt },
    ...{ outcome: 'delivered' as const, status: 200, error: undefined, durationMs: 1 },
  }
}

function letterOf(receiver: string, name: string) {
  const event = testEvent(tenant, name, 0)
  return {
    ...{ receiver, event, attempts: 1, status: 422, error: undefined, firstMs: 1, lastMs: 2 },
  }
}
