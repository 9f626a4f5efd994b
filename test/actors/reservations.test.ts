import { randomUUID } from 'node:crypto'
import t, { type Test } from 'tap'
import { formatKey, type Key, keyOf, withSlot } from '../../src/key.js'
import { FaultyStore, Gate, until } from '../journal/faulty-store.js'
import { temporaryPostgres } from '../postgres.js'
import { emptyBook } from './book-database.js'
import { Engine } from './engine.js'
import { tenant } from './engine-names.js'

t.setTimeout(120_000)

const done = { outcome: 'accepted' }
const eur = { currency: 'EUR', scale: 2 } as const
// Slots are dealt out in turn: one account is with the home, two are with another shard.
const [home, payer, friend] = [0, 1, 7].map(idInSlot)

t.test('what an atomic batch takes on its way is reserved, also if it gives it back', async (t) => {
  const { engine, holdCommits } = await fixture(t)
  const gate = holdCommits()
  // The batch is decided and on its way to be committed; the payer's shard has only voted.
  const batch = engine.batch([transfer(0, payer, home, '80'), transfer(0, home, payer, '80')], true)
  await until(() => gate.arrivals > 0)
  const meanwhile = engine.post(transfer(1, payer, friend, '80'))
  const small = engine.post(transfer(1, payer, friend, '20'))
  gate.open()
  t.match(await meanwhile, { outcome: 'refused', code: 'funds_reserved' })
  t.match(await small, done, 'what is left can be spent')
  t.match(await batch, { items: [{ outcome: 'accepted' }, { outcome: 'accepted' }] })
  t.match(await engine.post(transfer(1, payer, friend, '80')), done)
})

t.test('imported history takes nothing that somebody undecided was promised', async (t) => {
  const { engine, holdCommits } = await fixture(t)
  const gate = holdCommits()
  const imported = (amount: string) => ({
    ...transfer(1, payer, friend, amount),
    imported: true as const,
  })
  const promised = engine.post(transfer(0, payer, home, '80'))
  await until(() => gate.arrivals > 0)
  const tooMuch = imported('30')
  const meanwhile = engine.post(tooMuch)
  const small = engine.post(imported('20'))
  gate.open()
  t.match(await meanwhile, { outcome: 'refused', code: 'funds_reserved' })
  t.match(await small, done)
  t.match(await promised, done)
  t.match(await engine.post(tooMuch), done, 'from then on it is exempt again')
})

t.test(
  'an expiry that was prevented comes soon after, also if the clock is set back',
  async (t) => {
    const { engine, holdCommits } = await fixture(t)
    const cash = idInSlot(2)
    t.match(await engine.createAccount({ id: cash, ...eur, class: 'asset', striped: true }), {
      outcome: 'account',
    })
    const expiresAt = engine.clock.now() + 300
    const hold = { ...transfer(1, payer, cash, '10'), pending: true as const, expiresAt }
    t.match(await engine.post(hold), done)
    const gate = holdCommits()
    // The home has the other shard's part shut until the change is committed.
    const change = engine.changeAccount({ id: cash, metadata: { safe: 'the large one' } })
    await until(() => gate.arrivals > 0)
    engine.clock.advance(300)
    engine.clock.setWall(engine.clock.now() - 3_600_000)
    gate.open()
    t.match(await change, { outcome: 'account' })
    t.equal(engine.shards[1].gauges.holds, 1, 'the change was in the way')
    engine.clock.advance(1000)
    t.equal(engine.shards[1].gauges.holds, 0)
    await engine.quiet()
  },
)

t.test('a repeat of an item of an atomic batch waits until all shards have it', async (t) => {
  const { engine, holdCommits } = await fixture(t, 3)
  // The id of the second item is on shard 1, its other account on shard 2.
  const other = idInSlot(2)
  t.match(await engine.createAccount({ id: other, ...eur, class: 'equity' }), {
    outcome: 'account',
  })
  const item = transfer(1, payer, other, '10')
  const gate = holdCommits(2)
  const batch = engine.batch([transfer(0, home, payer, '1'), item], true)
  await until(() => gate.arrivals > 0)
  let answered = false
  const repeat = engine.post(item).finally(() => {
    answered = true
  })
  await until(
    () => engine.shards[1].book.transactions.find(tenant, keyOf(tenant, item.id) as Key) >= 0,
  )
  // Other repeats that come after it are answered.
  const small = transfer(1, payer, friend, '1')
  t.match(await engine.post(small), done)
  t.match(await engine.post(small), { outcome: 'replayed' })
  t.notOk(answered)
  gate.open()
  t.match(await repeat, { outcome: 'replayed' })
  t.match(await batch, { items: [done, done] })
})

/** A payer with 100.00; from `holdCommits` on a shard's commits wait at a gate. */
async function fixture(
  t: Test,
  shards = 2,
): Promise<{ engine: Engine; holdCommits: (shard?: number) => Gate }> {
  const postgres = await temporaryPostgres(t)
  const connectionString = await postgres.createDatabase()
  await emptyBook(connectionString)
  const stores: FaultyStore[] = []
  const engine = await Engine.start({
    connectionString,
    shards,
    wrap: (inner) => {
      stores.push(new FaultyStore(inner))
      return stores[stores.length - 1]
    },
  })
  t.teardown(() => engine.close())
  await engine.createAccount({ id: home, ...eur, class: 'equity' })
  await engine.createAccount({ id: friend, ...eur, class: 'equity' })
  await engine.createAccount({ id: payer, ...eur, class: 'liability' })
  t.match(await engine.post(transfer(0, home, payer, '100')), done)
  const holdCommits = (shard = 0) => {
    const gate = new Gate()
    const { stream } = engine.shards[shard].book
    stores[0].faults.commit = async (next, batch) => {
      if (batch.stream === stream) await gate.pass()
      await next()
    }
    return gate
  }
  return { engine, holdCommits }
}

function transfer(slot: number, debit: string, credit: string, amount: string) {
  return { id: idInSlot(slot), postings: [{ debit, credit, amount }] }
}

/** Not a v7, which would be of a time that the test's clock has not come to. */
function idInSlot(slot: number): string {
  return formatKey(withSlot(keyOf(1, randomUUID()) as Key, slot))
}
