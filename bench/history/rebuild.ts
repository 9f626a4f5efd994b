import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { buildIndexes, recreateSchema } from '../../src/history/history-store.js'
import { postgresDatabase } from '../../src/journal/postgres.js'
import { BenchBook } from './book.js'
import { rateAtLeast, rateText } from './figure.js'
import type { HistoryBench } from './options.js'

const perSecondTarget = 100_000
const pollMs = 20
const connectTimeoutMs = 10_000

/** `daybook rebuild`, and beside it the same rows copied into the same tables from files. */
export async function measureRebuild(bench: HistoryBench) {
  const { records } = bench.options.sizes
  return await BenchBook.use(
    bench,
    (journal) => journal.addPostings(records),
    async (book) => {
      const rebuilt = await measureCommand(book)
      await book.check('rebuild')
      const copied = await measureCopy(book)
      const { recordsTotal } = rebuilt
      return [
        rateAtLeast('records, rows alone', recordsTotal / rebuilt.rowsSeconds, {
          limit: perSecondTarget,
          beside: `copy from files ${rateText(recordsTotal / copied.rowsSeconds)}`,
        }),
        rateAtLeast('records, rows and indexes', recordsTotal / rebuilt.seconds, {
          limit: perSecondTarget,
          beside: `copy from files and the same indexes ${rateText(recordsTotal / copied.seconds)}`,
        }),
      ]
    },
  )
}

/** Rows are done when progress says so; what the command takes after that are the indexes. */
async function measureCommand(
  book: BenchBook,
): Promise<{ recordsTotal: number; rowsSeconds: number; seconds: number }> {
  let isDone = false
  const command = book.rebuild().finally(() => {
    isDone = true
  })
  let rowsAt = performance.now()
  // Its error is thrown below.
  const watching = (async () => {
    while (!isDone) {
      const { records, recordsTotal } = await book.followed().catch(() => nowhere)
      rowsAt = performance.now()
      if (records === recordsTotal) return
      await sleep(pollMs)
    }
  })()
  const { records, seconds } = await command
  const indexSeconds = (performance.now() - rowsAt) / 1000
  await watching
  return { recordsTotal: records, rowsSeconds: seconds - indexSeconds, seconds }
}

/** The schema is being dropped and made. */
const nowhere = { records: 0, recordsTotal: Number.NaN }

async function measureCopy(book: BenchBook): Promise<{ rowsSeconds: number; seconds: number }> {
  const { client } = book
  const { rows } = await client.query<{ data_directory: string }>('show data_directory')
  const fileOf = (table: string) => join(rows[0].data_directory, `bench-${table}`)
  const tables = ['account', 'transaction', 'entry']
  for (const table of tables) {
    await client.query(
      `copy (select * from daybook_history.${table}) to '${fileOf(table)}' (format binary)`,
    )
  }
  const { rows: months } = await client.query<{ month: Date }>(
    `select distinct date_trunc('month', recorded_at) as month from daybook_history.transaction`,
  )
  const database = postgresDatabase(book.connectionString, connectTimeoutMs)
  const connection = await database.connect({ name: 'bench' })
  const second = await database.connect({ name: 'bench' })
  try {
    const startedAt = performance.now()
    await recreateSchema(connection)
    for (const { month } of months) {
      await connection.query('select daybook_history.ensure_month($1)', [month])
    }
    for (const table of tables) {
      await connection.query(
        `copy daybook_history.${table} from '${fileOf(table)}' (format binary)`,
      )
    }
    const rowsSeconds = (performance.now() - startedAt) / 1000
    await buildIndexes(connection, second)
    return { rowsSeconds, seconds: (performance.now() - startedAt) / 1000 }
  } finally {
    await connection.end()
    await second.end()
    for (const table of tables) await rm(fileOf(table))
  }
}
