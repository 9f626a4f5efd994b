import { readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { archivedReader, archivedStore } from '../../src/journal/archived-store.js'
import { digestChain } from '../../src/journal/digest.js'
import { postgresDatabase } from '../../src/journal/postgres.js'
import { postgresStore } from '../../src/journal/postgres-session.js'
import { plainReader } from '../../src/journal/reader.js'
import { recordJson } from '../../src/journal/record-json.js'
import { archiveJournal } from '../../src/snapshots/archive.js'
import { putArchiveBack } from '../../src/snapshots/archive-back.js'
import { dropEmptyPartitions } from '../../src/snapshots/empty-partitions.js'
import { restore } from '../../src/snapshots/restore.js'
import { verifyJournal } from '../../src/snapshots/verify-journal.js'
import { withClient } from '../actors/book-database.js'
import { Engine } from '../actors/engine.js'
import { temporaryFolder, temporaryPostgres } from '../postgres.js'
import { type Mark, positionOf, SampleBook } from './sample-book.js'

t.setTimeout(120_000)

const postgres = await temporaryPostgres(t)
const book = await SampleBook.make(t, postgres, { shards: [1, 2, 3], rounds: 3 })
await book.engine.stop()
const { connectionString } = book
const database = postgresDatabase(connectionString, 5000)
const raw = postgresStore(database)
const directory = await temporaryFolder(t)
const journalText = `select stream, first_seq::int, part, n, epoch, md5(prev) as prev,
  md5(payload) as payload from daybook.journal order by stream, first_seq, part`
const before = await query<{ stream: number; first_seq: number; part: number; n: number }>(
  journalText,
)
const newest = book.marks[book.marks.length - 1]
const [early, late] = [book.marks[4], book.marks[book.marks.length - 2]]

t.test('what is before a position is in files, and nowhere else', async (t) => {
  await archive(early)
  await assertMoved(early)
  const { moved } = await archive(early)
  t.same(moved, [], 'nothing is left to move')
  await archive(late)
  await assertMoved(late)
  const files = (await readdir(directory)).filter((name) => name.endsWith('.gz'))
  t.ok(files.length > 6, 'in several files each')

  async function assertMoved(mark: Mark): Promise<void> {
    const position = positionOf(mark.rows)
    const left = before.filter(({ stream, first_seq, n }) => {
      const row = mark.rows.streams.find(({ id }) => id === stream)
      if (row?.closed) return false
      return first_seq + Math.max(1, n) - 1 > (position.get(stream) ?? 0)
    })
    t.same(await query(journalText), left)
  }
})

t.test('it is read through: by a start, by verify, by restore, and record by record', async (t) => {
  const wrap = () => archivedStore(raw, database, directory)
  const engine = await Engine.start({ connectionString, shards: 3, wrap })
  t.equal(engine.digest, newest.digest)
  await engine.stop()

  const verified = await verifyJournal({
    ...{ database, store: wrap(), chain: digestChain(), onProgress: () => undefined },
  })
  t.same(verified.findings, [])

  for (const mark of [book.marks[0], early, newest]) {
    const target = await postgres.createDatabase()
    await restore({
      source: { database, store: wrap() },
      target: { connectionString: target },
      to: { timeMs: mark.timeMs },
      ...{ chain: digestChain(), onProgress: () => undefined, log: () => undefined },
    })
    const restored = await Engine.start({
      ...{ connectionString: target, shards: positionOf(mark.rows).size },
    })
    t.equal(restored.digest, mark.digest)
    await restored.stop()
  }

  const reader = archivedReader(plainReader(database), wrap())
  for (const { id, head } of newest.rows.streams) {
    for (let seq = 1; seq <= head; seq += 7) {
      const record = recordJson(await reader.readRecord(id, seq), 0, { stream: id, seq })
      t.match(record, { position: `${id}-${seq}`, kind: /^[a-z_]+$/ })
    }
    await t.rejects(reader.readRecord(id, newest.rows.streams[0].head + 10_000))
  }
})

t.test('without its directory it says what it needs', async (t) => {
  const wrap = () => archivedStore(raw, database, undefined)
  await t.rejects(Engine.start({ connectionString, shards: 3, wrap }), {
    ...{ code: 'archive_fault', message: /records 1-1 to 1-\d+ are needed.*DAYBOOK_ARCHIVE_DIR/ },
  })
})

t.test('a damaged file is found, and not put back', async (t) => {
  const [file] = (await readdir(directory)).filter((name) => name.endsWith('.gz'))
  const path = join(directory, file)
  const bytes = await readFile(path)
  const flipped = Buffer.from(bytes)
  flipped[Math.floor(bytes.length / 2)] ^= 4
  const rows = await query(journalText)
  for (const wrong of [flipped, bytes.subarray(0, -20)]) {
    await writeFile(path, wrong)
    await t.rejects(putArchiveBack(options()), { code: 'archive_fault' })
    const verified = verifyJournal({
      ...{ database, store: archivedStore(raw, database, directory), chain: digestChain() },
      onProgress: () => undefined,
    })
    await t.rejects(verified, { code: 'archive_fault', message: new RegExp(file) })
  }
  await writeFile(path, bytes)
  t.ok((await query(journalText)).length >= rows.length, 'nothing is lost')
})

t.test('put back, all is as before', async (t) => {
  await putArchiveBack(options())
  t.same(await query(journalText), before)
  t.same(await query('select * from daybook.archive'), [])
  t.same(await readdir(directory), [])
  const engine = await Engine.start({ connectionString, shards: 3 })
  t.equal(engine.digest, newest.digest)
  await engine.stop()
})

t.test('a damaged journal is not archived', async (t) => {
  const [row] = before
  const flip = `update daybook.journal set payload = set_byte(payload, 90, get_byte(payload, 90) # 1)
    where stream = ${row.stream} and first_seq = ${row.first_seq} and part = 0`
  await query(flip)
  await t.rejects(archive(early), { code: 'broken_chain' })
  await query(flip)
  t.same(await query(journalText), before, 'nothing is deleted')
  const last = before.filter(({ stream }) => stream === 1).length - 1
  const flipLast = `update daybook.journal set payload = set_byte(payload, 30, get_byte(payload, 30) # 1)
    where stream = 1 and first_seq = ${before[last].first_seq} and part = ${before[last].part}`
  await query(flipLast)
  await t.rejects(archive(early), { code: 'broken_chain' }, 'the last chunk of a file, too')
  await query(flipLast)
  await putArchiveBack(options())
  t.same(await query(journalText), before)
})

t.test('a chunk in which the position is stays in the journal', async (t) => {
  const wide = before.findLast(({ stream, n }) => stream === 4 && n > 2)
  if (wide === undefined) throw new Error('no chunk has three records')
  const position = new Map([[4, wide.first_seq + 1]])
  await archiveJournal({ generation: 3, position }, options())
  const left = before.filter(({ stream, first_seq }) => {
    return stream > 4 || (stream === 4 && first_seq >= wide.first_seq)
  })
  t.same(await query(journalText), left)
  await putArchiveBack(options())
  t.same(await query(journalText), before)
})

t.test('a partition in which nothing is left goes, unless somebody may write there', async (t) => {
  // As if the journal had come to the third partition, and only there were something.
  const names = async () =>
    (
      await query<{ name: string }>(
        `select c.relname as name from pg_inherits i join pg_class c on c.oid = i.inhrelid
         where i.inhparent = 'daybook.journal'::regclass order by 1`,
      )
    ).map(({ name }) => name)
  await query('select daybook.ensure_partition(10000000), daybook.ensure_partition(20000000)')
  const drop = async () => {
    const connection = await database.connect({ name: 'test' })
    return await dropEmptyPartitions(connection).finally(() => connection.end())
  }
  t.same(await drop(), [], 'the open streams are going to write in all of them')
  const heads = await query<{ id: number; head: string }>(
    'select id, head from daybook.stream where not closed',
  )
  await query('update daybook.stream set head = 20000000 where not closed')
  t.same(await drop(), ['journal_000001'], 'the first has rows, the third is written to')
  t.same(await names(), ['journal_000000', 'journal_000002'])
  for (const { id, head } of heads) {
    await query(`update daybook.stream set head = ${head} where id = ${id}`)
  }
  await query('select daybook.ensure_partition(10000000)')
  t.same(await names(), ['journal_000000', 'journal_000001', 'journal_000002'])
})

function options() {
  return {
    ...{ database, store: raw, directory, chain: digestChain(), segmentBytes: 30_000 },
    onProgress: () => undefined,
  }
}

async function archive({ rows }: Mark) {
  const { generation } = rows
  return await archiveJournal({ generation, position: positionOf(rows) }, options())
}

async function query<T>(text: string): Promise<T[]> {
  return await withClient(
    connectionString,
    async (client) => (await client.query(text)).rows as T[],
  )
}
