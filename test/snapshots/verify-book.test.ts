import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import t, { type Test } from 'tap'
import { stripedParts } from '../../src/actors/slot-index.js'
import { digestChain } from '../../src/journal/digest.js'
import { postgresDatabase } from '../../src/journal/postgres.js'
import { postgresStore } from '../../src/journal/postgres-session.js'
import { readLayout, readStreamEnds } from '../../src/journal/take-over.js'
import { slotOf } from '../../src/key.js'
import { buildSnapshot } from '../../src/snapshots/build-snapshot.js'
import { encodeBook } from '../../src/snapshots/encode-book.js'
import { digestOf, encodeManifest, type SnapshotManifest } from '../../src/snapshots/manifest.js'
import { openSnapshotStore } from '../../src/snapshots/open-store.js'
import { rebuiltBooks } from '../../src/snapshots/rebuilt-books.js'
import { verifyBook } from '../../src/snapshots/verify-book.js'
import { verifyLive } from '../../src/snapshots/verify-live.js'
import { withClient } from '../actors/book-database.js'
import type { Engine } from '../actors/engine.js'
import { keyOfName, tenant } from '../actors/engine-names.js'
import { TestClock } from '../actors/test-clock.js'
import { temporaryPostgres } from '../postgres.js'
import { SampleBook } from './sample-book.js'

t.setTimeout(240_000)

const postgres = await temporaryPostgres(t)
const timeoutMs = 10_000

t.test('every snapshot is rebuilt, and one that is wrong in itself is named', async (t) => {
  const { book, parts, at, snapshots } = await sample(t)
  const built = await build(book.connectionString)
  await book.live()
  await book.engine.quiet()
  const whole = await verifyBook({ ...parts, snapshots }, await at())
  t.equal(BigInt(`0x${whole.digest}`), book.engine.digest)
  t.same(whole.snapshots, [built.id])
  t.same(whole.findings, [])

  // With one more unit on an account, and all checksums right.
  const position = { book: (await at()).book, ends: built.streams }
  const [changed] = await rebuiltBooks(parts, position)
  changed.accounts.creditsPosted.set(0, changed.accounts.creditsPosted.get(0) + 1n)
  const [first] = encodeBook(changed)
  const [stream] = built.streams
  const number = built.blocks.findIndex((block) => block.stream === stream.stream)
  t.equal(built.blocks[number].kind, 'accounts')
  const blocks = built.blocks.with(number, {
    ...built.blocks[number],
    digest: digestOf(first.bytes),
  })
  await putBlock(book.connectionString, { ...built, blocks }, { number, bytes: first.bytes })
  const { findings } = await verifyBook({ ...parts, snapshots }, await at())
  t.same(findings, [{ snapshot: built.id, what: 'it leads to another state than the journal' }])
})

t.test('a server is compared slot by slot while it goes on', async (t) => {
  const { book, parts, at } = await sample(t)
  const { engine } = book
  const url = await serveDigests(t, engine)
  const position = await at()
  const options = { ...parts, url, onProgress: () => undefined }
  const books = await rebuiltBooks(parts, position)
  const live = book.live()
  t.same(await verifyLive(options, position, books), [], 'while it posts')
  await live
  await engine.quiet()

  const key = keyOfName(book.accounts[3])
  const shard = engine.shards.findIndex((candidate) => candidate.book.owns(key))
  const { accounts } = engine.shards[shard].book
  const row = accounts.find(tenant, key)
  accounts.creditsPosted.set(row, accounts.creditsPosted.get(row) + 1n)
  const till = engine.shards[0].book.accounts.find(tenant, keyOfName('till'))
  const parted = engine.shards[0].book.accounts
  parted.debitsPosted.set(till, parted.debitsPosted.get(till) + 1n)
  const findings = await verifyLive(options, position, await rebuiltBooks(parts, position))
  const { streams } = position.book.layout
  const slots = findings.map(({ stream, slot }) => `${stream} ${slot}`).sort()
  const expected = [`${streams[shard]} ${slotOf(key)}`, `${streams[0]} ${stripedParts}`]
  const tillsOwner = engine.shards.findIndex(({ book }) => book.owns(keyOfName('till')))
  if (tillsOwner === 0) expected.push(`${streams[0]} ${slotOf(keyOfName('till'))}`)
  t.same(slots, expected.sort())
})

async function sample(t: Test) {
  const book = await SampleBook.make(t, postgres, { shards: [2, 3], rounds: 1 })
  const { connectionString } = book
  const snapshots = openSnapshotStore({ kind: 'postgres', connectionString, timeoutMs })
  t.teardown(() => snapshots.close())
  const parts = {
    store: postgresStore(postgresDatabase(connectionString, timeoutMs)),
    chain: digestChain(),
    random: Math.random,
    onProgress: () => undefined,
  }
  const at = () =>
    withClient(connectionString, async (client) => ({
      book: await readLayout(client),
      ends: await readStreamEnds(client),
    }))
  return { book, parts, at, snapshots }
}

async function build(connectionString: string): Promise<SnapshotManifest> {
  const database = postgresDatabase(connectionString, timeoutMs)
  const snapshots = openSnapshotStore({ kind: 'postgres', connectionString, timeoutMs })
  const { snapshot } = await buildSnapshot({
    ...{ database, store: postgresStore(database), snapshots, clock: new TestClock() },
    ...{ random: Math.random, chain: digestChain() },
    ...{ warn: () => undefined, onProgress: () => undefined },
  }).finally(() => snapshots.close())
  return snapshot
}

async function putBlock(
  connectionString: string,
  snapshot: SnapshotManifest,
  block: { number: number; bytes: Buffer },
): Promise<void> {
  await withClient(connectionString, async (client) => {
    const { rows } = await client.query(
      'update daybook.snapshot set manifest = $2 where id = $1 returning number',
      [snapshot.id, encodeManifest(snapshot)],
    )
    await client.query(
      'update daybook.snapshot_block set payload = $3 where snapshot = $1 and number = $2',
      [rows[0].number, block.number, block.bytes],
    )
  })
}

/** What src/api/system.ts answers, of an engine in this process. */
async function serveDigests(t: Test, engine: Engine): Promise<string> {
  const server = createServer(async (request, response) => {
    const { searchParams } = new URL(request.url ?? '', 'http://localhost')
    const stream = Number(searchParams.get('stream'))
    const slot = Number(searchParams.get('slot') ?? stripedParts)
    const shard = engine.shards[engine.router.streams.indexOf(stream)]
    const { seq, digest, horizon = [] } = (await shard.digestOf(slot)) ?? {}
    const positions = horizon.map(([stream, seq]) => ({ stream, seq }))
    const data = { stream, seq, digest: digest?.toString(16), horizon: positions }
    response.end(JSON.stringify({ data }))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.teardown(() => new Promise((resolve) => server.close(resolve)))
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}
