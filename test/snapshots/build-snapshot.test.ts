import t, { type Test } from 'tap'
import { digestChain } from '../../src/journal/digest.js'
import { postgresDatabase } from '../../src/journal/postgres.js'
import { postgresStore } from '../../src/journal/postgres-session.js'
import { readLayout } from '../../src/journal/take-over.js'
import { buildSnapshot } from '../../src/snapshots/build-snapshot.js'
import { usableSnapshots } from '../../src/snapshots/choose-snapshot.js'
import {
  encodeManifest,
  type SnapshotManifest,
  snapshotVersion,
} from '../../src/snapshots/manifest.js'
import { openSnapshotStore } from '../../src/snapshots/open-store.js'
import type { SnapshotStore } from '../../src/snapshots/store.js'
import { withClient } from '../actors/book-database.js'
import { digestOfJournal } from '../actors/journal-check.js'
import { below, randomOf } from '../actors/random.js'
import { TestClock } from '../actors/test-clock.js'
import { temporaryPostgres } from '../postgres.js'
import { SampleBook } from './sample-book.js'

t.setTimeout(240_000)

const postgres = await temporaryPostgres(t)
const timeoutMs = 10_000

t.test('from each kept snapshot any number of shards come to the same', async (t) => {
  const { book, store, snapshots, build } = await bookWithSnapshots(t, [2, 3, 1, 3])
  const { engine } = book
  const journal = postgresStore(postgresDatabase(book.connectionString, timeoutMs))
  const layout = await withClient(book.connectionString, readLayout)
  const usable = await usableSnapshots(store, layout, await journal.open(), t.fail)
  t.same(usable, snapshots.reverse(), 'all of them can be used, the newest first')
  t.equal(new Set(usable.map(({ generation }) => generation)).size, 4)
  t.equal(await digestOfJournal(layout, journal, 2), engine.digest)
  for (const snapshot of usable) {
    for (const shards of [1, 3, 4]) {
      const from = { snapshot, snapshots: store }
      const digest = await digestOfJournal(layout, journal, shards, from)
      t.equal(digest, engine.digest, `${shards} shards from generation ${snapshot.generation}`)
    }
  }
  const again = await build()
  t.equal(again.isNew, false, 'a book that has not moved gets no other one')
  t.equal(again.snapshot.id, usable[0].id)
})

t.test('a start goes on from the newest snapshot, and what comes after it', async (t) => {
  const { book, build } = await bookWithSnapshots(t, [2, 3])
  const { engine } = book
  const { snapshot } = await build()
  await book.live()
  await engine.quiet()
  for (const shards of [3, 3, 2]) {
    const { digest } = engine
    await engine.pump(engine.restart(shards), 1)
    await engine.quiet()
    t.equal(engine.startedFrom?.id, snapshot.id)
    t.equal(engine.digest, digest)
    await book.live()
    await engine.quiet()
  }
})

t.test('a damaged or foreign snapshot is passed over for the one before', async (t) => {
  const { book, store, build, warnings } = await bookWithSnapshots(t, [3])
  const { engine, connectionString } = book
  const before = (await build()).snapshot
  await book.live()
  await engine.quiet()
  const { digest } = engine
  const newest = (await build()).snapshot
  t.not(newest.id, before.id)
  const restart = async (what: string, expected: SnapshotManifest | undefined) => {
    warnings.length = 0
    await engine.pump(engine.restart(3), 1)
    await engine.quiet()
    t.equal(engine.startedFrom?.id, expected?.id, what)
    t.equal(engine.digest, digest, what)
    t.equal(warnings.length > 0, expected !== newest, `${what}: ${warnings.join()}`)
  }
  await restart('whole', newest)
  const random = randomOf(7)
  for (const [number, { kind, bytes }] of newest.blocks.entries()) {
    const at = below(random, bytes)
    await flip(connectionString, newest, { number, at })
    await restart(`a bit of block ${number}, of ${kind}`, before)
    await flip(connectionString, newest, { number, at })
  }
  const stored = encodeManifest(newest)
  for (const at of [3, 20, 12 + below(random, stored.length - 12)]) {
    await putManifest(connectionString, newest, flipped(stored, at))
    await restart(`a bit of the manifest at ${at}`, before)
  }
  const otherBook = { ...newest, bookId: before.id }
  await putManifest(connectionString, newest, encodeManifest(otherBook))
  await restart('of another book', before)
  const otherJournal = newest.streams.map((own) => ({ ...own, digest: flipped(own.digest, 5) }))
  await putManifest(connectionString, newest, encodeManifest({ ...newest, streams: otherJournal }))
  await restart('of another journal', before)
  await putManifest(connectionString, newest, stored)
  await restart('whole again', newest)
  for (const old of await store.list(newest.bookId))
    if (old.id !== newest.id) await store.remove(old)
  await flip(connectionString, newest, { number: 0, at: 1 })
  await restart('the only one is damaged', undefined)
})

t.test('a snapshot of a newer program is refused before anything is taken over', async (t) => {
  const { book, build } = await bookWithSnapshots(t, [2])
  const { engine, connectionString } = book
  const { snapshot } = await build()
  const stored = encodeManifest({ ...snapshot, version: snapshotVersion + 1 })
  await putManifest(connectionString, snapshot, stored)
  const epochs = () =>
    withClient(connectionString, async (client) => {
      return (await client.query('select id, epoch, owner from daybook.stream order by id')).rows
    })
  const before = await epochs()
  await t.rejects(engine.restart(2), { code: 'newer_version' })
  t.same(await epochs(), before)
})

interface WithSnapshots {
  book: SampleBook
  store: SnapshotStore
  /** One at the end of each generation, and one in its middle; oldest first. */
  snapshots: SnapshotManifest[]
  warnings: string[]
  build(): ReturnType<typeof buildSnapshot>
}

async function bookWithSnapshots(t: Test, shards: number[]): Promise<WithSnapshots> {
  const snapshots: SnapshotManifest[] = []
  const warnings: string[] = []
  const built: { build?: WithSnapshots['build']; store?: SnapshotStore } = {}
  const book = await SampleBook.make(t, postgres, {
    shards,
    rounds: 2,
    engine: (connectionString) => {
      const store = openSnapshotStore({ kind: 'postgres', connectionString, timeoutMs })
      t.teardown(() => store.close())
      const database = postgresDatabase(connectionString, timeoutMs)
      built.store = store
      built.build = () =>
        buildSnapshot({
          database,
          store: postgresStore(database),
          snapshots: store,
          clock: new TestClock(),
          random: Math.random,
          chain: digestChain(),
          warn: (message) => warnings.push(message),
          onProgress: () => undefined,
        })
      return { snapshots: store, onWarning: (message) => warnings.push(message) }
    },
    onMark: async () => {
      if (built.build !== undefined) snapshots.push((await built.build()).snapshot)
    },
  })
  if (built.build === undefined || built.store === undefined) throw new Error('nothing was built')
  return { book, store: built.store, snapshots, warnings, build: built.build }
}

async function flip(
  connectionString: string,
  { id }: SnapshotManifest,
  { number, at }: { number: number; at: number },
): Promise<void> {
  await withClient(connectionString, (client) =>
    client.query(
      `update daybook.snapshot_block b set payload = set_byte(payload, $3, get_byte(payload, $3) # 4)
       from daybook.snapshot s where s.number = b.snapshot and s.id = $1 and b.number = $2`,
      [id, number, at],
    ),
  )
}

async function putManifest(
  connectionString: string,
  { id }: SnapshotManifest,
  manifest: Buffer,
): Promise<void> {
  await withClient(connectionString, (client) =>
    client.query('update daybook.snapshot set manifest = $2 where id = $1', [id, manifest]),
  )
}

function flipped(bytes: Uint8Array, at: number): Buffer {
  const copy = Buffer.from(bytes)
  copy[at] ^= 16
  return copy
}
