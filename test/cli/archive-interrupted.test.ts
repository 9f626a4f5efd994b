import { readdir } from 'node:fs/promises'
import t from 'tap'
import { withClient } from '../actors/book-database.js'
import { temporaryFolder, temporaryPostgres } from '../postgres.js'
import { SampleBook } from '../snapshots/sample-book.js'
import { CommandLine, daybook } from './command-line.js'
import { holdGate, isWaiting, stopAt, until } from './gate.js'

t.setTimeout(240_000)

const postgres = await temporaryPostgres(t)

const places = [
  { words: 'move', table: 'archive', on: 'insert', at: 1 },
  { words: 'move', table: 'archive', on: 'insert', at: 2 },
  { words: 'move', table: 'journal', on: 'delete', at: 1 },
  { words: 'move', table: 'journal', on: 'delete', at: 3 },
  { words: 'back', table: 'journal', on: 'insert', at: 1 },
  { words: 'back', table: 'journal', on: 'insert', at: 3 },
  { words: 'back', table: 'archive', on: 'delete', at: 2 },
] as const

for (const [index, { words, ...place }] of places.entries()) {
  const signal = index % 2 === 0 ? 'SIGKILL' : 'SIGINT'
  const name = `${words}: ${signal} at ${place.on} ${place.at} into ${place.table}`
  t.test(`${name}: run again, it is as if it had not been interrupted`, async (t) => {
    const book = await SampleBook.make(t, postgres, { shards: [1, 2], rounds: 1, seed: index })
    await book.engine.stop()
    const { connectionString } = book
    const directory = await temporaryFolder(t)
    const [stream1, ...others] = (await book.rows()).streams
    const position = others.map(({ id, head }) => `${id}-${Math.floor(head / 2)}`).join(',')
    const commands = {
      move: ['archive', '--before', position, '--to', directory],
      back: ['archive', '--back', directory],
    }
    const settings = { DATABASE_URL: connectionString, DAYBOOK_ARCHIVE_DIR: directory }
    const before = await rowsOf(connectionString)
    if (words === 'back') t.match(await daybook(commands.move, settings), { code: 0 })
    await stopAt(connectionString, place)
    const holder = await holdGate(connectionString)
    const first = new CommandLine(commands[words], settings)
    await until(() => isWaiting(connectionString))
    first.kill(signal)
    t.equal((await first.ended).code, signal === 'SIGINT' ? 130 : null)
    await holder.release()
    await until(() => isAlone(connectionString))
    t.match(await daybook(['verify'], settings), { code: 0 }, 'it is whole meanwhile')
    t.match(await daybook(commands[words], settings), { code: 0 })
    t.match(await daybook(['verify'], settings), { code: 0 }, 'and afterwards')
    if (words === 'move') {
      const left = await rowsOf(connectionString)
      t.ok(
        left.every((row) => Number(row[0]) !== stream1.id),
        'the first generation is gone',
      )
      const files = await readdir(directory)
      t.equal(files.length, 6, `a file and a manifest for each stream: ${files}`)
      t.match(await daybook(commands.back, settings), { code: 0 })
    }
    t.same(await rowsOf(connectionString), before)
    t.same(await readdir(directory), [])
  })
}

async function rowsOf(connectionString: string): Promise<unknown[][]> {
  return await withClient(connectionString, async (client) => {
    const { rows } = await client.query<unknown[]>({
      text: `select stream, first_seq, part, n, epoch, md5(prev), md5(payload)
        from daybook.journal order by stream, first_seq, part`,
      rowMode: 'array',
    })
    return rows
  })
}

/** Whether what the killed command had sent has come to its end. */
async function isAlone(connectionString: string): Promise<boolean> {
  return await withClient(connectionString, async (client) => {
    const { rows } = await client.query(
      `select from pg_stat_activity where datname = current_database()
         and application_name = 'daybook archive'`,
    )
    return rows.length === 0
  })
}
