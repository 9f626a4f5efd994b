import pg from 'pg'
import t from 'tap'
import { Batch } from '../../src/journal/batch.js'
import { digestChain, emptyDigest } from '../../src/journal/digest.js'
import { migrate } from '../../src/journal/migrate.js'
import { postgresDatabase } from '../../src/journal/postgres.js'
import { postgresStore } from '../../src/journal/postgres-session.js'
import { headWord, plainPostingBytes, RecordKind } from '../../src/journal/record.js'
import type { JournalSession, SealedBatch, StreamState } from '../../src/journal/session.js'
import { readLayout, takeOver } from '../../src/journal/take-over.js'
import { type Teardown, temporaryPostgres } from '../postgres.js'

/** One layer at a time: what keeps a second writer out even if every other layer failed. */

const stream = 1
const chain = digestChain()

/** A batch of one record that follows `state`, in the name of `epoch`. */
function oneRecord(state: { head: number; digest: Buffer }, epoch: number): SealedBatch {
  const batch = new Batch(stream)
  batch.restart(state.head + 1)
  const word = batch.add(plainPostingBytes)
  batch.words.fill(0, word, word + plainPostingBytes / 4)
  batch.words[word] = headWord(RecordKind.posting, 0)
  batch.words[word + 1] = plainPostingBytes
  const { copy, digest } = batch.seal(epoch, state.digest, chain)
  const { head, digest: before } = state
  return { stream, epoch, head, digest: before, newHead: head + 1, newDigest: digest, copy }
}

interface Setting {
  client: pg.Client
  owner: string
  open(): Promise<JournalSession>
  rows(): Promise<number>
}

async function setting(t: Teardown): Promise<Setting> {
  const postgres = await temporaryPostgres(t)
  const connectionString = await postgres.createDatabase()
  const client = new pg.Client({ connectionString })
  client.on('error', () => undefined)
  await client.connect()
  t.teardown(() => client.end())
  await migrate(client)
  const owner = 'first'
  await takeOver(client, owner, await readLayout(client), () => undefined)
  return {
    client,
    owner,
    open: async () => {
      const session = await postgresStore(postgresDatabase(connectionString, 5000)).open()
      t.teardown(() => session.close())
      return session
    },
    async rows() {
      const { rows } = await client.query<{ n: string }>(
        'select count(*) as n from daybook.journal',
      )
      return Number(rows[0].n)
    },
  }
}

t.test('only a batch that has epoch, head and digest right is let through', async (t) => {
  const { open, owner, rows } = await setting(t)
  const settled: StreamState = await (await open()).settle(stream, owner)
  const other = Buffer.alloc(32, 7)
  const wrong: [string, SealedBatch][] = [
    ['an older epoch', oneRecord(settled, settled.epoch - 1)],
    ['a later epoch', oneRecord(settled, settled.epoch + 1)],
    ['another digest', oneRecord({ head: settled.head, digest: other }, settled.epoch)],
    ['another head', oneRecord({ head: 5, digest: emptyDigest }, settled.epoch)],
  ]
  for (const [name, batch] of wrong) {
    const session = await open()
    await t.rejects(session.commit(batch), { code: 'fenced' }, name)
    t.equal(await rows(), 0, `${name} leaves nothing behind`)
  }
  const session = await open()
  const state = await session.settle(stream, owner)
  await session.commit(oneRecord(state, state.epoch))
  t.equal(await rows(), 1)
  const again = await open()
  await t.rejects(again.commit(oneRecord(state, state.epoch)), { code: 'fenced' }, 'the same seq')
})

t.test('a closed stream takes nothing', async (t) => {
  const { open, owner, client, rows } = await setting(t)
  const session = await open()
  const state = await session.settle(stream, owner)
  await client.query('update daybook.stream set closed = true')
  await t.rejects(session.commit(oneRecord(state, state.epoch)), { code: 'fenced' })
  await t.rejects((await open()).settle(stream, owner), { code: 'fenced' })
  t.equal(await rows(), 0)
})

t.test('a take-over raises the epoch of every open stream and ends their backends', async (t) => {
  const { open, owner, client } = await setting(t)
  await client.query('insert into daybook.stream (id, generation, epoch) values (2, 1, 41)')
  await client.query('update daybook.book set slots = set_byte(slots, 3, 2)')
  const session = await open()
  const { epoch } = await session.settle(stream, owner)
  const { layout } = await takeOver(client, 'second', await readLayout(client), () => undefined)
  t.same(layout.streams, [1, 2])
  const { rows } = await client.query('select id, epoch, owner from daybook.stream order by id')
  t.same(rows, [
    { id: 1, epoch: epoch + 1, owner: 'second' },
    { id: 2, epoch: 42, owner: 'second' },
  ])
  await t.rejects(session.confirm(stream, epoch), 'its backend is gone')
  await t.rejects((await open()).confirm(stream, epoch), { code: 'fenced' })
  await t.rejects((await open()).settle(stream, owner), { code: 'fenced' })
})

t.test('a process that was taken over does not end the backend of the new owner', async (t) => {
  const { open, owner, client } = await setting(t)
  await takeOver(client, 'second', await readLayout(client), () => undefined)
  const theirs = await open()
  const { epoch } = await theirs.settle(stream, 'second')
  await t.rejects((await open()).settle(stream, owner), { code: 'fenced' })
  await theirs.confirm(stream, epoch)
})

t.test('a book or a schema of a newer program is refused before anything is taken', async (t) => {
  const { client } = await setting(t)
  const layout = await readLayout(client)
  const before = await client.query('select * from daybook.stream')
  await client.query('update daybook.book set record_version = 99')
  await t.rejects(readLayout(client), { code: 'newer_version' })
  await t.rejects(
    takeOver(client, 'second', layout, () => undefined),
    { code: 'newer_version' },
  )
  await client.query("insert into daybook.migration (name) values ('999-future.sql')")
  await t.rejects(migrate(client), { code: 'newer_version' })
  const after = await client.query('select * from daybook.stream')
  t.same(after.rows, before.rows)
})
