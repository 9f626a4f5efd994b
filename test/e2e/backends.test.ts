import pg from 'pg'
import t, { type Test } from 'tap'
import { temporaryPostgres } from '../postgres.js'
import { FaultRounds } from './fault-rounds.js'
import { Load } from './load.js'
import { roundsOr } from './rounds.js'
import { ServerProcess } from './server.js'

t.setTimeout(120_000 + roundsOr(5) * 60_000)

const strikesPerRound = 3

const postgres = await temporaryPostgres(t)

for (const rounds of FaultRounds.of('backends terminated')) {
  t.test(`a server of ${rounds.shards} whose backends are terminated under load goes on`, (t) =>
    terminatesBackends(t, rounds),
  )
}

async function terminatesBackends(t: Test, rounds: FaultRounds): Promise<void> {
  const DATABASE_URL = await postgres.createDatabase()
  const load = new Load()
  const server = await ServerProcess.start(t, { DATABASE_URL, ...rounds.settings })
  await load.open(server.url)
  while (rounds.hasMore) {
    load.start(server.url)
    const settlements = await server.metric('daybook_settlements')
    let [journals, hits] = [0, 0]
    for (let strike = 0; strike < strikesPerRound; strike++) {
      await load.acknowledged(10 + Math.random() * 50)
      const terminated = await terminate(DATABASE_URL, strike === 0 ? 1 : 0.6)
      hits += terminated.length
      journals += terminated.filter((name) => name === 'daybook journal').length
    }
    await load.acknowledged(30)
    await load.stop()
    t.equal(server.ending, undefined, 'the server goes on')
    t.ok(journals > 0, `${journals} sessions of the journal were ended`)
    t.ok((await server.metric('daybook_settlements')) > settlements, 'and settled')
    await rounds.check(t, { url: server.url, connectionString: DATABASE_URL, load }, hits)
  }
  // A repeat is answered from the journal, and may find that it cannot be read just now.
  const untold = [...load.log.entries.values()].filter(
    ({ answers }) => answers[0].outcome === 'unknown',
  )
  t.same(untold, [], 'what was sent for the first time was answered')
}

/** Ends each of the server's backends with that probability; returns what they called themselves. */
async function terminate(connectionString: string, probability: number): Promise<string[]> {
  const client = new pg.Client({ connectionString })
  await client.connect()
  const { rows } = await client
    .query<{ name: string }>(
      `select application_name as name, pg_terminate_backend(pid) from pg_stat_activity
       where datname = current_database() and pid <> pg_backend_pid()
         and backend_type = 'client backend' and random() < $1`,
      [probability],
    )
    .finally(() => client.end())
  return rows.map(({ name }) => name)
}
