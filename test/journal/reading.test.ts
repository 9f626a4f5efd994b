import pg from 'pg'
import t from 'tap'
import type { Database, DatabaseConnection } from '../../src/journal/database.js'
import { migrate } from '../../src/journal/migrate.js'
import { postgresDatabase } from '../../src/journal/postgres.js'
import { postgresStore } from '../../src/journal/postgres-session.js'
import type { StoredChunk } from '../../src/journal/replay.js'
import { readInWindows, windowRecords } from '../../src/journal/windows.js'
import { temporaryPostgres } from '../postgres.js'

const postgres = await temporaryPostgres(t)

t.test('a journal without statistics is read in the order of its index', async (t) => {
  const connectionString = await postgres.createDatabase()
  const client = new pg.Client({ connectionString })
  await client.connect()
  t.teardown(() => client.end())
  await migrate(client)
  await client.query('select daybook.ensure_partition(1000)')
  await client.query(
    `insert into daybook.journal (stream, first_seq, part, n, epoch, prev, payload)
     select 1, seq, 0, 1, 1, '', convert_to(repeat('x', 7000), 'latin1')
     from generate_series(1, 1000) seq`,
  )
  const { opened, connections } = remembering(postgresDatabase(connectionString, 10_000))
  const session = await postgresStore(opened).open()
  t.teardown(() => session.close())
  const { rows } = await connections[0].query<{ 'QUERY PLAN': string }>(
    `explain select first_seq, payload from daybook.journal
     where stream = 1 and first_seq > 10 and first_seq <= 900 order by first_seq, part`,
  )
  const plan = rows.map((row) => row['QUERY PLAN']).join('\n')
  t.match(plan, /Index Scan using journal_\d+_pkey/)
  t.notMatch(plan, /Sort/)
})

t.test('a stream is read whole, a window after the other', async (t) => {
  const rows = 2 * windowRecords + 10
  const asked: [number, number][] = []
  const session = {
    async *readChunks(stream: number, afterSeq: number, toSeq: number) {
      asked.push([afterSeq, toSeq])
      for (let firstSeq = afterSeq + 1; firstSeq <= toSeq; firstSeq++) {
        yield { stream, firstSeq } as StoredChunk
      }
    },
  }
  let expected = 3
  for await (const { firstSeq } of readInWindows(session, 1, { afterSeq: 3, toSeq: rows })) {
    expected += 1
    if (firstSeq !== expected) return t.fail(`${firstSeq} in place of ${expected}`)
  }
  t.equal(expected, rows)
  t.same(asked, [
    [3, windowRecords + 3],
    [windowRecords + 3, 2 * windowRecords + 3],
    [2 * windowRecords + 3, rows],
  ])
})

/** The database, and the connections that it has made. */
function remembering(database: Database): { opened: Database; connections: DatabaseConnection[] } {
  const connections: DatabaseConnection[] = []
  const opened: Database = {
    async connect(options) {
      const connection = await database.connect(options)
      connections.push(connection)
      return connection
    },
  }
  return { opened, connections }
}
