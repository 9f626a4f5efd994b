import t from 'tap'
import { temporaryPostgres } from '../postgres.js'
import { checkBook } from './journal-check.js'
import { Load } from './load.js'
import { type Fate, PostgresProxy } from './proxy.js'
import { roundsOr, shardCounts, withShards } from './rounds.js'
import { ServerProcess, until } from './server.js'

const rounds = roundsOr(2)

t.setTimeout(60_000 + rounds * 30_000 * shardCounts.length)

const shared = await temporaryPostgres(t)

for (const shards of shardCounts) {
  t.test(
    `a server of ${shards} that is killed under load has lost nothing and done nothing twice`,
    async (t) => {
      const DATABASE_URL = await shared.createDatabase()
      const load = new Load()
      let server = await ServerProcess.start(t, { DATABASE_URL, ...withShards(shards) })
      await load.open(server.url)
      for (let round = 0; round < rounds; round++) {
        load.start(server.url)
        await load.acknowledged(100 + Math.random() * 400)
        await server.end('SIGKILL')
        await load.lost()
        server = await ServerProcess.start(t, { DATABASE_URL, ...withShards(shards) })
        await checkBook(t, { url: server.url, connectionString: DATABASE_URL, load })
      }
      t.ok(load.log.counts.unknown > 0, 'the kills hit requests under way')
    },
  )

  t.test(
    `a server of ${shards} that is killed before its commit is through has told nobody`,
    async (t) => {
      const database = await shared.createDatabase()
      const proxy = await PostgresProxy.start(t, database)
      const DATABASE_URL = proxy.connectionString
      const connections = 6
      const load = new Load({ connections })
      let server = await ServerProcess.start(t, { DATABASE_URL, ...withShards(shards) })
      await load.open(server.url)
      for (let round = 0; round < rounds; round++) {
        load.start(server.url)
        await load.acknowledged(50)
        // From here on no batch gets through: soon every connection waits, and stays so.
        let parked = 0
        proxy.onCommit = ({ of }) => {
          if (of === 'batch') parked += 1
          return of === 'batch' ? new Promise<Fate>(() => undefined) : 'pass'
        }
        await until('a commit is on its way', () => parked > 0)
        const { acknowledged } = load.log.counts
        let last = acknowledged
        let quietPolls = 0
        await until('every connection waits, or was answered too early', () => {
          const isQuiet = load.underWay === connections && load.log.counts.acknowledged === last
          quietPolls = isQuiet ? quietPolls + 1 : 0
          last = load.log.counts.acknowledged
          return quietPolls === 10 || last > acknowledged + 100
        })
        await server.end('SIGKILL')
        await load.lost()
        proxy.onCommit = () => 'pass'
        server = await ServerProcess.start(t, { DATABASE_URL, ...withShards(shards) })
        await checkBook(t, { url: server.url, connectionString: database, load })
      }
    },
  )

  t.test(
    `a Postgres that is killed under load of ${shards} has lost nothing, and the server goes on`,
    async (t) => {
      const postgres = await temporaryPostgres(t, { own: true })
      const DATABASE_URL = await postgres.createDatabase()
      const load = new Load({ goOnWhenLost: true })
      const server = await ServerProcess.start(t, {
        DATABASE_URL,
        ...withShards(shards),
        DAYBOOK_COMMIT_TIMEOUT_MS: '1000',
        DAYBOOK_ADMISSION_TIMEOUT_MS: '500',
        DAYBOOK_REQUEST_TIMEOUT_MS: '1000',
      })
      await load.open(server.url)
      for (let round = 0; round < rounds; round++) {
        load.start(server.url)
        await load.acknowledged(100 + Math.random() * 200)
        await postgres.kill()
        const { http503, http504 } = load.log.counts
        // The requests in the open batch are not known; those behind it are not accepted.
        await until('the server says so', () => {
          const { counts } = load.log
          return counts.http503 > http503 || counts.http504 > http504
        })
        await postgres.start()
        await load.acknowledged(100)
        await load.stop()
        t.equal(server.ending, undefined, 'the server goes on')
        await checkBook(t, { url: server.url, connectionString: DATABASE_URL, load })
      }
    },
  )
}
