import t, { type Test } from 'tap'
import { temporaryPostgres } from '../postgres.js'
import { type Fault, FaultRounds } from './fault-rounds.js'
import { Load } from './load.js'
import { type Fate, PostgresProxy } from './proxy.js'
import { roundsOr } from './rounds.js'
import { ServerProcess, until } from './server.js'

t.setTimeout(120_000 + roundsOr(5) * 120_000)

const postgres = await temporaryPostgres(t)

/** In a round each of these strikes once. */
const fates: readonly (readonly [Fault, readonly Fate[]])[] = [
  ['commit cut', ['cut before', 'cut after', 'cut at once']],
  ['commit half-open', ['half-open']],
  ['commit delayed', ['hold answer', 'late']],
]

/** A silent connection is soon given up, long before anything that clients would notice. */
const commitMsMax = 1000
const impatient = {
  DAYBOOK_ADMISSION_TIMEOUT_MS: '5000',
  DAYBOOK_REQUEST_TIMEOUT_MS: '8000',
}

for (const [fault, each] of fates) {
  for (const rounds of FaultRounds.of(fault)) {
    t.test(`a ${fault} (${each.join(', ')}) is settled under load of ${rounds.shards}`, (t) =>
      strikesCommits(t, rounds, each),
    )
  }
}

async function strikesCommits(t: Test, rounds: FaultRounds, fates: readonly Fate[]): Promise<void> {
  const { server, proxy, database, load } = await fixture(t, rounds, commitMsMax)
  let strikes = 0
  while (rounds.hasMore) {
    load.start(server.url)
    for (const fate of fates) {
      await proxy.strike(fate, Math.floor(Math.random() * 30))
      await load.acknowledged(50)
      strikes += 1
    }
    await load.stop()
    await rounds.check(t, { url: server.url, connectionString: database, load }, fates.length)
  }
  t.equal(server.ending, undefined, 'the server goes on')
  t.ok((await server.metric('daybook_settlements')) >= strikes, 'each was settled')
  t.equal(load.log.counts.unknown, 0, 'and the clients saw nothing of it')
}

/** Of one message; a commit has several, and may take as long as one. */
const delayMsMax = 400

for (const rounds of FaultRounds.of('connection delayed')) {
  t.test(
    `connections that are slow by chance, and then too slow, lose nothing of ${rounds.shards}`,
    async (t) => {
      const { server, proxy, database, load } = await fixture(t, rounds, delayMsMax)
      while (rounds.hasMore) {
        load.start(server.url)
        proxy.delayMsMax = 20
        await load.acknowledged(30)
        // What the server has given up still arrives, while it settles, or after that.
        proxy.delayMsMax = delayMsMax
        const settlements = await server.metric('daybook_settlements')
        await until('a commit was too slow', async () => {
          return (await server.metric('daybook_settlements')) > settlements
        })
        proxy.delayMsMax = 20
        await load.acknowledged(30)
        await load.stop()
        proxy.delayMsMax = 0
        await rounds.check(t, { url: server.url, connectionString: database, load })
      }
      t.equal(server.ending, undefined, 'the server goes on')
    },
  )
}

async function fixture(t: Test, rounds: FaultRounds, commitMs: number) {
  const database = await postgres.createDatabase()
  const proxy = await PostgresProxy.start(t, database)
  const server = await ServerProcess.start(t, {
    DATABASE_URL: proxy.connectionString,
    DAYBOOK_COMMIT_TIMEOUT_MS: String(commitMs),
    ...rounds.settings,
    ...impatient,
  })
  const load = new Load()
  await load.open(server.url)
  return { server, proxy, database, load }
}
