import t from 'tap'
import { PostgresProxy } from '../e2e/proxy.js'
import { until } from '../journal/faulty-store.js'
import { type Teardown, temporaryPostgres } from '../postgres.js'
import { backends, connect, open, postgresFixture } from './postgres-fixture.js'
import { manifestOf, newBookId, newSnapshotId } from './store-contract.js'

/** A builder loses its connection at the worst moments: the snapshot is whole, or it is none. */

const postgres = await temporaryPostgres(t)
const connectionString = await postgres.createDatabase()
const fixture = (t: Teardown) => postgresFixture(t, connectionString)

t.test('who loses the connection hears it, and what was built is swept', async (t) => {
  const { store, client, remains } = await fixture(t)
  const name = { bookId: newBookId(), id: newSnapshotId() }
  const others = (await backends(client)).map(({ pid }) => pid)
  const sink = await store.begin(name)
  await sink.put(0, Buffer.from('first'))
  const ours = (await backends(client)).filter(({ pid }) => !others.includes(pid))
  t.equal(ours.length, 1)
  await client.query('select pg_terminate_backend($1, 20000)', [ours[0].pid])
  await t.rejects(sink.put(1, Buffer.from('second')))
  await t.rejects(sink.finish(manifestOf(name)), { message: /lost before it was finished/ })
  t.same(await store.list(name.bookId), [])
  t.same(await remains(name.bookId), [`${name.id} 0`])
  t.equal(await store.sweep(name.bookId), 1)
  await t.rejects(sink.finish(manifestOf(name)), 'nor does it come back')
  await sink.abandon()
  t.same(await remains(name.bookId), [])
})

t.test(
  'who loses the connection and gives up leaves nothing, once the server has noticed',
  async (t) => {
    const { store, client, remains } = await fixture(t)
    const name = { bookId: newBookId(), id: newSnapshotId() }
    const others = (await backends(client)).map(({ pid }) => pid)
    const sink = await store.begin(name)
    await sink.put(0, Buffer.from('first'))
    const ours = (await backends(client)).filter(({ pid }) => !others.includes(pid))
    await client.query('select pg_terminate_backend($1, 20000)', [ours[0].pid])
    await sink.abandon()
    t.same(await remains(name.bookId), [])
  },
)

/** A sink that reaches Postgres through a proxy, and whose manifest waits for a row's lock. */
async function finishing(t: Teardown, timeoutMs: number) {
  const { client, remains, other } = await fixture(t)
  const proxy = await PostgresProxy.start(t, connectionString)
  const store = open(t, proxy.connectionString, timeoutMs)
  const name = { bookId: newBookId(), id: newSnapshotId() }
  const sink = await store.begin(name)
  await sink.put(0, Buffer.from('first'))
  await client.query('begin')
  await client.query('select 1 from daybook.snapshot where id = $1 for update', [name.id])
  const finished = sink.finish(manifestOf(name))
  finished.catch(() => undefined)
  const watcher = await connect(t, connectionString)
  await until(async () =>
    (await backends(watcher)).some(({ wait_event_type }) => wait_event_type === 'Lock'),
  )
  return { client, watcher, remains, other, proxy, sink, name, finished }
}

t.test('a manifest that was set unheard is found by finishing again', async (t) => {
  const { client, other, proxy, sink, name, finished } = await finishing(t, 20_000)
  proxy.silence()
  await client.query('commit')
  await until(async () => (await other.list(name.bookId)).length === 1)
  t.equal(await other.sweep(name.bookId), 0)
  proxy.heal()
  await t.rejects(finished)
  await sink.finish(manifestOf(name))
  t.same(await other.list(name.bookId), [{ ...name, manifest: manifestOf(name) }])
  await sink.abandon()
  t.same(await other.readBlock(name, 0), Buffer.from('first'))
})

t.test('a manifest that may still be set is not swept, nor given up half', async (t) => {
  const { client, remains, other, proxy, sink, name, finished } = await finishing(t, 20_000)
  proxy.silence()
  proxy.heal()
  await t.rejects(finished)
  await t.rejects(sink.finish(manifestOf(name)), { message: /lost before it was finished/ })
  // The old backend waits for the row, with its lock held, and does not know that nobody listens.
  await sink.abandon()
  t.equal(await other.sweep(name.bookId), 0)
  t.same(await remains(name.bookId), [`${name.id} 0`])
  await client.query('commit')
  await until(async () => (await other.list(name.bookId)).length === 1)
  t.same(await other.readBlock(name, 0), Buffer.from('first'), 'whole, or not at all')
})

t.test('a server that says nothing is given up at the deadline', async (t) => {
  const { other } = await fixture(t)
  const proxy = await PostgresProxy.start(t, connectionString)
  const store = open(t, proxy.connectionString, 3000)
  const name = { bookId: newBookId(), id: newSnapshotId() }
  const sink = await store.begin(name)
  await store.list(name.bookId)
  proxy.silence()
  await Promise.all([
    t.rejects(store.list(name.bookId), 'on a connection that was there'),
    t.rejects(store.readBlock(name, 0), 'on a new one'),
    t.rejects(store.begin({ ...name, id: newSnapshotId() })),
    t.rejects(sink.put(0, Buffer.from('first'))),
  ])
  await t.rejects(store.sweep(name.bookId))
  await store.close()
  t.same(await other.list(name.bookId), [])
})

t.test('an answer that does not come ends a sink', async (t) => {
  const { sink, finished, other, name, client, watcher } = await finishing(t, 3000)
  await t.rejects(finished)
  // The server gives up as well, although nobody tells it to.
  await until(async () =>
    (await backends(watcher)).every(({ wait_event_type }) => wait_event_type !== 'Lock'),
  )
  await client.query('rollback')
  await sink.abandon()
  t.same(await other.list(name.bookId), [])
})
