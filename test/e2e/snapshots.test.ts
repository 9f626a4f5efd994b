import t from 'tap'
import { withClient } from '../actors/book-database.js'
import { temporaryPostgres } from '../postgres.js'
import { FaultRounds } from './fault-rounds.js'
import { Load } from './load.js'
import { roundsOr } from './rounds.js'
import { ServerProcess, until } from './server.js'

t.setTimeout(120_000 + roundsOr(5) * 60_000)

const postgres = await temporaryPostgres(t)
/** A round takes as long as two or three snapshots. */
const usualRounds = 2
/** So that one is due again and again. */
const settings = { DAYBOOK_SNAPSHOT_RECORDS: '60', DAYBOOK_SNAPSHOTS_KEPT: '2' }

for (const rounds of FaultRounds.of('killed while it builds a snapshot', usualRounds)) {
  t.test(
    `a server of ${rounds.shards} that is killed while it builds a snapshot goes on from the one before`,
    async (t) => {
      const DATABASE_URL = await postgres.createDatabase()
      const all = { DATABASE_URL, ...settings, ...rounds.settings }
      const load = new Load()
      let server = await ServerProcess.start(t, all)
      await load.open(server.url)
      while (rounds.hasMore) {
        load.start(server.url)
        await load.acknowledged(50 + Math.random() * 100)
        const { url } = server
        await until('a snapshot has been built', async () => {
          return (await server.metric('daybook_snapshots_built')) > 0
        })
        await until('another one is being built', async () => {
          return (await server.metric('daybook_snapshot_building')) === 1
        })
        await server.end('SIGKILL')
        await load.lost()
        server = await ServerProcess.start(t, all)
        t.not(server.url, url)
        t.match(server.log, 'started from a snapshot')
        await rounds.check(t, { url: server.url, connectionString: DATABASE_URL, load })
      }
      const left = () => countOf(DATABASE_URL, 'manifest is null')
      await until('what was cut off is swept', async () => {
        load.start(server.url)
        await load.acknowledged(10)
        await load.stop()
        return (await left()) === 0
      })
    },
  )
}

for (const rounds of FaultRounds.of('snapshot damaged', usualRounds)) {
  t.test(
    `a server of ${rounds.shards} passes over a snapshot in which a bit has flipped`,
    async (t) => {
      const DATABASE_URL = await postgres.createDatabase()
      const all = { DATABASE_URL, ...settings, ...rounds.settings }
      const load = new Load()
      let server = await ServerProcess.start(t, all)
      await load.open(server.url)
      while (rounds.hasMore) {
        load.start(server.url)
        await load.acknowledged(50)
        await until('two snapshots are there', async () => {
          return (await countOf(DATABASE_URL, 'manifest is not null')) === 2
        })
        await server.end('SIGKILL')
        await load.lost()
        await flipBit(DATABASE_URL)
        server = await ServerProcess.start(t, all)
        t.match(server.log, /snapshot \S+ is passed over: /)
        t.match(server.log, 'started from a snapshot', 'the one before is whole')
        await rounds.check(t, { url: server.url, connectionString: DATABASE_URL, load })
      }
    },
  )
}

async function countOf(connectionString: string, condition: string): Promise<number> {
  return await withClient(connectionString, async (client) => {
    const { rowCount } = await client.query(`select from daybook.snapshot where ${condition}`)
    return rowCount ?? 0
  })
}

/** In any block of the newest snapshot, or in its manifest. */
async function flipBit(connectionString: string): Promise<void> {
  await withClient(connectionString, async (client) => {
    const newest =
      'select id from daybook.snapshot where manifest is not null order by id desc limit 1'
    if (Math.random() < 0.2) {
      await client.query(
        `update daybook.snapshot
         set manifest = set_byte(manifest, 60, get_byte(manifest, 60) # 1) where id = (${newest})`,
      )
      return
    }
    const flipped = `set_byte(payload, at, get_byte(payload, at) # (1 << (random() * 7)::int))`
    await client.query(
      `update daybook.snapshot_block b set payload = ${flipped}
       from (select snapshot, b.number, floor(random() * octet_length(payload))::int as at
             from daybook.snapshot_block b join daybook.snapshot s on s.number = snapshot
             where s.id = (${newest}) order by random() limit 1) one
       where b.snapshot = one.snapshot and b.number = one.number`,
    )
  })
}
