import t, { type Test } from 'tap'
import { temporaryPostgres } from '../postgres.js'
import { HttpClient, isAcknowledged } from './client-log.js'
import { FaultRounds } from './fault-rounds.js'
import { Load } from './load.js'
import { single } from './requests.js'
import { roundsOr } from './rounds.js'
import { ServerProcess, until } from './server.js'

const exitTakenOver = 3
const leaseMs = 1000

t.setTimeout(120_000 + roundsOr(5) * 60_000)

const postgres = await temporaryPostgres(t)

for (const rounds of FaultRounds.of('process frozen')) {
  t.test(
    `a server of ${rounds.shards} that was frozen while it was taken over answers nothing more`,
    async (t) => {
      const DATABASE_URL = await postgres.createDatabase()
      const settings = { DATABASE_URL, ...rounds.settings, DAYBOOK_LEASE_MS: String(leaseMs) }
      const load = new Load()
      let server = await ServerProcess.start(t, settings)
      await load.open(server.url)
      while (rounds.hasMore) {
        load.start(server.url)
        await load.acknowledged(100)
        server = await freezeAndTakeOver(t, { first: server, settings, load })
        load.start(server.url)
        await load.acknowledged(50)
        await load.stop()
        await rounds.check(t, { url: server.url, connectionString: DATABASE_URL, load })
      }
    },
  )
}

interface Frozen {
  first: ServerProcess
  settings: Record<string, string>
  load: Load
}

/** Returns the server that has taken over from the first one, which has ended. */
async function freezeAndTakeOver(t: Test, { first, settings, load }: Frozen) {
  first.signal('SIGSTOP')
  const frozenAt = performance.now()
  const second = await ServerProcess.start(t, settings)

  // Sent to the frozen one: a new posting, a repeat, a read. They wait in its socket.
  const client = new HttpClient(first.url, 4)
  const [cash] = load.accounts
  const [customer] = load.customers
  const [done] = load.log.requests
  const fresh = load.log.add(single([{ debit: cash.id, credit: customer.id, amount: 1n }]))
  const late = [
    client.post(fresh.path, fresh.body),
    client.post(done.path, done.body),
    client.get(`/v1/accounts/${customer.id}`),
    client.get(`/v1/transactions/${done.body.id}`),
  ]
  await until('the lease has run out', () => performance.now() > frozenAt + 1.2 * leaseMs)
  first.signal('SIGCONT')
  t.same(await first.ended(), { code: exitTakenOver, signal: null })
  await load.lost()
  const answers = await Promise.all(late)
  client.close()
  t.same(
    answers.filter((answer) => answer.kind === 'answer' && answer.status < 500),
    [],
    'nothing was answered with success, nor refused',
  )
  load.log.record(fresh, answers[0])
  t.notOk(isAcknowledged(fresh.entries[0]))
  return second
}
