import pg from 'pg'
import t, { type Test } from 'tap'
import { temporaryPostgres } from '../postgres.js'
import { HttpClient, type Request, statusOf, toMinor } from './client-log.js'
import { checkBook } from './journal-check.js'
import { Load, single } from './load.js'
import { type Fate, PostgresProxy } from './proxy.js'
import { roundsOr } from './rounds.js'
import { ServerProcess, until } from './server.js'

const rounds = roundsOr(2)

t.setTimeout(120_000 + rounds * 60_000)

const postgres = await temporaryPostgres(t)

const fates: readonly Fate[] = [
  'cut before',
  'cut after',
  'cut at once',
  'hold answer',
  'half-open',
  'late',
]

/** Below all times of the server that matter, so that a silent connection is soon given up. */
const impatient = {
  DAYBOOK_COMMIT_TIMEOUT_MS: '300',
  DAYBOOK_ADMISSION_TIMEOUT_MS: '5000',
  DAYBOOK_REQUEST_TIMEOUT_MS: '8000',
}

for (const fate of fates) {
  t.test(`a commit with the fate "${fate}" is settled under load`, async (t) => {
    const { server, proxy, database, load } = await fixture(t, impatient)
    for (let round = 0; round < rounds; round++) {
      load.start(server.url)
      await proxy.strike(fate, Math.floor(Math.random() * 30))
      await load.acknowledged(100)
      await load.stop()
      await checkBook(t, { url: server.url, connectionString: database, load })
    }
    t.equal(server.ending, undefined, 'the server goes on')
    t.ok((await settlements(server)) >= rounds, 'each was settled')
    t.equal(load.log.counts.unknown, 0, 'and the clients saw nothing of it')
  })
}

t.test('a settlement whose own commit is cut is settled again', async (t) => {
  const { server, proxy, database, load } = await fixture(t, impatient)
  for (let round = 0; round < rounds; round++) {
    // Of these only "half-open" takes long: Postgres has to notice that nobody is there any more.
    const script: Fate[] = ['cut before', 'cut after', 'hold answer', 'half-open', 'cut at once']
    load.start(server.url)
    const first = round % 2 === 0 ? 'cut before' : 'cut after'
    await proxy.strike(first, Math.floor(Math.random() * 10), () => script.shift() ?? 'pass')
    await until('every settlement was struck', () => script.length === 0)
    await load.acknowledged(50)
    await load.stop()
    await checkBook(t, { url: server.url, connectionString: database, load })
  }
  t.equal(server.ending, undefined, 'the server goes on')
})

for (const fate of ['cut before', 'cut after'] as const) {
  t.test(
    `an id sent twice, with "${fate}" in between, is answered when it is durable`,
    async (t) => {
      const { server, proxy, database, load } = await fixture(t, {
        DAYBOOK_COMMIT_TIMEOUT_MS: '30000',
        DAYBOOK_REQUEST_TIMEOUT_MS: '60000',
      })
      for (let round = 0; round < rounds; round++) {
        const [cash, , customer] = load.accounts
        const request = single([{ debit: cash.id, credit: customer.id, amount: 100n }])
        await sendTwice(t, { request, fate, server, proxy, database })
      }
    },
  )
}

t.test('nothing that rests on a commit under way is shown before it is durable', async (t) => {
  const { server, proxy, database, load } = await fixture(t, {
    DAYBOOK_COMMIT_TIMEOUT_MS: '30000',
    DAYBOOK_REQUEST_TIMEOUT_MS: '60000',
  })
  const [cash, , customer, other] = load.accounts
  const client = new HttpClient(server.url, 8)
  t.teardown(() => client.close())
  const gate = new Gate()
  let parked = 0
  proxy.onCommit = ({ of }) => {
    if (of !== 'batch') return 'pass'
    parked += 1
    return parked === 1 ? gate.fate : 'pass'
  }
  const deposit = single([{ debit: cash.id, credit: customer.id, amount: 100n }])
  const first = client.post(deposit.path, deposit.body)
  await until('the deposit is on its way', () => parked === 1)

  // A read, a refusal, and a use of the id with another body: each rests on the deposit.
  const tooMuch = single([{ debit: customer.id, credit: other.id, amount: 9_000_000n }])
  const early: string[] = []
  const resting = {
    account: client.get(`/v1/accounts/${customer.id}`),
    transaction: client.get(`/v1/transactions/${deposit.body.id}`),
    refusal: client.post(tooMuch.path, tooMuch.body),
    otherBody: client.post(deposit.path, { ...deposit.body, amount: '2.00' }),
    first,
  }
  for (const [name, answer] of Object.entries(resting)) void answer.then(() => early.push(name))
  await until('all are under way', async () => (await inFlight(server)) === 5)
  // What rests on nothing new is answered, so the server is not just stuck.
  t.equal(statusOf(await client.get(`/v1/accounts/${other.id}`)), 200)
  t.same(early, [])
  t.equal(await countInJournal(database, deposit), 0)

  gate.open('cut before')
  const answers = {
    account: await resting.account,
    transaction: await resting.transaction,
    refusal: await resting.refusal,
    otherBody: await resting.otherBody,
    first: await first,
  }
  t.same(
    Object.fromEntries(Object.entries(answers).map(([name, answer]) => [name, statusOf(answer)])),
    { account: 200, transaction: 200, refusal: 422, otherBody: 409, first: 201 },
  )
  t.equal(await countInJournal(database, deposit), 1)
  const { account } = answers
  const credits = account.kind === 'answer' ? account.body.data?.balances?.creditsPosted : ''
  t.equal(toMinor(credits ?? ''), 50_100n, 'the read counts the deposit')
})

/** Keeps a commit waiting until its fate is given. */
class Gate {
  open: (fate: Fate) => void = () => undefined
  readonly fate = new Promise<Fate>((resolve) => {
    this.open = resolve
  })
}

interface Twice {
  request: Request
  fate: 'cut before' | 'cut after'
  server: ServerProcess
  proxy: PostgresProxy
  database: string
}

/** Sends a request, again while its commit is parked, and lets the commit have its fate. */
async function sendTwice(t: Test, twice: Twice): Promise<void> {
  const { request, fate, server, proxy, database } = twice
  const gates = [new Gate(), new Gate()]
  let parked = 0
  proxy.onCommit = ({ of }) => {
    if (of !== 'batch') return 'pass'
    parked += 1
    return gates[parked - 1]?.fate ?? 'pass'
  }
  const answered: { status: number; replayed: boolean; inJournal: number; shown: string }[] = []
  const clients = [new HttpClient(server.url, 1), new HttpClient(server.url, 1)]
  const send = async (client: HttpClient) => {
    const answer = await client.post(request.path, request.body)
    if (answer.kind === 'lost') throw new Error(answer.reason)
    const { id, postings } = answer.body.data ?? {}
    answered.push({
      status: answer.status,
      replayed: answer.headers['idempotent-replayed'] === 'true',
      inJournal: await countInJournal(database, request),
      shown: JSON.stringify([id, postings, answer.body.meta]),
    })
  }

  const first = send(clients[0])
  await until('the commit is parked', () => parked === 1)
  const second = send(clients[1])
  await until('both are under way', async () => (await inFlight(server)) === 2)
  t.equal(await countInJournal(database, request), 0)
  t.equal(answered.length, 0, 'no answer before the cut')

  gates[0].open(fate)
  if (fate === 'cut before') {
    await until('the batch is sent again', () => parked === 2)
    t.equal(await countInJournal(database, request), 0)
    t.equal(answered.length, 0, 'no answer before it is durable')
    gates[1].open('pass')
  }
  await Promise.all([first, second])
  for (const client of clients) client.close()
  proxy.onCommit = () => 'pass'
  t.same(answered.map(({ status }) => status).sort(), [200, 201])
  t.equal(answered.filter(({ replayed }) => replayed).length, 1, 'one is a replay')
  t.equal(answered[0].shown, answered[1].shown, 'both show the same transaction')
  t.same(
    answered.map(({ inJournal }) => inJournal),
    [1, 1],
  )
}

async function fixture(t: Test, settings: Record<string, string>) {
  const database = await postgres.createDatabase()
  const proxy = await PostgresProxy.start(t, database)
  const server = await ServerProcess.start(t, { DATABASE_URL: proxy.connectionString, ...settings })
  const load = new Load()
  await load.open(server.url)
  return { database, proxy, server, load }
}

function inFlight(server: ServerProcess): Promise<number> {
  return server.metric('daybook_in_flight_commands')
}

function settlements(server: ServerProcess): Promise<number> {
  return server.metric('daybook_settlements')
}

/** Asks Postgres itself, past the proxy. */
async function countInJournal(connectionString: string, { entries }: Request): Promise<number> {
  const client = new pg.Client({ connectionString })
  await client.connect()
  const { rows } = await client
    .query<{ count: string }>('select count(*) from daybook.records where id = $1', [
      entries[0].key,
    ])
    .finally(() => client.end())
  return Number(rows[0].count)
}
