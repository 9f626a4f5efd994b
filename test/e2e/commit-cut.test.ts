import pg from 'pg'
import t, { type Test } from 'tap'
import { temporaryPostgres } from '../postgres.js'
import { HttpClient, type Request, statusOf, toMinor } from './client-log.js'
import { checkBook } from './journal-check.js'
import { Load } from './load.js'
import { type Fate, PostgresProxy } from './proxy.js'
import { idInSlot, single } from './requests.js'
import { roundsOr, shardCounts, withShards } from './rounds.js'
import { ServerProcess, until } from './server.js'

const rounds = roundsOr(1)

t.setTimeout(120_000 + rounds * 60_000 * shardCounts.length)

const postgres = await temporaryPostgres(t)

/** Below all times of the server that matter, so that a silent connection is soon given up. */
const impatient = {
  DAYBOOK_COMMIT_TIMEOUT_MS: '1000',
  DAYBOOK_ADMISSION_TIMEOUT_MS: '5000',
  DAYBOOK_REQUEST_TIMEOUT_MS: '8000',
}

for (const shards of shardCounts) {
  t.test(`a settlement of ${shards} whose own commit is cut is settled again`, (t) =>
    settlesAgain(t, shards),
  )
}

async function settlesAgain(t: Test, shards: number): Promise<void> {
  const { server, proxy, database, load } = await fixture(t, {
    ...impatient,
    ...withShards(shards),
  })
  for (let round = 0; round < rounds; round++) {
    // Of these only "half-open" takes long: Postgres has to notice that nobody is there any more.
    const script: Fate[] = ['cut before', 'cut after', 'hold answer', 'half-open', 'cut at once']
    load.start(server.url)
    const first = Math.random() < 0.5 ? 'cut before' : 'cut after'
    await proxy.strike(first, Math.floor(Math.random() * 10), () => script.shift() ?? 'pass')
    await until('every settlement was struck', () => script.length === 0)
    await load.acknowledged(50)
    await load.stop()
    await checkBook(t, { url: server.url, connectionString: database, load })
  }
  t.equal(server.ending, undefined, 'the server goes on')
}

const twice = shardCounts.flatMap((shards) =>
  (['cut before', 'cut after'] as const).map((fate) => ({ shards, fate })),
)

/** Nothing is given up while a commit is kept waiting. */
const patient = {
  DAYBOOK_COMMIT_TIMEOUT_MS: '30000',
  DAYBOOK_REQUEST_TIMEOUT_MS: '60000',
}

for (const { shards, fate } of twice) {
  t.test(
    `an id sent twice to ${shards}, with "${fate}" in between, is answered when it is durable`,
    async (t) => {
      const { server, proxy, database, load } = await fixture(t, {
        ...withShards(shards),
        ...patient,
      })
      for (let round = 0; round < rounds; round++) {
        const [cash] = load.accounts
        const [customer] = load.customers
        const request = single([{ debit: cash.id, credit: customer.id, amount: 100n }])
        await sendTwice(t, { request, fate, server, proxy, database })
      }
    },
  )
}

t.test('nothing that rests on a commit under way is shown before it is durable', async (t) => {
  const { server, proxy, database, load } = await fixture(t, { ...withShards(1), ...patient })
  const [cash] = load.accounts
  const [customer, other] = load.customers
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

t.test(
  'shards learn of a transaction when it is durable, and it is told when they are',
  async (t) => {
    const { server, proxy, database, load } = await fixture(t, { ...withShards(4), ...patient })
    const [customer, other] = load.customers
    const client = new HttpClient(server.url, 8)
    t.teardown(() => client.close())
    const [home, others] = [new Gate(), new Gate()]
    let parked = 0
    proxy.onCommit = ({ of }) => {
      if (of !== 'batch') return 'pass'
      parked += 1
      return parked === 1 ? home.fate : others.fate
    }
    // Slots 3 and 4 have the accounts: the home of this id has neither.
    const movement = { debit: customer.id, credit: other.id, amount: 100n }
    const transfer = single([movement], { id: idInSlot(1) })
    const early: string[] = []
    const first = client.post(transfer.path, transfer.body)
    void first.then(() => early.push('first'))
    await until('the record is on its way', () => parked > 0)
    t.equal(await turnoverOf(client, customer.id), '0.00 500.00', 'nothing is shown of it')
    t.equal(await turnoverOf(client, other.id), '0.00 500.00')
    t.equal(parked, 1, 'nobody else has written anything')
    t.equal(await countInJournal(database, transfer), 0)

    home.open('pass')
    await until('both shards write', () => parked === 3)
    t.equal(await countInJournal(database, transfer), 1)
    const reads = [turnoverOf(client, customer.id), turnoverOf(client, other.id)]
    for (const read of reads) void read.then(() => early.push('read'))
    await until('all are under way', async () => (await inFlight(server)) === 3)
    t.same(early, [])
    others.open('pass')
    t.equal(statusOf(await first), 201)
    t.same(await Promise.all(reads), ['1.00 500.00', '0.00 501.00'])
  },
)

/** Debits and credits posted. */
async function turnoverOf(client: HttpClient, id: string): Promise<string> {
  const answer = await client.get(`/v1/accounts/${id}`)
  const balances = answer.kind === 'answer' ? answer.body.data?.balances : undefined
  return `${balances?.debitsPosted} ${balances?.creditsPosted}`
}

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
  }
  // The batch again, or that of a shard which follows.
  gates[1].open('pass')
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

/** Asks Postgres itself, past the proxy. */
async function countInJournal(connectionString: string, { entries }: Request): Promise<number> {
  const client = new pg.Client({ connectionString })
  await client.connect()
  const { rows } = await client
    .query<{ count: string }>(
      "select count(*) from daybook.records where id = $1 and kind not like '%applied'",
      [entries[0].key],
    )
    .finally(() => client.end())
  return Number(rows[0].count)
}
