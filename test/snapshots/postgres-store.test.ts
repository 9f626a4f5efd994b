import pg from 'pg'
import t from 'tap'
import { removeForsaken } from '../../src/snapshots/postgres-unfinished.js'
import { until } from '../journal/faulty-store.js'
import { type Teardown, temporaryPostgres } from '../postgres.js'
import { BuildingProcess, startBuildingThread } from './killed-builder.js'
import { backends, config, open, postgresFixture } from './postgres-fixture.js'
import {
  manifestOf,
  newBookId,
  newSnapshotId,
  storeContract,
  storeSnapshot,
} from './store-contract.js'

const postgres = await temporaryPostgres(t)
const connectionString = await postgres.createDatabase()
const fixture = (t: Teardown) => postgresFixture(t, connectionString)

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

t.test('only finishing waits for the disk, and that for all there is', async (t) => {
  const { store, client } = await fixture(t)
  const name = { bookId: newBookId(), id: newSnapshotId() }
  await client.query(`
    create table waits (of text, setting text);
    create function note() returns trigger language plpgsql as $$ begin
      insert into waits values (tg_table_name, current_setting('synchronous_commit'));
      return null; end $$;
    create trigger note after insert on daybook.snapshot_block execute function note();
    create trigger note after update on daybook.snapshot execute function note()`)
  await storeSnapshot(store, name)
  await client.query(
    'drop trigger note on daybook.snapshot_block; drop trigger note on daybook.snapshot',
  )
  const { rows } = await client.query('select of, setting from waits')
  t.same(rows, [
    { of: 'snapshot_block', setting: 'off' },
    { of: 'snapshot', setting: 'on' },
  ])
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

t.test('what a thread has left is swept while its process goes on', async (t) => {
  const { store, remains } = await fixture(t)
  const name = { bookId: newBookId(), id: newSnapshotId() }
  const thread = await startBuildingThread(t, config(connectionString), name)
  t.equal(await store.sweep(name.bookId), 0)
  await thread.terminate()
  await until(async () => (await store.sweep(name.bookId)) === 1)
  t.same(await remains(name.bookId), [])
})

t.test('a sweep that had looked before it was finished leaves it whole', async (t) => {
  const { store, client, remains } = await fixture(t)
  const name = { bookId: newBookId(), id: newSnapshotId() }
  await storeSnapshot(store, name)
  const before = await remains(name.bookId)
  const { rows } = await client.query('select number from daybook.snapshot where id = $1', [
    name.id,
  ])
  const pool = new pg.Pool({ connectionString })
  t.teardown(() => pool.end())
  t.equal(await removeForsaken(pool, rows[0].number), false)
  t.same(await remains(name.bookId), before)
  await store.remove(name)
  t.same(await remains(name.bookId), [], 'and has let its lock go')
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
