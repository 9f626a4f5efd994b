import t from 'tap'
import { bookDigest, horizonOf } from '../../src/actors/digest.js'
import { digestChain, emptyDigest } from '../../src/journal/digest.js'
import { RecordKind, recordVersion } from '../../src/journal/record.js'
import { Replay } from '../../src/journal/replay.js'
import { usableSnapshots } from '../../src/snapshots/choose-snapshot.js'
import { snapshotVersion } from '../../src/snapshots/manifest.js'
import { forgotten } from '../../src/snapshots/verify-book.js'
import { booksOfJournal, digestOfJournal } from './../actors/journal-check.js'
import {
  type GoldenJournal,
  goldenJournals,
  layoutOfGolden,
  snapshotsOfGolden,
  storeOfGolden,
} from './golden-journal.js'

const kept = await goldenJournals()

t.test('a book of every version is kept', async (t) => {
  const records = new Set(kept.map((golden) => golden.recordVersion))
  const snapshots = new Set(kept.map((golden) => golden.snapshotVersion))
  for (let version = 1; version <= recordVersion; version++) t.ok(records.has(version))
  for (let version = 1; version <= snapshotVersion; version++) t.ok(snapshots.has(version))
})

for (const golden of kept) {
  const { recordVersion, snapshotVersion } = golden
  t.test(
    `a book of version ${recordVersion}, snapshot ${snapshotVersion}, means what it meant`,
    async (t) => {
      const digest = BigInt(`0x${golden.digest}`)
      const layout = layoutOfGolden(golden)
      const store = storeOfGolden(golden)
      const kinds = await kindsIn(golden)
      for (const [name, kind] of Object.entries(RecordKind)) {
        t.ok(kinds.has(kind) || isYounger(kind, golden), `${name} is in it`)
      }
      for (const shards of [1, 2, 3, 5]) {
        t.equal(await digestOfJournal(layout, store, shards), digest, `${shards} shards`)
      }
      const snapshots = snapshotsOfGolden(golden)
      const [snapshot] = await usableSnapshots(snapshots, layout, await store.open(), t.fail)
      t.equal(snapshot.id, golden.snapshot.id)
      for (const shards of [1, 3]) {
        const journal = await booksOfJournal(layout, store, shards)
        const books = await booksOfJournal(layout, store, shards, { snapshot, snapshots })
        const horizon = horizonOf(books)
        t.equal(horizon.size > 0, snapshot.version > 1, 'since version 2 it lets transactions go')
        t.equal(bookDigest(books, horizon), bookDigest(journal, horizon), `${shards}, snapshot`)
        t.notOk(forgotten(journal, books), 'and knows which')
      }
    },
  )
}

async function kindsIn(golden: GoldenJournal): Promise<Set<number>> {
  const kinds = new Set<number>()
  const session = await storeOfGolden(golden).open()
  for (const { id, head, digest } of golden.streams) {
    const replay = new Replay(id, { seq: 0, digest: emptyDigest }, digestChain())
    for await (const chunk of session.readChunks(id, 0, head)) {
      replay.read(chunk, (words, at) => kinds.add(words[at] & 0xff))
    }
    replay.assertEnd(head, Buffer.from(digest, 'base64'))
  }
  return kinds
}

/** Kinds that came with a later version of the records. */
function isYounger(kind: number, { recordVersion }: GoldenJournal): boolean {
  return recordVersion === 1 && kind > RecordKind.applied
}
