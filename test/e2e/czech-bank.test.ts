import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, mkdtempSync, rmSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { isDeepStrictEqual } from 'node:util'
import t, { type Test } from 'tap'
import { hasBankFiles } from '../../examples/czech-bank/bank-files.js'
import type { Movement } from '../../examples/czech-bank/book.js'
import { DaybookClient } from '../../examples/czech-bank/client.js'
import { DaybookProcess } from '../../examples/czech-bank/daybook-process.js'
import {
  counterAccounts,
  type NewTransaction,
  toTransaction,
} from '../../examples/czech-bank/postings.js'
import { makeSeededBook } from '../../examples/czech-bank/seeded-book.js'
import { withShards } from './rounds.js'
import '../plain-children.js'

const EXAMPLE = fileURLToPath(new URL('../../examples/czech-bank/main.js', import.meta.url))
/** Beside the project; this file runs from dist/test/e2e. */
const BANK_FILES = fileURLToPath(new URL('../../../../shared/data', import.meta.url))

t.setTimeout(300_000)

const hasFiles = hasBankFiles(BANK_FILES)

/** Numbers of shards before and after the kill. */
const one = [1, 1] as const
const several = [4, 3] as const

// The year on several shards asks for all that the made book does, and more: one of the two will do.
for (const shards of hasFiles ? [one] : [one, several]) {
  t.test(`a made book is posted once, and stays as it was after a kill -9: ${shards}`, (t) =>
    postsOnceThroughKill(t, {
      shards,
      args: ['--seeded', '--movements', '2000', '--batch', '300'],
      accounts: '1,139',
      movements: '2,000',
    }),
  )
}

t.test(
  `the bank's year is posted once, and stays as it was after a kill -9: ${several}`,
  { skip: hasFiles ? false : `the bank's files are not in ${BANK_FILES}` },
  (t) =>
    postsOnceThroughKill(t, {
      shards: several,
      args: ['--data', BANK_FILES],
      accounts: '1,139',
      movements: '28,205',
    }),
)

t.test('a total that is not as expected is listed, and the exit code is 1', async (t) => {
  const server = await serverIn(dataFolder(t))
  t.teardown(() => server.stop())
  const args = ['--seeded', '--seed', '7', '--movements', '50', '--url', server.url]
  t.equal((await runExample(args)).code, 0)
  const client = new DaybookClient(server.url, new AbortController().signal)
  const book = makeSeededBook({ seed: 7, movements: 50 })
  await client.postBatch([{ ...toTransaction(book, book.movements[0]), id: 'one-too-many' }])

  const { code, output } = await runExample(args)

  t.equal(code, 1)
  t.match(output, /49 of 50 customer accounts match/)
  t.match(output, new RegExp(`account ${book.movements[0].account}: credits .* expected, .* found`))
})

t.test(
  'a made book is the same for the same seed, and has the shape of the real one',
  async (t) => {
    const book = makeSeededBook({ seed: 1, movements: 28_205 })
    const again = makeSeededBook({ seed: 1, movements: 28_205 })
    const other = makeSeededBook({ seed: 2, movements: 28_205 })
    // Not t.same, which takes minutes to compare as much as this.
    t.ok(isDeepStrictEqual(again, book))
    t.notOk(isDeepStrictEqual(other.movements, book.movements))
    t.equal(book.movements.length, 28_205)
    t.equal(book.expected.size, 1_139)
    t.equal(new Set(book.movements.map((movement) => movement.id)).size, 28_205)
    const dates = book.movements.map((movement) => movement.date)
    t.ok(isDeepStrictEqual(dates, dates.toSorted()), 'in booking order')
    t.equal(dates.at(0), '1993-01-01')
    t.equal(dates.at(-1), '1993-12-31')
    t.same(
      counterAccounts(book).map((account) => account.id.split(':')[1]),
      ['AB', 'CD', 'EF', 'GH', 'IJ', 'KL', 'MN', 'OP', 'QR', 'ST', 'UV', 'WX', 'YZ']
        .map((bank) => `bank-${bank}`)
        .concat(['cash', 'fees', 'interest-earned', 'interest-paid']),
    )
  },
)

t.test(
  'a charge booked as a cash withdrawal is income, and an unknown one is refused',
  async (t) => {
    const book = makeSeededBook({ seed: 1, movements: 1 })
    const withdrawal: Movement = {
      ...book.movements[0],
      account: '9',
      side: 'debit',
      operation: 'cash_withdrawal',
    }
    const ends = (purpose: string) => {
      const { debit, credit } = toTransaction(book, { ...withdrawal, purpose })
      return [debit, credit].map((id) => id.slice(book.prefix.length))
    }
    t.same(ends(''), ['9', 'cash'])
    t.same(ends('statement_fee'), ['9', 'fees'])
    t.same(ends('overdraft_interest'), ['9', 'interest-earned'])
    t.throws(() => ends('gold'), /no counter account for debit/)
  },
)

t.test('429, 503, 504 and a cut connection are answered with the very same body', async (t) => {
  const bodies: string[] = []
  const statuses = [429, 503, 504, 'cut', 200]
  const server = createServer(async (request, response) => {
    const chunks: Buffer[] = []
    for await (const chunk of request) chunks.push(chunk as Buffer)
    bodies.push(Buffer.concat(chunks).toString())
    const status = statuses.shift()
    if (typeof status !== 'number') return void request.socket.destroy()
    response.writeHead(status, { 'content-type': 'application/json', 'retry-after': '0' })
    const results = [{ id: 'x', outcome: 'replayed' }]
    response.end(
      JSON.stringify(status === 200 ? { data: { results } } : { error: { code: 'wait' } }),
    )
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => server.close())
  const { port } = server.address() as AddressInfo
  const client = new DaybookClient(`http://127.0.0.1:${port}`, new AbortController().signal)

  t.same(await client.postBatch([{ id: 'x' } as NewTransaction]), ['replayed'])

  t.equal(bodies.length, 5)
  t.equal(new Set(bodies).size, 1)
  t.equal(client.retries, 4)
})

async function postsOnceThroughKill(
  t: Test,
  book: {
    shards: readonly [before: number, after: number]
    args: readonly string[]
    accounts: string
    movements: string
  },
): Promise<void> {
  const folder = dataFolder(t)
  let server = await serverIn(folder, book.shards[0])
  t.teardown(() => server.stop())
  const allMatch = new RegExp(`${book.accounts} of ${book.accounts} customer accounts match`)

  const first = await runExample([...book.args, '--url', server.url])
  t.equal(first.code, 0, 'exit code', { output: first.output })
  t.match(first.output, new RegExp(`: ${book.movements} new, 0 replayed`))
  t.match(first.output, allMatch)

  await server.kill()
  server = await serverIn(folder, book.shards[1])

  const second = await runExample([...book.args, '--url', server.url])
  t.equal(second.code, 0, 'exit code', { output: second.output })
  t.match(second.output, new RegExp(`: 0 new, ${book.movements} replayed`))
  t.match(second.output, allMatch)
  t.equal(lastLines(second.output), lastLines(first.output), 'the counter accounts too')
}

/** From the table of counter accounts on, which holds no times. */
function lastLines(output: string): string {
  return output.slice(output.indexOf('  Counter account'))
}

function dataFolder(t: Test): string {
  const folder = mkdtempSync(join(tmpdir(), 'daybook-example-'))
  // Started as root, Postgres runs as another user, who must be let through.
  chmodSync(folder, 0o755)
  t.teardown(() => rmSync(folder, { recursive: true, force: true }))
  return folder
}

function serverIn(folder: string, shards = 1): Promise<DaybookProcess> {
  return DaybookProcess.start({ dataFolder: folder, settings: withShards(shards) })
}

async function runExample(args: readonly string[]): Promise<{ code: number; output: string }> {
  const child = spawn(process.execPath, [EXAMPLE, ...args], { stdio: ['ignore', 'pipe', 'pipe'] })
  let output = ''
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text: string) => {
      output += text
    })
  }
  const [code] = await once(child, 'close')
  return { code, output }
}
