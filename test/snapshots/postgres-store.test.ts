import pg from 'pg'
import t from 'tap'
import { migrate } from '../../src/journal/migrate.js'
import { openSnapshotStore } from '../../src/snapshots/open-store.js'
import type { SnapshotStore, SnapshotStoreConfig } from '../../src/snapshots/store.js'
import { PostgresProxy } from '../e2e/proxy.js'
import { until } from '../journal/faulty-store.js'
import { type Teardown, temporaryPostgres } from '../postgres.js'
import { BuildingProcess } from './killed-builder.js'
import {
  manifestOf,
  newBookId,
  newSnapshotId,
  type StoreFixture,
  storeContract,
  storeSnapshot,
} from './store-contract.js'

const postgres = await temporaryPostgres(t)
const connectionString = await postgres.createDatabase()

interface PostgresFixture extends StoreFixture {
  /** Somebody else's connection. */
  client: pg.Client
}

async function fixture(t: Teardown): Promise<PostgresFixture> {
  const client = await connect(t)
  const remains = async (bookId: string) => {
    const { rows } = await client.query<{ id: string; number: number | null }>(
      `select s.id, b.number from daybook.snapshot s
       left join daybook.snapshot_block b on b.snapshot = s.number
       where book_id = $1 order by s.id, b.number`,
      [bookId],
    )
    return rows.map(({ id, number }) => `${id} ${number}`)
  }
  return {
    client,
    store: open(t, connectionString),
    other: open(t, connectionString),
    remains,
    async loseBlock({ id }, number) {
      await client.query(
        `delete from daybook.snapshot_block b using daybook.snapshot s
         where s.number = b.snapshot and s.id = $1 and b.number = $2`,
        [id, number],
      )
    },
  }
}

async function connect(t: Teardown): Promise<pg.Client> {
  const client = new pg.Client({ connectionString })
  client.on('error', () => undefined)
  await client.connect()
  t.teardown(() => client.end())
  return client
}

function open(t: Teardown, address: string, timeoutMs = 20_000): SnapshotStore {
  const store = openSnapshotStore(config(address, timeoutMs))
  t.teardown(() => store.close())
  return store
}

function config(address: string, timeoutMs = 20_000): SnapshotStoreConfig {
  return { kind: 'postgres', connectionString: address, timeoutMs }
}

/** What the server knows of the connections of snapshots: number of the process, and what it does. */
async function backends(client: pg.Client): Promise<pg.QueryResultRow[]> {
  const { rows } = await client.query(
    `select pid, state, xact_start, backend_xmin, wait_event_type from pg_stat_activity
     where application_name = 'daybook snapshots' and datname = current_database()`,
  )
  return rows
}

await migrate(await connect(t))

storeContract(t, fixture)

t.test('no transaction is open while a snapshot is built', async (t) => {
  const { store, client } = await fixture(t)
  const idle = { state: 'idle', xact_start: null, backend_xmin: null }
  const others = (await backends(client)).map(({ pid }) => pid)
  const ours = async () => (await backends(client)).filter(({ pid }) => !others.includes(pid))
  const sink = await store.begin({ bookId: newBookId(), id: newSnapshotId() })
  t.match(await ours(), [idle])
  await sink.put(0, Buffer.from('first'))
  t.match(await ours(), [idle])
  await sink.finish(Buffer.from('manifest'))
  await until(async () => (await ours()).length === 0)
})

t.test('what a killed builder has left is swept, and not before it is dead', async (t) => {
  const { store, remains } = await fixture(t)
  const bookId = newBookId()
  const kept = { bookId, id: newSnapshotId(1000) }
  await storeSnapshot(store, kept)
  const before = await remains(bookId)
  const name = { bookId, id: newSnapshotId() }
  const builder = await BuildingProcess.start(t, config(connectionString), name)
  t.equal(await store.sweep(bookId), 0)
  t.ok((await remains(bookId)).includes(`${name.id} 0`))
  await builder.kill()
  t.equal(await store.sweep(newBookId()), 0, 'nor by the sweep of another book')
  // The server may take a moment to notice.
  let swept = 0
  await until(async () => {
    swept += await store.sweep(bookId)
    return swept > 0
  })
  t.equal(swept, 1)
  t.same(await remains(bookId), before)
  t.equal(await store.sweep(bookId), 0)
})

t.test('a removal that was cut off is finished by a sweep', async (t) => {
  const { store, client, remains } = await fixture(t)
  const name = { bookId: newBookId(), id: newSnapshotId() }
  await storeSnapshot(store, name)
  await client.query('update daybook.snapshot set manifest = null where id = $1', [name.id])
  t.same(await store.list(name.bookId), [])
  t.equal(await store.sweep(name.bookId), 1)
  t.same(await remains(name.bookId), [])
})

t.test(
  'a snapshot is never removed as a whole, but its manifest first and then by pieces',
  async (t) => {
    const { store, client } = await fixture(t)
    const name = { bookId: newBookId(), id: newSnapshotId() }
    const blocks = Array.from({ length: 60 }, () => Buffer.from('block'))
    await storeSnapshot(store, name, blocks)
    await client.query(`
    create table seen (had_manifest boolean, transaction text, blocks int);
    create function see() returns trigger language plpgsql as $$ begin
      insert into seen select (select count(manifest) > 0 from daybook.snapshot where number = (select min(snapshot) from gone)),
        pg_current_xact_id()::text, (select count(*) from gone) having (select count(*) from gone) > 0;
      return null; end $$;
    create trigger see after delete on daybook.snapshot_block
      referencing old table as gone for each statement execute function see()`)
    await store.remove(name)
    await client.query('drop trigger see on daybook.snapshot_block')
    const { rows } = await client.query(
      'select had_manifest, sum(blocks)::int as blocks from seen group by 1, transaction',
    )
    t.same(
      rows.map(({ blocks }) => blocks).sort((a, b) => a - b),
      [10, 25, 25],
    )
    t.notOk(rows.some(({ had_manifest }) => had_manifest))
  },
)

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
  const watcher = await connect(t)
  await until(async () =>
    (await backends(watcher)).some(({ wait_event_type }) => wait_event_type === 'Lock'),
  )
  return { client, remains, other, proxy, sink, name, finished }
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
  const store = open(t, proxy.connectionString, 100)
  const name = { bookId: newBookId(), id: newSnapshotId() }
  const patient = open(t, proxy.connectionString)
  const sink = await patient.begin(name)
  proxy.silence()
  await t.rejects(store.list(name.bookId))
  await t.rejects(store.readBlock(name, 0))
  await t.rejects(store.sweep(name.bookId))
  await t.rejects(store.begin({ ...name, id: newSnapshotId() }))
  await store.close()
  proxy.heal()
  await t.rejects(sink.put(0, Buffer.from('first')))
  t.same(await other.list(name.bookId), [])
})

t.test('an answer that does not come ends a sink', async (t) => {
  const { sink, finished, other, name, client } = await finishing(t, 3000)
  await t.rejects(finished)
  await client.query('rollback')
  await sink.abandon()
  t.same(await other.list(name.bookId), [])
})

t.test('errors of the server carry on as they are', async (t) => {
  const { store, client } = await fixture(t)
  const name = { bookId: newBookId(), id: newSnapshotId() }
  const sink = await store.begin(name)
  await sink.put(0, Buffer.from('first'))
  await t.rejects(sink.put(0, Buffer.from('again')), { code: '23505' })
  await sink.put(1, Buffer.from('second'))
  await sink.finish(manifestOf(name))
  t.same(await store.readBlock(name, 0), Buffer.from('first'))
  await t.rejects(store.begin(name), { code: '23505' })
  const empty = await postgres.createDatabase()
  await t.rejects(open(t, empty).list(name.bookId), { code: '42P01' })
  await t.rejects(open(t, empty).begin(name), { code: '42P01' })
  t.match(await client.query('show synchronous_commit'), { rows: [{ synchronous_commit: 'on' }] })
})

t.test('no more than two connections read', async (t) => {
  const { store, client } = await fixture(t)
  const name = { bookId: newBookId(), id: newSnapshotId() }
  await storeSnapshot(store, name)
  const others = (await backends(client)).map(({ pid }) => pid)
  await client.query('begin')
  await client.query('lock table daybook.snapshot_block in access exclusive mode')
  const reads = Array.from({ length: 6 }, () => store.readBlock(name, 0))
  const ours = async () =>
    (await backends(client)).filter(
      ({ pid, wait_event_type }) => !others.includes(pid) || wait_event_type === 'Lock',
    )
  await until(async () => {
    await client.query('select pg_stat_clear_snapshot()')
    return (await ours()).filter(({ wait_event_type }) => wait_event_type === 'Lock').length >= 2
  })
  t.equal((await ours()).length, 2)
  await client.query('commit')
  t.equal((await Promise.all(reads)).length, 6)
})
