import { join } from 'node:path'
import t from 'tap'
import { ServerProcess } from '../e2e/server.js'
import { temporaryFolder, temporaryPostgres } from '../postgres.js'
import { daybook } from './command-line.js'

t.setTimeout(120_000)

const postgres = await temporaryPostgres(t)
const directory = join(await temporaryFolder(t), 'archive')

t.test('a server reads what was archived, or says what it needs', async (t) => {
  const settings = {
    DATABASE_URL: await postgres.createDatabase(),
    ...{ DAYBOOK_SHARDS: '2', DAYBOOK_SNAPSHOTS: 'off' },
  }
  const first = await ServerProcess.start(t, settings)
  await post(first, '/v1/accounts', { id: 'a', currency: 'EUR', class: 'asset' })
  await post(first, '/v1/accounts', { id: 'b', currency: 'EUR', class: 'equity' })
  const { data } = await post(first, '/v1/transactions', { debit: 'a', credit: 'b', amount: '7' })
  await first.end('SIGTERM')

  const book = JSON.parse((await daybook(['inspect', '--json'], settings)).stdout)
  const open = book.streams.filter(({ closed }: { closed: boolean }) => !closed)
  const position = open.map((row: { stream: number; head: number }) => `${row.stream}-${row.head}`)
  const moved = await daybook(
    ['archive', '--before', position.join(','), '--to', directory],
    settings,
  )
  t.match(moved, { code: 0 }, moved.stderr)

  const without = ServerProcess.spawn(t, settings)
  t.equal((await without.ended()).code, 1)
  t.match(without.log, /have been moved to the archive.*DAYBOOK_ARCHIVE_DIR/)
  t.match(await daybook(['verify'], settings), { code: 1, stderr: /DAYBOOK_ARCHIVE_DIR/ })

  const again = { ...settings, DAYBOOK_ARCHIVE_DIR: directory }
  const second = await ServerProcess.start(t, again)
  const read = await fetch(`${second.url}/v1/transactions/${data.id}`)
  t.match(await read.json(), { data: { id: data.id, postings: data.postings } })
  await post(second, '/v1/transactions', { debit: 'a', credit: 'b', amount: '1' })
  t.match(await daybook(['verify'], again), { code: 0 })
  t.match(await daybook(['archive', '--back', directory], settings), { code: 0 }, 'while it runs')
  await second.end('SIGTERM')
  const third = await ServerProcess.start(t, settings)
  t.equal((await fetch(`${third.url}/v1/transactions/${data.id}`)).status, 200)
  await third.end('SIGTERM')
})

async function post(server: ServerProcess, path: string, body: object) {
  const answer = await fetch(`${server.url}${path}`, {
    ...{ method: 'POST', headers: { 'content-type': 'application/json' } },
    body: JSON.stringify(body),
  })
  t.equal(answer.status, 201)
  return (await answer.json()) as { data: { id: string; postings: unknown[] } }
}
