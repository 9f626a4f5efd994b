import { execFile } from 'node:child_process'
import { readlinkSync } from 'node:fs'
import {
  mkdir,
  open,
  readdir,
  readFile,
  rename,
  rm,
  stat,
  utimes,
  writeFile,
} from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { promisify } from 'node:util'
import t from 'tap'
import { openSnapshotStore } from '../../src/snapshots/open-store.js'
import { removeUnlessFinished } from '../../src/snapshots/removed-folder.js'
import { until } from '../journal/faulty-store.js'
import { type Teardown, temporaryFolder } from '../postgres.js'
import { BuildingProcess, startBuildingThread } from './killed-builder.js'
import {
  manifestOf,
  newBookId,
  newSnapshotId,
  type StoreFixture,
  storeContract,
  storeSnapshot,
} from './store-contract.js'

interface DirectoryFixture extends StoreFixture {
  path: string
}

async function fixture(t: Teardown): Promise<DirectoryFixture> {
  // Made by the store itself.
  const path = join(await temporaryFolder(t), 'kept', 'snapshots')
  return {
    path,
    store: openSnapshotStore({ kind: 'directory', path }),
    other: openSnapshotStore({ kind: 'directory', path }),
    remains: (bookId) => namesIn(join(path, bookId)),
    loseBlock: ({ bookId, id }, number) =>
      rm(join(path, bookId, id, `${String(number).padStart(6, '0')}.block`)),
  }
}

async function namesIn(folder: string): Promise<string[]> {
  return (await readdir(folder, { recursive: true })).sort()
}

storeContract(t, fixture)

const onLinux = { skip: process.platform !== 'linux' && 'it takes /proc' }

t.test('the folder of a snapshot is as it is described, and nobody else may read it', async (t) => {
  const { store, path } = await fixture(t)
  const name = { bookId: newBookId(), id: newSnapshotId() }
  await storeSnapshot(store, name, [Buffer.from('first'), Buffer.from('second')])
  const folder = join(path, name.bookId, name.id)
  t.same(await namesIn(folder), ['000000.block', '000001.block', 'manifest'])
  t.same(await readFile(join(folder, '000001.block')), Buffer.from('second'))
  t.same(await readFile(join(folder, 'manifest')), manifestOf(name))
  for (const each of [path, join(path, name.bookId), folder]) {
    t.equal((await stat(each)).mode & 0o777, 0o700, each)
  }
  for (const each of await namesIn(folder)) {
    t.equal((await stat(join(folder, each))).mode & 0o777, 0o600, each)
  }
})

t.test('what a killed builder has left is swept, and not before it is dead', async (t) => {
  const { store, path, remains } = await fixture(t)
  const bookId = newBookId()
  const kept = { bookId, id: newSnapshotId(1000) }
  await storeSnapshot(store, kept)
  const before = await remains(bookId)
  const name = { bookId, id: newSnapshotId() }
  const builder = await BuildingProcess.start(t, { kind: 'directory', path }, name)
  t.equal(await store.sweep(bookId), 0)
  t.ok((await remains(bookId)).includes(join(name.id, '000000.block')))
  await builder.kill()
  t.equal(await store.sweep(newBookId()), 0, 'nor by the sweep of another book')
  t.same(
    (await store.list(bookId)).map(({ id }) => id),
    [kept.id],
  )
  t.equal(await store.sweep(bookId), 1)
  t.same(await remains(bookId), before)
  t.equal(await store.sweep(bookId), 0)
})

t.test('what a thread has left is swept while its process goes on', onLinux, async (t) => {
  const { store, path, remains } = await fixture(t)
  const name = { bookId: newBookId(), id: newSnapshotId() }
  const thread = await startBuildingThread(t, { kind: 'directory', path }, name)
  t.equal(await store.sweep(name.bookId), 0)
  await thread.terminate()
  // The system may take a moment to forget it.
  await until(async () => (await store.sweep(name.bookId)) === 1)
  t.same(await remains(name.bookId), [])
})

t.test('who has only the number of the builder does not keep its snapshot', async (t) => {
  const { store, path, remains } = await fixture(t)
  const name = { bookId: newBookId(), id: newSnapshotId() }
  await store.begin(name)
  const file = join(path, name.bookId, name.id, 'builder')
  const builder = JSON.parse(await readFile(file, 'utf8'))
  t.match(builder, { thread: new RegExp(`^${process.pid}\\b`), place: /./, start: /./ })
  await writeFile(file, JSON.stringify({ ...builder, start: `${builder.start}0` }))
  t.equal(await store.sweep(name.bookId), 1)
  t.same(await remains(name.bookId), [])
})

t.test('of a builder that cannot be seen from here, only time tells', async (t) => {
  const { store, path, remains } = await fixture(t)
  const bookId = newBookId()
  const [elsewhere, unreadable, nameless] = [newSnapshotId(2), newSnapshotId(1), newSnapshotId()]
  for (const id of [elsewhere, unreadable, nameless]) await store.begin({ bookId, id })
  const folder = (id: string) => join(path, bookId, id)
  // A number that nobody has, of another machine.
  const other = { thread: String(2 ** 30), place: 'another', start: '1' }
  await writeFile(join(folder(elsewhere), 'builder'), JSON.stringify(other))
  await writeFile(join(folder(unreadable), 'builder'), '{"thread":')
  await rm(join(folder(nameless), 'builder'))
  const age = async (hours: number) => {
    const time = Date.now() / 1000 - hours * 3600
    for (const id of [elsewhere, unreadable, nameless]) await utimes(folder(id), time, time)
  }
  await age(23)
  t.equal(await store.sweep(bookId), 0)
  await age(25)
  t.equal(await store.sweep(bookId), 3)
  t.same(await remains(bookId), [])
})

t.test('a finished snapshot is not swept, however old', async (t) => {
  const { store, path, remains } = await fixture(t)
  const name = { bookId: newBookId(), id: newSnapshotId() }
  await storeSnapshot(store, name)
  const before = await remains(name.bookId)
  const folder = join(path, name.bookId, name.id)
  for (const each of [folder, dirname(folder)]) await utimes(each, 0, 0)
  t.equal(await store.sweep(name.bookId), 0)
  t.equal((await stat(dirname(folder))).mtimeMs, 0, 'nor put aside for a moment')
  // As a sweep does that had looked before it was finished.
  t.equal(await removeUnlessFinished(folder), false)
  t.same(await remains(name.bookId), before)
  t.equal((await store.list(name.bookId)).length, 1)
})

t.test('errors of the system carry on as they are', async (t) => {
  const { store, path } = await fixture(t)
  const name = { bookId: newBookId(), id: newSnapshotId() }
  await mkdir(path, { recursive: true })
  await writeFile(join(path, name.bookId), 'a file instead of a folder')
  const refused = { code: 'ENOTDIR' }
  await t.rejects(store.list(name.bookId), refused)
  await t.rejects(store.sweep(name.bookId), refused)
  await t.rejects(store.readBlock(name, 0), refused)
  await t.rejects(store.remove(name), refused)
  await t.rejects(store.begin(name), { code: 'EEXIST' })
})

t.test('a removal that was cut off is finished by a sweep', async (t) => {
  const { store, path, remains } = await fixture(t)
  const name = { bookId: newBookId(), id: newSnapshotId() }
  await storeSnapshot(store, name)
  const folder = join(path, name.bookId, name.id)
  await rename(folder, `${folder}.removed`)
  t.same(await store.list(name.bookId), [])
  t.equal(await store.sweep(name.bookId), 1)
  t.same(await remains(name.bookId), [])
})

t.test('what others have put beside it is not touched', async (t) => {
  const { store, path, remains } = await fixture(t)
  const bookId = newBookId()
  await mkdir(join(path, bookId, 'old.removed'), { recursive: true })
  await mkdir(join(path, bookId, 'lost+found'))
  await writeFile(join(path, bookId, newSnapshotId()), 'a file')
  const before = await remains(bookId)
  t.same(await store.list(bookId), [])
  t.equal(await store.sweep(bookId), 0)
  t.same(await remains(bookId), before)
})

t.test('a builder whose folder is gone cannot finish', async (t) => {
  const { store, path } = await fixture(t)
  const name = { bookId: newBookId(), id: newSnapshotId() }
  const sink = await store.begin(name)
  await sink.put(0, Buffer.from('first'))
  await rm(join(path, name.bookId, name.id), { recursive: true })
  await t.rejects(sink.put(1, Buffer.from('second')), { code: 'ENOENT' })
  await t.rejects(sink.finish(manifestOf(name)), { code: 'ENOENT' })
  t.same(await store.list(name.bookId), [])
})

t.test('all is on the disk before the manifest, and that before the end', onLinux, async (t) => {
  const { store, path } = await fixture(t)
  const name = { bookId: newBookId(), id: newSnapshotId() }
  const folder = join(path, name.bookId, name.id)
  const synced = await watchSyncs(t, folder)
  await storeSnapshot(store, name, [Buffer.from('first'), Buffer.from('second')])
  const files = ['000000.block', '000001.block', 'manifest.new']
  for (const file of files) t.ok(synced.includes(`before ${file}`), file)
  t.ok(
    synced.lastIndexOf(`before ${name.id}`) > synced.indexOf('before 000001.block'),
    'the names of the blocks',
  )
  for (const each of ['kept', 'snapshots', name.bookId])
    t.ok(synced.includes(`before ${each}`), each)
  t.notOk(
    synced.some((line) => line.endsWith(' manifest')),
    'it appears with all its bytes',
  )
  t.equal(synced.at(-1), `after ${name.id}`)
})

/** Lists what is synced, by its name, from now on: before or after the folder has a manifest. */
async function watchSyncs(t: Teardown, folder: string): Promise<string[]> {
  const synced: string[] = []
  const some = await open('/dev/null')
  const prototype = Object.getPrototypeOf(some) as { sync(): Promise<void> }
  await some.close()
  const { sync } = prototype
  t.teardown(() => {
    prototype.sync = sync
  })
  prototype.sync = async function (this: { fd: number }) {
    const when = await stat(join(folder, 'manifest')).then(
      () => 'after',
      () => 'before',
    )
    await sync.call(this)
    synced.push(`${when} ${basename(readlinkSync(`/proc/self/fd/${this.fd}`))}`)
  }
  return synced
}

/** A folder with room for 1 MB; where mounting is not allowed, a sentence that says so. */
async function smallDisk(t: Teardown): Promise<{ path: string; skip: string | false }> {
  const run = promisify(execFile)
  const path = await temporaryFolder(t)
  try {
    await run('mount', ['-t', 'tmpfs', '-o', 'size=1m,mode=700', 'daybook-test', path])
  } catch (error) {
    return { path, skip: `no small disk can be had: ${(error as Error).message.trim()}` }
  }
  t.teardown(() => run('umount', [path]))
  return { path, skip: false }
}

const { path, skip } = await smallDisk(t)

t.test('a full disk rejects, and leaves nothing that counts', { skip }, async (t) => {
  const store = openSnapshotStore({ kind: 'directory', path })
  const bookId = newBookId()
  const kept = { bookId, id: newSnapshotId(1000) }
  await storeSnapshot(store, kept)
  const before = await namesIn(join(path, bookId))
  const sink = await store.begin({ bookId, id: newSnapshotId() })
  await t.rejects(sink.put(0, Buffer.alloc(2 << 20)), { code: 'ENOSPC' })
  await t.rejects(sink.finish(Buffer.alloc(10_000)), { code: 'ENOSPC' })
  t.same(
    (await store.list(bookId)).map(({ id }) => id),
    [kept.id],
  )
  await sink.abandon()
  t.same(await namesIn(join(path, bookId)), before)
  await storeSnapshot(store, { bookId, id: newSnapshotId() })
  t.equal((await store.list(bookId)).length, 2, 'there is room again')
})
