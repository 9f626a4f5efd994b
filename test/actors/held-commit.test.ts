import t, { type Test } from 'tap'
import { FaultyStore, Gate, until } from '../journal/faulty-store.js'
import { temporaryPostgres } from '../postgres.js'
import { emptyBook } from './book-database.js'
import { Engine } from './engine.js'
import type { EngineAnswer } from './engine-client.js'
import type { EngineOptions } from './engine-process.js'
import type { NewTransaction } from './model.js'

/**
 * The journal's commit is held while commands come. Whatever rests on a record of the held batch,
 * or of the one behind it, must not be answered; whatever rests on nothing new must be.
 */
t.setTimeout(120_000)

const postgres = await temporaryPostgres(t)
const connectionString = await postgres.createDatabase()

const eur = { currency: 'EUR', scale: 2 } as const

t.test('no answer of any kind leaves before what it rests on is durable', async (t) => {
  const { engine, held, release, ask, pending, arrived } = await fixture(t)
  // In flight: new:1 moves 10 from a to b, and hold:2 reserves 5 of a.
  const inFlight = ask('in flight', engine.post(transfer('new:1', 'a', 'b', '10')))
  await arrived()
  const open = ask('open', engine.post({ ...transfer('hold:2', 'a', 'b', '5'), pending: true }))

  const waiting = [
    inFlight,
    open,
    ask('replay', engine.post(transfer('new:1', 'a', 'b', '10'))),
    ask('other body', engine.post(transfer('new:1', 'a', 'b', '11'))),
    ask(
      'replay of an open one',
      engine.post({ ...transfer('hold:2', 'a', 'b', '5'), pending: true }),
    ),
    ask('funds', engine.post(transfer('poor', 'a', 'b', '1000'))),
    ask('funds of the credited', engine.post(transfer('poor:2', 'c', 'b', '1000'))),
    ask('closed balance', engine.changeAccount({ id: 'b', status: 'closed' })),
    ask('raised minimum', engine.changeAccount({ id: 'a', minimumBalance: '1000' })),
    ask('a change to what is', engine.changeAccount({ id: 'a', status: 'active' })),
    ask(
      'version',
      engine.post({ ...transfer('v', 'c', 'd', '1'), conditions: [{ account: 'a', version: 1 }] }),
    ),
    ask('currency', engine.post({ ...transfer('cur', 'a', 'c', '1', 'CZK') })),
    ask('decimals', engine.post(transfer('dec', 'c', 'b', '0.001'))),
    ask('read of a debited account', engine.readAccount('a', 0)),
    ask('read of a credited account', engine.readAccount('b', 0)),
    ask('read of a transaction', engine.readTransaction('new:1', 0)),
    ask('read of a hold', engine.readTransaction('hold:2', 0)),
    ask(
      'more than the hold',
      engine.followUp({ kind: 'post', target: 'hold:2', id: 'f', amounts: ['6'] }),
    ),
    ask('void of a posting', engine.followUp({ kind: 'void', target: 'new:1', id: 'f' })),
    ask('void', engine.followUp({ kind: 'void', target: 'hold:2', id: 'g' })),
    ask('voided twice', engine.followUp({ kind: 'void', target: 'hold:2', id: 'h' })),
    ask('replayed void', engine.followUp({ kind: 'void', target: 'hold:2', id: 'g' })),
    ask(
      'batch',
      engine.batch([transfer('old', 'c', 'd', '1'), transfer('new:1', 'a', 'b', '10')], false),
    ),
    ask('refused items', engine.batch([transfer('poor:3', 'a', 'b', '1000')], false)),
    ask('refused atomic', engine.batch([transfer('poor:4', 'a', 'b', '1000')], true)),
    ask('new account', engine.createAccount({ id: 'n', ...eur, class: 'asset' })),
    ask('account replay', engine.createAccount({ id: 'n', ...eur, class: 'asset' })),
    ask('account reuse', engine.createAccount({ id: 'n', ...eur, class: 'equity' })),
    ask('read of a new account', engine.readAccount('n', 0)),
  ]
  await engineTurns()
  t.strictSame(
    pending().sort(),
    [...waiting].sort(),
    'what rests on the held batch or the one behind it waits',
  )
  t.equal(held.arrivals, 1, 'one batch is in flight')

  // These rest on nothing that is not durable, and are answered while the commit is held.
  const free: [string, Promise<EngineAnswer>, object][] = [
    ['read', engine.readAccount('c', 0), { outcome: 'account' }],
    ['old read', engine.readTransaction('old', 0), { outcome: 'read' }],
    ['replay', engine.post(transfer('old', 'c', 'd', '1')), { outcome: 'replayed' }],
    [
      'reuse',
      engine.post(transfer('old', 'c', 'd', '2')),
      refusal('id_reused_with_different_body'),
    ],
    ['funds', engine.post(transfer('x', 'd', 'c', '1000')), refusal('insufficient_funds')],
    ['same', engine.post(transfer('x', 'a', 'a', '1')), refusal('same_account')],
    ['nobody', engine.post(transfer('x', 'a', 'nobody', '1')), refusal('account_not_found')],
    ['absent', engine.readAccount('nobody', 0), refusal('account_not_found')],
    ['absent', engine.readTransaction('nothing', 0), refusal('transaction_not_found')],
    ['ahead', engine.readAccount('c', 10_000), refusal('position_not_reached')],
    [
      'no hold',
      engine.followUp({ kind: 'void', target: 'none', id: 'f' }),
      refusal('hold_not_found'),
    ],
    [
      'past',
      engine.post({ ...transfer('x', 'a', 'b', '1'), effectiveDate: 1 }),
      refusal('effective_date_in_the_past'),
    ],
    ['batch', engine.batch([transfer('old', 'c', 'd', '1')], true), { outcome: 'batch' }],
  ]
  for (const [name, answer, expected] of free) t.match(await answer, expected, name)
  t.strictSame(pending().sort(), [...waiting].sort(), 'and the others wait still')

  release()
  await until(() => pending().length === 0)
  const answers = await Promise.all([
    engine.readAccount('a', 0),
    engine.readTransaction('hold:2', 0),
  ])
  t.match(answers[0], {
    account: { creditsPosted: 10_000n, debitsPosted: 1000n, debitsPending: 0n },
  })
  t.match(answers[1], { transaction: { status: 'hold voided' } })
})

t.test('what waited and is lost with a crash was not answered, and its id is free', async (t) => {
  const { engine, ask, pending, arrived, answers } = await fixture(t)
  ask('post', engine.post(transfer('lost', 'a', 'b', '10')))
  await arrived()
  ask('replay', engine.post(transfer('lost', 'a', 'b', '10')))
  ask('read', engine.readAccount('a', 0))
  await engineTurns()
  t.equal(pending().length, 3)
  await engine.restart()
  t.match([...answers.values()], Array(3).fill({ outcome: 'unanswered' }))
  t.match(await engine.readTransaction('lost', 0), refusal('transaction_not_found'))
  t.match(await engine.readAccount('a', 0), { account: { debitsPosted: 0n } })
  t.match(await engine.post(transfer('lost', 'a', 'b', '11')), { outcome: 'accepted' })
})

t.test('a full memory is a reason that can be lost, so that refusal waits, too', async (t) => {
  const limits = { accountsMax: 6, transactionsMax: 7 }
  const { engine, ask, pending, arrived, release, answers } = await fixture(t, {
    shard: { limits },
  })
  ask('last', engine.post(transfer('last', 'a', 'b', '1')))
  ask('account', engine.createAccount({ id: 'last', ...eur, class: 'asset' }))
  await arrived()
  ask('one too many', engine.post(transfer('more', 'c', 'd', '1')))
  ask('one too many items', engine.batch([transfer('more', 'c', 'd', '1')], true))
  ask('one account too many', engine.createAccount({ id: 'more', ...eur, class: 'asset' }))
  await engineTurns()
  t.equal(pending().length, 5)
  release()
  await until(() => pending().length === 0)
  for (const name of ['one too many', 'one too many items', 'one account too many']) {
    t.match(answers.get(name), refusal('memory_limit_reached'), name)
  }
})

t.test('an expiry is nothing to answer on before it is durable', async (t) => {
  const { engine, ask, pending, arrived, release, answers } = await fixture(t)
  engine.clock.advance(60_000)
  await arrived()
  ask('read of the hold', engine.readTransaction('old:hold', 0))
  ask('post of the hold', engine.followUp({ kind: 'post', target: 'old:hold', id: 'f' }))
  ask('read of its account', engine.readAccount('e', 0))
  await engineTurns()
  t.equal(pending().length, 3)
  release()
  await until(() => pending().length === 0)
  t.match(answers.get('read of the hold'), { transaction: { status: 'hold expired' } })
  t.match(answers.get('post of the hold'), refusal('hold_expired'))
  t.match(answers.get('read of its account'), { account: { debitsPending: 0n } })
})

t.test(
  'when the journal stands still too long, commands are refused as not accepted',
  async (t) => {
    const { engine, ask, pending, arrived, release, answers } = await fixture(t, {
      shard: { commitTimeoutMs: 600_000, leaseMs: 600_000 },
    })
    ask('first', engine.post(transfer('first', 'a', 'b', '1')))
    await arrived()
    // The open batch takes 16,384 records; what comes then stays in the mailbox.
    for (const part of [0, 1, 2]) {
      const items = Array.from({ length: 8000 }, (_, index) => ({
        ...transfer(`many:${part}:${index}`, 'c', 'd', '0.01'),
        imported: true as const,
      }))
      ask(`batch ${part}`, engine.batch(items, false))
    }
    await engineTurns()
    ask('late', engine.post(transfer('late', 'c', 'd', '1')))
    ask('late batch', engine.batch([transfer('late:2', 'c', 'd', '1')], true))
    ask('late repeat', engine.post(transfer('first', 'a', 'b', '1')))
    ask('late read', engine.readAccount('e', 0))
    await engineTurns()
    t.equal(pending().length, 8)
    t.ok(engine.shard.gauges.mailboxCommands > 0)
    engine.clock.advance(4000)
    await engineTurns()
    t.equal(pending().length, 8, 'not before the time is up')
    engine.clock.advance(2500)
    await until(() => pending().length === 5)
    for (const name of ['late', 'late batch', 'late read']) {
      t.match(answers.get(name), refusal('journal_unavailable'), name)
    }
    t.notOk(answers.has('late repeat'), 'a repeat of what may be committed is not refused')
    t.equal(engine.shard.gauges.mailboxCommands, 0)

    release()
    await until(() => pending().length === 1)
    t.strictSame(pending(), ['late repeat'])
    t.match(await engine.post(transfer('late', 'd', 'c', '1')), { outcome: 'accepted' })
  },
)

interface Fixture {
  engine: Engine
  /** The gate at which commits wait, and what opens it. */
  held: Gate
  release(): void
  /** Resolves when a commit waits at the gate. */
  arrived(): Promise<void>
  /** Notes under `name` when the answer comes; returns the name. */
  ask(name: string, answer: Promise<EngineAnswer>): string
  pending(): string[]
  answers: Map<string, EngineAnswer>
}

/** Accounts a to e with 100 each, a durable transaction `old`, a hold on e; then commits are held. */
async function fixture(t: Test, options: Partial<EngineOptions> = {}): Promise<Fixture> {
  await emptyBook(connectionString)
  const stores: FaultyStore[] = []
  const wrap: EngineOptions['wrap'] = (inner) => {
    stores.push(new FaultyStore(inner))
    return stores[stores.length - 1]
  }
  const engine = await Engine.start({ connectionString, wrap, ...options })
  t.teardown(() => engine.close())
  const asked: string[] = []
  const answers = new Map<string, EngineAnswer>()
  await open(engine)
  const held = new Gate()
  let holding = true
  stores[0].faults.commit = async (next) => {
    if (holding) await held.pass()
    await next()
  }
  return {
    engine,
    held,
    release() {
      holding = false
      held.open()
    },
    arrived: () => until(() => held.arrivals > 0),
    ask(name, answer) {
      asked.push(name)
      void answer.then((value) => answers.set(name, value))
      return name
    },
    pending: () => asked.filter((name) => !answers.has(name)),
    answers,
  }
}

async function open(engine: Engine): Promise<void> {
  const ids = ['a', 'b', 'c', 'd', 'e']
  await Promise.all(ids.map((id) => engine.createAccount({ id, ...eur, class: 'liability' })))
  const paid = ids.slice(0, 4).map((id) =>
    engine.post({
      id: `018d0000-0000-7000-8000-00000000000${id}`,
      postings: [{ debit: 'e', credit: id, amount: '100' }],
      imported: true,
    }),
  )
  const old = engine.post(transfer('old', 'c', 'd', '1'))
  const hold = engine.post({
    ...transfer('old:hold', 'e', 'd', '1'),
    pending: true,
    expiresAt: engine.clock.now() + 50_000,
    imported: true,
  })
  await Promise.all([...paid, old, hold])
}

function transfer(
  id: string,
  debit: string,
  credit: string,
  amount: string,
  currency?: string,
): NewTransaction {
  return { id, postings: [{ debit, credit, amount, ...(currency && { currency }) }] }
}

function refusal(code: string): object {
  return { outcome: 'refused', code }
}

/** Long enough for everything that need not wait for the journal, reads from it included. */
async function engineTurns(): Promise<void> {
  for (let turn = 0; turn < 20; turn++) await new Promise(setImmediate)
  await new Promise((resolve) => {
    setTimeout(resolve, 50)
  })
}
