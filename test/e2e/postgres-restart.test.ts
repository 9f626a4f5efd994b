import t, { type Test } from 'tap'
import { type TemporaryPostgres, temporaryPostgres } from '../postgres.js'
import { FaultRounds } from './fault-rounds.js'
import { Load } from './load.js'
import { roundsOr } from './rounds.js'
import { ServerProcess, until } from './server.js'

t.setTimeout(120_000 + roundsOr(5) * 120_000)

/** Short, so that clients hear soon that the journal is away. */
const impatient = {
  DAYBOOK_COMMIT_TIMEOUT_MS: '1000',
  DAYBOOK_ADMISSION_TIMEOUT_MS: '500',
  DAYBOOK_REQUEST_TIMEOUT_MS: '1000',
}

const postgres = await temporaryPostgres(t, { own: true })

for (const rounds of FaultRounds.of('postgres killed')) {
  t.test(
    `a Postgres that is killed under load of ${rounds.shards} has lost nothing, and the server goes on`,
    async (t) => {
      const { load, server, DATABASE_URL } = await fixture(t, rounds)
      while (rounds.hasMore) {
        load.start(server.url)
        await load.acknowledged(50 + Math.random() * 100)
        await postgres.kill()
        const { http503, http504 } = load.log.counts
        // The requests in the open batch are not known; those behind it are not accepted.
        await until('the server says so', () => {
          const { counts } = load.log
          return counts.http503 > http503 || counts.http504 > http504
        })
        await postgres.start()
        await load.acknowledged(50)
        await load.stop()
        t.equal(server.ending, undefined, 'the server goes on')
        await rounds.check(t, { url: server.url, connectionString: DATABASE_URL, load })
      }
    },
  )
}

for (const rounds of FaultRounds.of('postgres restarted')) {
  t.test(
    `a Postgres that is restarted under load of ${rounds.shards} has lost nothing, and the server goes on`,
    async (t) => {
      const { load, server, DATABASE_URL } = await fixture(t, rounds)
      while (rounds.hasMore) {
        load.start(server.url)
        await load.acknowledged(50 + Math.random() * 100)
        const settlements = await server.metric('daybook_settlements')
        await stopAndStart(postgres, rounds.done % 2 === 0 ? 'fast' : 'immediate')
        await load.acknowledged(50)
        await load.stop()
        t.equal(server.ending, undefined, 'the server goes on')
        t.ok((await server.metric('daybook_settlements')) > settlements, 'it had to settle')
        await rounds.check(t, { url: server.url, connectionString: DATABASE_URL, load })
      }
    },
  )
}

async function stopAndStart(postgres: TemporaryPostgres, how: 'fast' | 'immediate') {
  await postgres.stop(how)
  await postgres.start()
}

async function fixture(t: Test, rounds: FaultRounds) {
  const DATABASE_URL = await postgres.createDatabase()
  const load = new Load({ goOnWhenLost: true })
  const settings = { DATABASE_URL, ...rounds.settings, ...impatient }
  const server = await ServerProcess.start(t, settings)
  t.teardown(() => load.stop())
  await load.open(server.url)
  return { load, server, DATABASE_URL }
}
