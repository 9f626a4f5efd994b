import { randomBytes } from 'node:crypto'
import type { Test } from 'tap'
import { v7 } from 'uuid'
import type { SnapshotName, SnapshotStore } from '../../src/snapshots/store.js'
import type { Teardown } from '../postgres.js'

/** A store of one kind, and what a test may look at and do behind its back. */
export interface StoreFixture {
  store: SnapshotStore
  /** The same store, opened by somebody else. */
  other: SnapshotStore
  /** Names of all that is kept of a book, seen or not. */
  remains(bookId: string): Promise<string[]>
  loseBlock(name: SnapshotName, number: number): Promise<void>
}

export function newBookId(): string {
  return v7()
}

/** A new id; `ageMs` dates it back. */
export function newSnapshotId(ageMs = 0): string {
  return v7({ msecs: Date.now() - ageMs })
}

/** Stores a snapshot of these blocks; its manifest is its id, backwards. */
export async function storeSnapshot(
  store: SnapshotStore,
  name: SnapshotName,
  blocks: Buffer[] = [randomBytes(100)],
): Promise<void> {
  const sink = await store.begin(name)
  for (const [number, bytes] of blocks.entries()) await sink.put(number, bytes)
  await sink.finish(manifestOf(name))
}

export function manifestOf({ id }: SnapshotName): Buffer {
  return Buffer.from([...id].reverse().join(''))
}

async function idsOf(store: SnapshotStore, bookId: string): Promise<string[]> {
  return (await store.list(bookId)).map(({ id }) => id)
}

/** What every store has to keep to, whatever it keeps the bytes in. */
export function storeContract(t: Test, fixture: (t: Teardown) => Promise<StoreFixture>): void {
  t.test('what was stored is read as it was, by anybody', async (t) => {
    const { store, other } = await fixture(t)
    const name = { bookId: newBookId(), id: newSnapshotId() }
    const blocks = [Buffer.alloc(0), randomBytes(4 << 20), Buffer.from([0]), randomBytes(4 << 20)]
    await storeSnapshot(store, name, blocks)
    t.same(await other.list(name.bookId), [{ ...name, manifest: manifestOf(name) }])
    for (const [number, bytes] of blocks.entries()) {
      const read = await other.readBlock(name, number)
      t.ok(Buffer.isBuffer(read) && read.equals(bytes), `block ${number}`)
    }
  })

  t.test('nobody sees a snapshot before it is finished', async (t) => {
    const { store, other } = await fixture(t)
    const name = { bookId: newBookId(), id: newSnapshotId() }
    t.same(await other.list(name.bookId), [], 'nothing of a book that nobody knows')
    const sink = await store.begin(name)
    t.same(await idsOf(other, name.bookId), [])
    await sink.put(0, randomBytes(10))
    t.same(await idsOf(other, name.bookId), [])
    await sink.finish(manifestOf(name))
    t.same(await idsOf(other, name.bookId), [name.id])
  })

  t.test('they are listed newest first, in whatever order they were finished', async (t) => {
    const { store } = await fixture(t)
    const bookId = newBookId()
    const [oldest, middle, newest] = [30_000, 20_000, 10_000].map(newSnapshotId)
    for (const id of [middle, newest, oldest]) await storeSnapshot(store, { bookId, id })
    t.same(await idsOf(store, bookId), [newest, middle, oldest])
  })

  t.test('books do not see each other', async (t) => {
    const { store } = await fixture(t)
    const [one, another] = [newBookId(), newBookId()]
    const ofOne = { bookId: one, id: newSnapshotId() }
    const ofAnother = { bookId: another, id: newSnapshotId() }
    await storeSnapshot(store, ofOne)
    await storeSnapshot(store, ofAnother)
    const half = await store.begin({ bookId: another, id: newSnapshotId() })
    t.same(await idsOf(store, one), [ofOne.id])
    t.same(await idsOf(store, another), [ofAnother.id])
    const mistaken = { bookId: one, id: ofAnother.id }
    await t.rejects(store.readBlock(mistaken, 0), { code: 'damaged_snapshot' })
    await store.remove(mistaken)
    t.same(await idsOf(store, another), [ofAnother.id])
    await half.abandon()
  })

  t.test('one that is given up leaves nothing, and what is beside it stays', async (t) => {
    const { store, remains } = await fixture(t)
    const bookId = newBookId()
    const kept = { bookId, id: newSnapshotId(1000) }
    await storeSnapshot(store, kept)
    const before = await remains(bookId)
    const sink = await store.begin({ bookId, id: newSnapshotId() })
    for (let number = 0; number < 5; number += 1) await sink.put(number, randomBytes(1000))
    t.ok((await remains(bookId)).length > before.length, 'something was there to be removed')
    await sink.abandon()
    t.same(await remains(bookId), before)
    t.same(await idsOf(store, bookId), [kept.id])
    await t.rejects(sink.put(5, randomBytes(10)))
    await t.rejects(sink.finish(manifestOf(kept)))
    t.same(await remains(bookId), before)
  })

  t.test('a finished one changes no more', async (t) => {
    const { store } = await fixture(t)
    const name = { bookId: newBookId(), id: newSnapshotId() }
    const sink = await store.begin(name)
    await sink.put(0, Buffer.from('first'))
    await sink.finish(manifestOf(name))
    await t.rejects(sink.put(0, Buffer.from('again')))
    await t.rejects(sink.put(1, Buffer.from('more')))
    await t.rejects(store.begin(name), 'nor by another of its id')
    await sink.abandon()
    t.same(await store.list(name.bookId), [{ ...name, manifest: manifestOf(name) }])
    t.same(await store.readBlock(name, 0), Buffer.from('first'))
  })

  t.test('a sweep spares what is finished and what is being built', async (t) => {
    const { store, other, remains } = await fixture(t)
    const bookId = newBookId()
    const finished = { bookId, id: newSnapshotId(1000) }
    await storeSnapshot(store, finished)
    const built = { bookId, id: newSnapshotId() }
    const sink = await store.begin(built)
    t.equal(await other.sweep(bookId), 0)
    await sink.put(0, Buffer.from('first'))
    const before = await remains(bookId)
    t.equal(await other.sweep(bookId), 0)
    t.equal(await store.sweep(bookId), 0)
    t.same(await remains(bookId), before)
    await sink.put(1, Buffer.from('second'))
    await sink.finish(manifestOf(built))
    t.equal(await other.sweep(bookId), 0)
    t.same(await idsOf(store, bookId), [built.id, finished.id])
    t.same(await store.readBlock(built, 0), Buffer.from('first'))
    t.same(await store.readBlock(built, 1), Buffer.from('second'))
  })

  t.test('a block that is not there is damage', async (t) => {
    const { store, loseBlock } = await fixture(t)
    const name = { bookId: newBookId(), id: newSnapshotId() }
    await storeSnapshot(store, name, [Buffer.from('first'), Buffer.from('second')])
    await t.rejects(store.readBlock(name, 2), { code: 'damaged_snapshot' })
    await t.rejects(store.readBlock({ ...name, id: newSnapshotId() }, 0), {
      code: 'damaged_snapshot',
    })
    await loseBlock(name, 0)
    await t.rejects(store.readBlock(name, 0), { code: 'damaged_snapshot' })
    t.same(await store.readBlock(name, 1), Buffer.from('second'))
  })

  t.test('one is removed, and nothing of it remains', async (t) => {
    const { store, other, remains } = await fixture(t)
    const bookId = newBookId()
    const [old, young] = [newSnapshotId(1000), newSnapshotId()]
    await storeSnapshot(store, { bookId, id: young })
    const before = await remains(bookId)
    const blocks = Array.from({ length: 230 }, () => randomBytes(10))
    await storeSnapshot(store, { bookId, id: old }, blocks)
    await store.remove({ bookId, id: old })
    t.same(await idsOf(other, bookId), [young])
    t.same(await remains(bookId), before)
    await store.remove({ bookId, id: old })
    await store.remove({ bookId: newBookId(), id: old })
    t.same(await idsOf(other, bookId), [young])
  })

  t.test('one that is being built cannot be removed', async (t) => {
    const { store, other } = await fixture(t)
    const name = { bookId: newBookId(), id: newSnapshotId() }
    const sink = await store.begin(name)
    await sink.put(0, Buffer.from('first'))
    await other.remove(name)
    await sink.finish(manifestOf(name))
    t.same(await store.readBlock(name, 0), Buffer.from('first'))
  })

  t.test('UUIDs are the same in capitals', async (t) => {
    const { store } = await fixture(t)
    const name = { bookId: newBookId(), id: newSnapshotId() }
    const capitals = { bookId: name.bookId.toUpperCase(), id: name.id.toUpperCase() }
    await storeSnapshot(store, capitals, [Buffer.from('first')])
    t.same(await idsOf(store, name.bookId), [name.id])
    t.same(await store.readBlock(name, 0), Buffer.from('first'))
    await store.remove(capitals)
    t.same(await idsOf(store, capitals.bookId), [])
  })

  t.test('no other name gets as far as a path or a key', async (t) => {
    const { store } = await fixture(t)
    const good = { bookId: newBookId(), id: newSnapshotId() }
    await storeSnapshot(store, good)
    const refused = { code: 'invalid_snapshot_name' }
    for (const { bookId, id, blockNumber } of aliens) {
      const names = [
        { ...good, id },
        { ...good, bookId },
      ]
      for (const name of names) {
        await t.rejects(store.begin(name), refused, JSON.stringify(name))
        await t.rejects(store.readBlock(name, 0), refused)
        await t.rejects(store.remove(name), refused)
      }
      await t.rejects(store.list(bookId), refused)
      await t.rejects(store.sweep(bookId), refused)
      await t.rejects(store.readBlock(good, blockNumber), refused, `block ${blockNumber}`)
      const sink = await store.begin({ ...good, id: newSnapshotId() })
      await t.rejects(sink.put(blockNumber, randomBytes(1)), refused)
      await sink.abandon()
    }
    t.same(await idsOf(store, good.bookId), [good.id])
  })
}

/** What somebody might hand in for the id of a book or a snapshot, or the number of a block. */
const aliens = [
  { bookId: '..', id: '..', blockNumber: -1 },
  { bookId: '', id: '', blockNumber: 0.5 },
  { bookId: '../../etc', id: `../${'0'.repeat(33)}`, blockNumber: Number.NaN },
  // A UUID of another version has no time, and one with something behind it is none.
  { bookId: `${v7()}/..`, id: '9b2c1ad4-8c4e-4c0e-9d3c-0f6a3a1f5b11', blockNumber: 1_000_000 },
  { bookId: `${v7()}\n`, id: `${v7()}\n`, blockNumber: Number.POSITIVE_INFINITY },
  { bookId: `x${v7().slice(1)}`, id: `${v7()}.removed`, blockNumber: -0.1 },
]
