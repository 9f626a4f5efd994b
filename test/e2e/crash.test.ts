import t from 'tap'
import { temporaryPostgres } from '../postgres.js'
import { FaultRounds } from './fault-rounds.js'
import { Load } from './load.js'
import { type Fate, PostgresProxy } from './proxy.js'
import { roundsOr } from './rounds.js'
import { ServerProcess, until } from './server.js'

t.setTimeout(120_000 + roundsOr(5) * 60_000)

const shared = await temporaryPostgres(t)

for (const rounds of FaultRounds.of('server killed')) {
  t.test(
    `a server of ${rounds.shards} that is killed under load has lost nothing and done nothing twice`,
    async (t) => {
      const DATABASE_URL = await shared.createDatabase()
      const load = new Load()
      let server = await ServerProcess.start(t, { DATABASE_URL, ...rounds.settings })
      await load.open(server.url)
      while (rounds.hasMore) {
        load.start(server.url)
        await load.acknowledged(50 + Math.random() * 200)
        await server.end('SIGKILL')
        await load.lost()
        server = await ServerProcess.start(t, { DATABASE_URL, ...rounds.settings })
        await rounds.check(t, { url: server.url, connectionString: DATABASE_URL, load })
      }
      // One kill alone may come while the load happens to read on every connection.
      const { unknown } = load.log.counts
      if (rounds.done > 1) t.ok(unknown > 0, `the kills hit ${unknown} requests under way`)
    },
  )
}

for (const rounds of FaultRounds.of('server killed before a commit')) {
  t.test(
    `a server of ${rounds.shards} that is killed before its commit is through has told nobody`,
    async (t) => {
      const database = await shared.createDatabase()
      const proxy = await PostgresProxy.start(t, database)
      const DATABASE_URL = proxy.connectionString
      const connections = 6
      const load = new Load({ connections })
      let server = await ServerProcess.start(t, { DATABASE_URL, ...rounds.settings })
      await load.open(server.url)
      while (rounds.hasMore) {
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
        server = await ServerProcess.start(t, { DATABASE_URL, ...rounds.settings })
        await rounds.check(t, { url: server.url, connectionString: database, load })
      }
    },
  )
}
