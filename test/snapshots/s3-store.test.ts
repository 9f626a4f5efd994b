import { randomBytes } from 'node:crypto'
import { inspect } from 'node:util'
import t from 'tap'
import { openSnapshotStore } from '../../src/snapshots/open-store.js'
import type { SnapshotStore, SnapshotStoreConfig } from '../../src/snapshots/store.js'
import type { Teardown } from '../postgres.js'
import { type S3Fate, type S3Request, S3Server } from './s3-server.js'
import {
  manifestOf,
  newBookId,
  newSnapshotId,
  type StoreFixture,
  storeContract,
  storeSnapshot,
} from './store-contract.js'

const dayMs = 24 * 3_600_000
/** With all that a signature, an address and XML have to escape. */
const prefix = "ledgers/a b+c&d=e<f>'(g)*~%41?#ü"

interface S3Fixture extends StoreFixture {
  server: S3Server
  open(changes?: Partial<S3Config>): SnapshotStore
}

type S3Config = Extract<SnapshotStoreConfig, { kind: 's3' }>

async function fixture(t: Teardown): Promise<S3Fixture> {
  const server = await S3Server.start(t)
  // So that every listing has several pages.
  server.pageSize = 2
  const open = (changes: Partial<S3Config> = {}) =>
    openSnapshotStore({ kind: 's3', ...server.address, prefix, ...changes })
  return {
    server,
    open,
    store: open(),
    other: open(),
    remains: async (bookId) => [...server.objects.keys()].filter((key) => key.includes(bookId)),
    async loseBlock({ bookId, id }, number) {
      const key = `${prefix}/${bookId}/${id}/${String(number).padStart(6, '0')}.block`
      if (!server.objects.delete(key)) throw new Error(`there is no ${key}`)
    },
  }
}

storeContract(t, fixture)

t.test('objects have the names that are described', async (t) => {
  const { server, store, open } = await fixture(t)
  const name = { bookId: newBookId(), id: newSnapshotId() }
  await storeSnapshot(store, name, [Buffer.from('first'), Buffer.from('second')])
  const names = ['000000.block', '000001.block', 'manifest']
  const below = (start: string) => names.map((each) => `${start}${name.bookId}/${name.id}/${each}`)
  t.same([...server.objects.keys()].sort(), below(`${prefix}/`))
  server.objects.clear()
  await storeSnapshot(open({ prefix: '' }), name, [Buffer.from('first'), Buffer.from('second')])
  t.same([...server.objects.keys()].sort(), below(''))
  t.equal((await open({ prefix: '' }).list(name.bookId)).length, 1)
})

t.test('long listings are read to their end', async (t) => {
  const { store, server } = await fixture(t)
  const bookId = newBookId()
  const ids = Array.from({ length: 7 }, (_, index) => newSnapshotId(index * 1000))
  for (const id of ids) await storeSnapshot(store, { bookId, id }, [Buffer.from('block')])
  server.objects.set(`${prefix}/${bookId}/notes/manifest`, Buffer.from('not ours'))
  t.same(
    (await store.list(bookId)).map(({ id }) => id),
    ids,
  )
})

t.test('the order in which a service lists does not matter', async (t) => {
  const { store, server } = await fixture(t)
  const bookId = newBookId()
  const ids = Array.from({ length: 5 }, (_, index) => newSnapshotId(index * 1000))
  for (const id of ids) await storeSnapshot(store, { bookId, id })
  server.pageSize = 1000
  const turned = (text: string) => text.split('\n').reverse().join('\n')
  server.onBody = (body, { key }) =>
    key === '' ? Buffer.from(`${body}`.replace(/(<CommonPrefixes>.*\n)+/, turned)) : body
  t.same(
    (await store.list(bookId)).map(({ id }) => id),
    ids,
  )
})

for (const fate of [503, 429, 'cut', 'cut answer'] as S3Fate[]) {
  t.test(`two answers of ${fate} in a row are got over`, async (t) => {
    const { store, server } = await fixture(t)
    const name = { bookId: newBookId(), id: newSnapshotId() }
    let requests = 0
    server.onRequest = () => {
      requests += 1
      return requests % 3 === 0 ? 'pass' : fate
    }
    const block = randomBytes(100_000)
    await storeSnapshot(store, name, [block])
    t.same(await store.list(name.bookId), [{ ...name, manifest: manifestOf(name) }])
    t.same(await store.readBlock(name, 0), block)
    await store.remove(name)
    t.same(await store.list(name.bookId), [])
    t.equal(server.objects.size, 0)
  })
}

t.test('a service that stays away is given up after some attempts', async (t) => {
  const { store, server } = await fixture(t)
  server.onRequest = () => 503
  await t.rejects(store.list(newBookId()), { code: 'SlowDown' })
  t.equal(server.requests.length, 5)
})

t.test('what the service refuses for good is not asked again', async (t) => {
  const { server, open } = await fixture(t)
  const bookId = newBookId()
  const refusals: [Partial<S3Config>, string][] = [
    [{ secretAccessKey: 'another' }, 'SignatureDoesNotMatch'],
    [{ accessKeyId: 'another' }, 'InvalidAccessKeyId'],
    [{ region: 'another' }, 'SignatureDoesNotMatch'],
    [{ bucket: 'another' }, 'NoSuchBucket'],
  ]
  for (const [changes, code] of refusals) {
    const { length } = server.requests
    await t.rejects(open(changes).list(bookId), { code })
    t.equal(server.requests.length, length + 1)
    await t.rejects(open(changes).readBlock({ bookId, id: newSnapshotId() }, 0), { code })
  }
  await t.rejects(open({ secretAccessKey: 'another' }).begin({ bookId, id: newSnapshotId() }), {
    code: 'http_403',
  })
})

t.test('nothing is stored or listed by an answer that finds nothing', async (t) => {
  const { server, store } = await fixture(t)
  const name = { bookId: newBookId(), id: newSnapshotId() }
  const sink = await store.begin(name)
  server.onRequest = () => 404
  const notFound = { code: 'NotFound' }
  await t.rejects(sink.put(0, Buffer.from('first')), notFound)
  await t.rejects(sink.finish(manifestOf(name)), notFound)
  await t.rejects(store.list(name.bookId), notFound)
  await t.rejects(store.sweep(name.bookId), notFound)
})

t.test('no request takes longer than the deadline', async (t) => {
  const { server, store, open } = await fixture(t)
  const name = { bookId: newBookId(), id: newSnapshotId() }
  const sink = await store.begin(name)
  server.onRequest = () => 'hang'
  const hasty = open({ timeoutMs: 100 })
  await t.rejects(hasty.list(name.bookId), { code: 'timeout' })
  await t.rejects(hasty.readBlock(name, 0), { code: 'timeout' })
  await t.rejects(hasty.begin(name), { code: 'timeout' })
  server.onRequest = () => 503
  await t.rejects(hasty.list(name.bookId), { code: 'timeout' }, 'the attempts together')
  server.onRequest = () => 'pass'
  await sink.abandon()
})

t.test('a block that was damaged on its way is refused by the service', async (t) => {
  const { server, store } = await fixture(t)
  const sink = await store.begin({ bookId: newBookId(), id: newSnapshotId() })
  server.onUpload = (body) => Buffer.concat([body.subarray(1), Buffer.from('x')])
  await t.rejects(sink.put(0, Buffer.from('first')), { code: 'XAmzContentSHA256Mismatch' })
  t.equal(server.objects.size, 0)
})

t.test('what does not list a bucket is no empty bucket', async (t) => {
  const { server, store } = await fixture(t)
  const bookId = newBookId()
  await storeSnapshot(store, { bookId, id: newSnapshotId(1) })
  const isList = ({ key }: S3Request) => key === ''
  server.onBody = (body, request) => (isList(request) ? Buffer.from('<html>Log in</html>') : body)
  await t.rejects(store.list(bookId), { code: 'bad_listing' })
  await t.rejects(store.sweep(bookId), { code: 'bad_listing' })
  const truncated = (text: string) => text.replace('Truncated>false', 'Truncated>true')
  server.onBody = (body, request) => (isList(request) ? Buffer.from(truncated(`${body}`)) : body)
  await t.rejects(store.list(bookId), { code: 'bad_listing' })
  const token = '<NextContinuationToken>a</NextContinuationToken></L'
  server.onBody = (body, request) =>
    isList(request) ? Buffer.from(truncated(`${body}`).replace('</L', token)) : body
  await t.rejects(store.list(bookId), { code: 'bad_listing' }, 'the same page for ever')
})

t.test('a builder of whom nothing is heard for a day is swept, and stops before', async (t) => {
  const { store, remains } = await fixture(t)
  const bookId = newBookId()
  const sinks = [22.9, 23.9, 24.1, 48].map(async (hours) => {
    const name = { bookId, id: newSnapshotId((hours / 24) * dayMs) }
    const sink = await store.begin(name)
    await sink.put(0, Buffer.from('first'))
    return { name, sink }
  })
  const [young, late, old, older] = await Promise.all(sinks)
  await t.rejects(late.sink.finish(manifestOf(late.name)), { message: /built for too long/ })
  t.equal(await store.sweep(bookId), 2)
  const left = await remains(bookId)
  for (const { name } of [old, older]) t.notOk(left.some((key) => key.includes(name.id)))
  for (const { name } of [young, late]) t.ok(left.some((key) => key.includes(name.id)))
  await young.sink.finish(manifestOf(young.name))
  t.same(
    (await store.list(bookId)).map(({ id }) => id),
    [young.name.id],
  )
})

t.test('a finished snapshot is not swept, however old', async (t) => {
  const { store, server } = await fixture(t)
  const name = { bookId: newBookId(), id: newSnapshotId() }
  await storeSnapshot(store, name)
  const old = { ...name, id: newSnapshotId(30 * dayMs) }
  for (const [key, bytes] of [...server.objects]) {
    server.objects.set(key.replace(name.id, old.id), bytes)
  }
  const { size } = server.objects
  t.equal(await store.sweep(name.bookId), 0)
  t.equal(server.objects.size, size)
})

t.test('a sweep that cannot see a manifest for sure removes nothing', async (t) => {
  const { store, server } = await fixture(t)
  const name = { bookId: newBookId(), id: newSnapshotId(30 * dayMs) }
  server.objects.set(`${prefix}/${name.bookId}/${name.id}/000000.block`, Buffer.from('first'))
  server.objects.set(`${prefix}/${name.bookId}/${name.id}/manifest`, manifestOf(name))
  server.onRequest = ({ method }) => (method === 'HEAD' ? 503 : 'pass')
  await t.rejects(store.sweep(name.bookId), { code: 'http_503' })
  t.equal(server.objects.size, 2)
})

t.test('the manifest goes first', async (t) => {
  const { store, server } = await fixture(t)
  const name = { bookId: newBookId(), id: newSnapshotId() }
  await storeSnapshot(store, name, [Buffer.from('first'), Buffer.from('second')])
  server.onRequest = ({ method, key }) =>
    method === 'DELETE' && key.endsWith('.block') ? 503 : 'pass'
  await t.rejects(store.remove(name), { code: 'SlowDown' })
  t.same(await store.list(name.bookId), [])
  t.equal(server.objects.size, 2)
})

t.test('the secret is in no error, and not in the store either', async (t) => {
  const { server, open } = await fixture(t)
  const name = { bookId: newBookId(), id: newSnapshotId() }
  const { secretAccessKey } = server.address
  const seen = [inspect(open(), { depth: 10, showHidden: true, getters: true })]
  const hasty = open({ timeoutMs: 200 })
  for (const fate of [503, 'cut', 'cut answer', 'hang', 'pass'] as S3Fate[]) {
    server.onRequest = () => fate
    for (const store of [hasty, open({ accessKeyId: 'another', timeoutMs: 200 })]) {
      await store.list(name.bookId).catch((error) => seen.push(whole(error)))
      await store.begin(name).catch((error) => seen.push(whole(error)))
    }
  }
  t.ok(seen.length > 10)
  for (const endpoint of [`http://user:${encodeURIComponent(secretAccessKey)}@localhost`, 'a b']) {
    t.throws(() => open({ endpoint }), TypeError)
    try {
      open({ endpoint })
    } catch (error) {
      seen.push(whole(error as Error))
    }
  }
  for (const text of seen) {
    t.notOk(text.includes(secretAccessKey) || text.includes(encodeURIComponent(secretAccessKey)))
  }
})

function whole(error: Error): string {
  return inspect(error, { depth: 20, showHidden: true, getters: true }) + JSON.stringify(error)
}

t.test('endpoint, bucket and prefix are part of an address, or refused', async (t) => {
  const { open } = await fixture(t)
  const wrong: Partial<S3Config>[] = [
    { bucket: '..' },
    { bucket: 'a/b' },
    { bucket: '' },
    { prefix: '/a' },
    { prefix: 'a/' },
    { prefix: 'a/../b' },
    { prefix: '.' },
    { endpoint: 'ftp://localhost' },
    { endpoint: 'localhost' },
  ]
  for (const changes of wrong) t.throws(() => open(changes), TypeError, JSON.stringify(changes))
})
