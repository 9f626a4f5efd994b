import { writeFile } from 'node:fs/promises'
import t from 'tap'
import { readBookRows } from '../../../src/journal/book-rows.js'
import { digestChain } from '../../../src/journal/digest.js'
import { postgresDatabase } from '../../../src/journal/postgres.js'
import { postgresStore } from '../../../src/journal/postgres-session.js'
import { recordVersion } from '../../../src/journal/record.js'
import { readLayout, readStreamEnds } from '../../../src/journal/take-over.js'
import { buildSnapshot } from '../../../src/snapshots/build-snapshot.js'
import { encodeManifest, snapshotVersion } from '../../../src/snapshots/manifest.js'
import { openSnapshotStore } from '../../../src/snapshots/open-store.js'
import { withClient } from '../../actors/book-database.js'
import { TestClock } from '../../actors/test-clock.js'
import { temporaryPostgres } from '../../postgres.js'
import { SampleBook } from '../../snapshots/sample-book.js'
import { type GoldenJournal, goldenFolder } from '../golden-journal.js'

/**
 * `node dist/test/journal/golden/make.js` keeps a book of the record version of this program, with a
 * snapshot of its snapshot version: one that has let most transactions go. To be run once, when a
 * version is released; what it wrote is never changed afterwards.
 */
const timeoutMs = 10_000
const postgres = await temporaryPostgres(t)
const book = await SampleBook.make(t, postgres, { shards: [2, 3], rounds: 1 })
const { engine, connectionString } = book

// What is built from, and what comes after it.
const database = postgresDatabase(connectionString, timeoutMs)
const snapshots = openSnapshotStore({ kind: 'postgres', connectionString, timeoutMs })
const { snapshot } = await buildSnapshot({
  ...{ database, store: postgresStore(database), snapshots, clock: new TestClock() },
  ...{ random: Math.random, chain: digestChain() },
  ...{ warn: t.fail, onProgress: () => undefined },
  projected: async () =>
    (await withClient(connectionString, readStreamEnds)).map((end) => [end.stream, end.seq]),
  letGo: { beyond: 4, rows: 2 },
})
const [ada, bob] = book.accounts
for (let number = 0; number < 8; number++) {
  const id = `00000000-0000-4000-8000-00000000000${number}`
  await engine.post({ id, postings: [{ debit: ada, credit: book.accounts[number], amount: '1' }] })
}
const expiresAt = engine.clock.now() + 5
await engine.post({
  id: 'expires',
  postings: [{ debit: ada, credit: bob, amount: '2' }],
  ...{ pending: true, expiresAt },
})
engine.clock.advance(10)
await engine.changeAccount({ id: bob, status: 'frozen' })
await engine.quiet()

const golden = await withClient(connectionString, async (client): Promise<GoldenJournal> => {
  const rows = await readBookRows(client)
  const { streamOfSlot } = await readLayout(client)
  const chunks = await client.query(
    `select stream, first_seq::int as "firstSeq", part, n, epoch, encode(prev, 'base64') as prev,
       encode(payload, 'base64') as payload
     from daybook.journal order by stream, first_seq, part`,
  )
  const blocks = await Promise.all(
    snapshot.blocks.map((_, number) => snapshots.readBlock(snapshot, number)),
  )
  return {
    ...{ recordVersion, snapshotVersion, bookId: rows.id, generation: rows.generation },
    slots: [...streamOfSlot],
    streams: rows.streams.map(({ id, generation, epoch, head, digest }) => ({
      ...{ id, generation, epoch, head, digest: digest.toString('base64') },
    })),
    chunks: chunks.rows.map((chunk) => ({
      ...chunk,
      prev: chunk.prev.replaceAll('\n', ''),
      payload: chunk.payload.replaceAll('\n', ''),
    })),
    snapshot: {
      id: snapshot.id,
      manifest: encodeManifest(snapshot).toString('base64'),
      blocks: blocks.map((block) => block.toString('base64')),
    },
    digest: engine.digest.toString(16).padStart(64, '0'),
  }
})
await snapshots.close()
await writeFile(
  new URL(`version-${recordVersion}-snapshot-${snapshotVersion}.json`, goldenFolder),
  `${JSON.stringify(golden)}\n`,
)
t.pass(`kept a book of version ${recordVersion}`)
