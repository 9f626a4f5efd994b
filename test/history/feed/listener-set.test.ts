import t from 'tap'
import { withClient } from '../../actors/book-database.js'
import { until } from '../../journal/faulty-store.js'
import { temporaryPostgres } from '../../postgres.js'
import { sampleRecord } from './feed-records.js'
import { FeedJournal } from './journal-fixture.js'
import { Listening } from './listening.js'

const postgres = await temporaryPostgres(t)

t.test('who begins at the beginning hears all, who does not hears what comes', async (t) => {
  const journal = await FeedJournal.make(t, postgres)
  await journal.append(700)
  const before = journal.events.length
  const listening = new Listening(t, journal)
  const all = await listening.listen({ after: '0' })
  const later = await listening.listen({})
  t.match(later.position, /^[0-9a-f]{8}\.1-700$/)
  for (let batch = 0; batch < 5; batch++) await journal.append(100)
  await until(() => all.events().length === journal.events.length)
  t.same(all.events(), journal.events)
  await until(() => later.events().length === journal.events.length - before)
  t.same(later.events(), journal.events.slice(before))
})

t.test('from the id of any event a listener goes on with the next one', async (t) => {
  const journal = await FeedJournal.make(t, postgres)
  await journal.append(120)
  const listening = new Listening(t, journal)
  const all = await listening.listen({ after: '0' })
  await until(() => all.events().length === journal.events.length)
  for (const at of [0, 1, 50, 76, 77, journal.events.length - 2]) {
    const heard = await listening.listen({ after: all.messages[at].id })
    await until(() => heard.events().length === journal.events.length - at - 1)
    t.same(heard.events(), journal.events.slice(at + 1))
    listening.leave(heard)
  }
})

t.test('nobody hears what is of another tenant, and the position moves on behind it', async (t) => {
  const journal = await FeedJournal.make(t, postgres)
  const listening = new Listening(t, journal)
  const one = await listening.listen({ tenant: 1 })
  const two = await listening.listen({ tenant: 2 })
  await journal.append(30, (seq) => {
    const record = Buffer.from(sampleRecord(seq))
    record.writeUInt32LE(seq % 3, 16)
    return record
  })
  for (const [heard, tenant] of [
    [one, 1],
    [two, 2],
  ] as const) {
    const own = journal.events.filter((event) => event.tenant === tenant)
    await until(() => heard.events().length === own.length)
    t.same(heard.events(), own)
  }
  const nobody = await listening.listen({ tenant: 3, after: '0' })
  await until(() => nobody.messages.some(({ id }) => id?.endsWith('.1-30') === true))
  t.same(nobody.events(), [], 'its last position is told all the same')
})

t.test('an account, and types, are all that a filter lets through', async (t) => {
  const journal = await FeedJournal.make(t, postgres)
  await journal.append(100)
  const listening = new Listening(t, journal)
  const [account] = journal.events[0].accounts
  const other = journal.events.find(({ accounts }) => !accounts.includes(account))?.accounts[0]
  if (other === undefined) throw new Error('the sample has no event of other accounts')
  const heard = await listening.listen({ after: '0', accounts: [other] })
  const wanted = journal.events.filter(({ accounts }) => accounts.includes(other))
  await until(() => heard.events().length === wanted.length)
  await until(() => heard.messages.at(-1)?.id?.endsWith('.1-100') === true)
  t.same(heard.events(), wanted)
  const both = await listening.listen({ after: '0', accounts: [account, other] })
  await until(() => both.events().length === journal.events.length)
  const none = await listening.listen({ after: '0', types: ['account.created'] })
  await until(() => none.messages.at(-1)?.id?.endsWith('.1-100') === true)
  t.same(none.events(), [])
})

t.test(
  'listeners at the head share what is read, and one that takes nothing is not read for',
  async (t) => {
    const journal = await FeedJournal.make(t, postgres)
    await journal.append(10)
    const listening = new Listening(t, journal)
    const hanging = await listening.listen({}, false)
    const at = await Promise.all(Array.from({ length: 8 }, () => listening.listen({})))
    const before = listening.reads.length
    const eventsBefore = journal.events.length
    const batches = 12
    for (let batch = 0; batch < batches; batch++) {
      await journal.append(20)
      await until(() =>
        at.every((heard) => heard.events().length === journal.events.length - eventsBefore),
      )
    }
    // The first page after the position is looked for; every other one begins where one has ended.
    t.ok(listening.reads.length - before <= batches + 1, `${listening.reads.length - before} reads`)
    const shared = listening.reads.length
    const late = await listening.listen({ after: at[0].messages[5].id })
    await until(() => late.events().at(-1)?.id === at[0].events().at(-1)?.id)
    t.equal(listening.reads.length, shared, 'what was read a moment ago is there for others')
    t.same(hanging.events(), [])
    hanging.isTaking = true
    listening.goOn(hanging)
    await until(() => hanging.events().length === journal.events.length - eventsBefore)
    t.same(hanging.events(), at[0].events())
  },
)

t.test('a position whose records are gone is refused with one that is there', async (t) => {
  const journal = await FeedJournal.make(t, postgres)
  for (let batch = 0; batch < 10; batch++) await journal.append(100)
  await journal.archive(500)
  const listening = new Listening(t, journal)
  const refused = await listening.listen({ after: '0' })
  t.match(refused.fault, { code: 'position_gone', kept: /\.1-\d+$/ })
  const kept = Number(refused.fault?.kept?.split('-')[1])
  t.ok(kept > 300 && kept <= 500, `kept after ${kept}`)
  const heard = await listening.listen({ after: refused.fault?.kept })
  const rest = journal.eventsAfter(kept)
  await until(() => heard.events().length === rest.length)
  t.same(heard.events(), rest)
})

t.test('a listener that is overtaken by the archive is told so', async (t) => {
  const journal = await FeedJournal.make(t, postgres)
  for (let batch = 0; batch < 20; batch++) await journal.append(100)
  const listening = new Listening(t, journal)
  const heard = await listening.listen({ after: '0' }, false)
  await journal.archive(1900)
  heard.isTaking = true
  listening.goOn(heard)
  await until(() => heard.fault !== undefined)
  t.match(heard.fault, { code: 'position_gone', kept: /\.1-\d+$/ })
  t.same(heard.events(), journal.events.slice(0, heard.events().length), 'no gap before')
})

t.test('a journal that has lost its end is not taken for an idle one', async (t) => {
  const journal = await FeedJournal.make(t, postgres)
  await journal.append(30)
  const listening = new Listening(t, journal)
  const heard = await listening.listen({ after: '0' })
  await until(() => heard.position?.endsWith('.1-30') === true)
  await withClient(journal.connectionString, (client) =>
    client.query('update daybook.stream set head = 20 where id = 1'),
  )
  await until(() => heard.fault !== undefined)
  t.equal(heard.fault?.code, 'position_unknown')
  t.equal((await listening.listen({ after: heard.position })).fault?.code, 'position_unknown')
})

t.test('damage is told to the listener, and nothing behind it', async (t) => {
  const journal = await FeedJournal.make(t, postgres)
  await journal.append(600)
  await withClient(journal.connectionString, (client) =>
    client.query(
      `update daybook.journal set payload = set_byte(payload, 40, get_byte(payload, 40) # 1)
       where first_seq = (select max(first_seq) from daybook.journal where first_seq <= 550)`,
    ),
  )
  const listening = new Listening(t, journal)
  const heard = await listening.listen({ after: '0' })
  await until(() => heard.fault !== undefined)
  t.equal(heard.fault?.code, 'journal_damaged')
  const events = heard.events()
  t.same(events, journal.events.slice(0, events.length))
})

t.test('a connection that breaks is made again, and nothing is missing', async (t) => {
  const journal = await FeedJournal.make(t, postgres)
  const listening = new Listening(t, journal)
  const heard = await listening.listen({})
  for (let round = 0; round < 3; round++) {
    await journal.append(50)
    await withClient(journal.connectionString, (client) =>
      client.query(
        `select pg_terminate_backend(pid) from pg_stat_activity
         where datname = current_database() and application_name = 'daybook feed'`,
      ),
    )
    await journal.append(50)
    await until(() => heard.events().length === journal.events.length)
  }
  t.same(heard.events(), journal.events)
  t.ok(listening.troubles.length > 0, 'it was said')
})

t.test('when nobody listens any more it has no connection', async (t) => {
  const journal = await FeedJournal.make(t, postgres)
  await journal.append(5)
  const listening = new Listening(t, journal)
  const connections = () =>
    withClient(journal.connectionString, async (client) => {
      const { rows } = await client.query(
        "select from pg_stat_activity where datname = current_database() and application_name like 'daybook%'",
      )
      return rows.length
    })
  const idle = await connections()
  const heard = await listening.listen({ after: '0' })
  await until(() => heard.events().length === journal.events.length)
  t.ok((await connections()) > idle)
  listening.leave(heard)
  await until(async () => (await connections()) === idle)
})
