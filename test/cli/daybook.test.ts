import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { formatKey, keyOf } from '../../src/key.js'
import { withClient } from '../actors/book-database.js'
import { ServerProcess } from '../e2e/server.js'
import { temporaryFolder, temporaryPostgres } from '../postgres.js'
import { positionOf, SampleBook } from '../snapshots/sample-book.js'
import { daybook } from './command-line.js'

t.setTimeout(240_000)

const postgres = await temporaryPostgres(t)
const book = await SampleBook.make(t, postgres, { shards: [1, 2], rounds: 2 })
await book.engine.stop()
const settings = { DATABASE_URL: book.connectionString }

t.test('help is there for all and for each, and what is wrong is said', async (t) => {
  const help = await daybook(['--help'], {})
  t.equal(help.code, 0)
  for (const name of ['inspect', 'restore', 'verify', 'archive']) {
    t.match(help.stdout, new RegExp(`^  ${name} `, 'm'))
    const own = await daybook([name, '--help'], {})
    t.match(own, { code: 0, stderr: '' })
    t.match(own.stdout, new RegExp(`^daybook ${name}`))
  }
  const wrong = [
    [[], {}],
    [['nothing'], {}],
    [['verify', '--nothing'], settings],
    [['verify', 'nothing'], settings],
    [['inspect', 'record', '1'], settings],
    [['inspect', 'account', 'a b'], settings],
    [['inspect', 'account', 'a', '--limit', '0'], settings],
    [['restore', '--to', 'yesterday', '--into', book.connectionString], settings],
    [['restore', '--to', '2026-03-31T23:59:59', '--into', book.connectionString], settings],
    [['restore', '--to', '1-1', '--into', 'somewhere'], settings],
    [['archive', '--to', 'somewhere'], settings],
    [['archive', '--before', 'yesterday', '--to', 'somewhere'], settings],
    [['verify'], { ...settings, DAYBOOK_NOTHING: '1' }],
    [['inspect'], { DAYBOOK_DATA_DIR: '/nowhere' }],
  ] as const
  for (const [words, environment] of wrong) {
    const { code, stderr, stdout } = await daybook([...words], environment)
    t.equal(code, 2, words.join(' '))
    t.ok(words.length === 0 ? stdout : /^daybook: \S/.test(stderr), stderr)
  }
})

t.test('a password is never shown', async (t) => {
  const secret = 'postgres://somebody:s3cret@127.0.0.1:1/nothing'
  for (const words of [['verify'], ['inspect'], ['restore', '--to', '1-1', '--into', secret]]) {
    const { code, stdout, stderr } = await daybook(words, {
      ...{ DATABASE_URL: secret, DAYBOOK_LOG_LEVEL: 'debug' },
    })
    t.equal(code, 1)
    t.notMatch(stdout + stderr, /s3cret/)
  }
})

t.test('inspect shows the book, a record and the records of an account', async (t) => {
  const rows = await book.rows()
  const shown = await daybook(['inspect', '--json'], settings)
  const json = JSON.parse(shown.stdout)
  t.match(json.book, { id: rows.id, generation: 2, shards: 2, recordVersion: 1 })
  t.same(
    json.streams.map(({ stream, head, closed }: Record<string, unknown>) => [stream, head, closed]),
    rows.streams.map(({ id, head, closed }) => [id, head, closed]),
  )
  t.match(json.partitions, [{ partition: 'journal_000000' }])
  const text = (await daybook(['inspect'], settings)).stdout
  t.match(text, rows.id)
  t.match(text, /^ *1 +1 +closed/m)

  const [view] = await query<{ stream: number; seq: string; id: string; kind: string }>(
    "select stream, seq, id, kind from daybook.records where kind = 'transaction' limit 1 offset 9",
  )
  const position = `${view.stream}-${view.seq}`
  const record = await daybook(['inspect', 'record', position, '--json'], settings)
  t.match(JSON.parse(record.stdout), { position, id: view.id, kind: view.kind })
  t.match((await daybook(['inspect', 'record', position], settings)).stdout, /EUR: debit /)
  const none = await daybook(['inspect', 'record', '1-99999'], settings)
  t.match(none, { code: 1, stderr: /ends before|no record/ })

  for (const id of ['customer:3', 'till']) {
    const expected = await query<{ position: string }>(touchedBy(id))
    const positions = async (...more: string[]) => {
      const { stdout } = await daybook(['inspect', 'account', id, '--json', ...more], settings)
      return JSON.parse(stdout).records.map((one: { position: string }) => one.position)
    }
    const all = await positions('--limit', '10000')
    t.ok(all.length > 5)
    t.same([...all].sort(), expected.map((row) => row.position).sort(), id)
    t.same(await positions('--limit', '3'), all.slice(-3))
    t.same(await positions('--tenant', '2'), [])
  }
})

t.test('verify says 0 or 4, and keeps heads in a file', async (t) => {
  const file = join(await temporaryFolder(t), 'heads.json')
  t.match(await daybook(['verify', '--write-anchor', file], settings), {
    ...{ code: 0, stdout: /is whole: \d+ records of 3 streams/ },
  })
  const heads = await daybook(['inspect', '--heads'], settings)
  t.same(JSON.parse(heads.stdout).heads, JSON.parse(await readFile(file, 'utf8')).heads)
  t.match(await daybook(['verify', '--anchor', file], settings), { code: 0 })

  const [last] = await query<{ seq: string }>(
    'select max(first_seq) as seq from daybook.journal where stream = 2',
  )
  await query('create table public.kept as select * from daybook.journal where stream = 2')
  await query(`delete from daybook.journal where stream = 2 and first_seq = ${last.seq}`)
  const damaged = await daybook(['verify', '--json', '--write-anchor', `${file}.2`], settings)
  t.equal(damaged.code, 4)
  t.match(JSON.parse(damaged.stdout).findings, [
    { stream: 2, seq: Number(last.seq), code: 'cut_off' },
  ])
  await t.rejects(readFile(`${file}.2`), 'of a damaged book no heads are kept')
  await query(`insert into daybook.journal select * from public.kept
    where first_seq = ${last.seq}`)

  await writeFile(file, '{}')
  t.match(await daybook(['verify', '--anchor', file], settings), { code: 2, stderr: /no heads/ })
})

t.test('another digest key finds the journal damaged', async (t) => {
  const environment = { ...settings, DAYBOOK_DIGEST_KEY: 'x'.repeat(20) }
  t.equal((await daybook(['verify'], environment)).code, 4)
})

t.test('restore copies, and says what it did', async (t) => {
  const [mark] = book.marks.slice(-2)
  const target = await postgres.createDatabase()
  const to = new Date(mark.timeMs).toISOString()
  const { code, stdout } = await daybook(
    ['restore', '--to', to, '--into', target, '--from', book.connectionString, '--json'],
    {},
  )
  t.equal(code, 0)
  const position = [...positionOf(mark.rows)].map((part) => part.join('-')).join(',')
  t.match(JSON.parse(stdout), { position, sourceBookId: mark.rows.id, generation: 2 })
  const again = await daybook(['restore', '--to', to, '--into', target], settings)
  t.match(again, { code: 1, stderr: /something in it/ })
  t.equal((await daybook(['verify'], { DATABASE_URL: target })).code, 0)
})

t.test('the embedded Postgres is started and stopped, or left as it is', async (t) => {
  const directory = await temporaryFolder(t)
  const environment = { DAYBOOK_DATA_DIR: directory, DAYBOOK_SHARDS: '1' }
  const server = await ServerProcess.start(t, environment)
  const account = { id: 'a', currency: 'EUR', class: 'asset' }
  await fetch(`${server.url}/v1/accounts`, {
    ...{ method: 'POST', headers: { 'content-type': 'application/json' } },
    body: JSON.stringify(account),
  })
  t.match(await daybook(['inspect', 'account', 'a'], environment), { stdout: /account created/ })
  const read = await fetch(`${server.url}/v1/accounts/a`)
  t.equal(read.status, 200, 'the server that used it goes on')
  await server.end('SIGTERM')
  t.match(await daybook(['verify'], environment), { code: 0, stdout: /1 records? of/ })
  const pidFile = join(directory, 'postgres', 'cluster', 'data', 'postmaster.pid')
  await t.rejects(readFile(pidFile), { code: 'ENOENT' }, 'it is stopped again')
})

/** The positions at which SQL finds an account: its own records, and sides that are not elsewhere. */
function touchedBy(id: string): string {
  const key = `'${uuidOf(id)}'::uuid`
  return `select stream || '-' || seq as position from daybook.records r
    where (coalesce(cause_kind, kind) in ('account_created', 'account_changed') and id = ${key})
      or exists (
        select from jsonb_array_elements(body -> 'postings') with ordinality p (posting, number)
        cross join lateral coalesce((body -> 'sides' ->> (number - 1)::int)::int, 0) sides
        where ((posting ->> 0)::uuid = ${key} and sides & 3 <> 1)
          or ((posting ->> 1)::uuid = ${key} and sides >> 2 <> 1))`
}

function uuidOf(name: string): string {
  const key = keyOf(1, name)
  if (key === undefined) throw new Error(`${name} is no name`)
  return formatKey(key)
}

async function query<T>(text: string): Promise<T[]> {
  return await withClient(
    book.connectionString,
    async (client) => (await client.query(text)).rows as T[],
  )
}
