import { randomUUID } from 'node:crypto'
import t, { type Test } from 'tap'
import { formatKey, type Key, keyOf, withSlot } from '../../src/key.js'
import { FaultyStore, Gate, until } from '../journal/faulty-store.js'
import { temporaryPostgres } from '../postgres.js'
import { emptyBook } from './book-database.js'
import { Engine } from './engine.js'

t.setTimeout(120_000)

const eur = { currency: 'EUR', scale: 2 } as const
// Slots are dealt out in turn: one account is with the home, two are with the other shard.
const [home, payer, friend] = [0, 1, 3].map(idInSlot)

t.test('what an atomic batch takes on its way is reserved, also if it gives it back', async (t) => {
  const { engine, gate } = await fixture(t)
  // The batch is decided and on its way to be committed; the payer's shard has only voted.
  const batch = engine.batch([transfer(0, payer, home, '80'), transfer(0, home, payer, '80')], true)
  await until(() => gate.arrivals > 0)
  const meanwhile = engine.post(transfer(1, payer, friend, '80'))
  const small = engine.post(transfer(1, payer, friend, '20'))
  gate.open()
  t.match(await meanwhile, { outcome: 'refused', code: 'funds_reserved' })
  t.match(await small, { outcome: 'accepted' }, 'what is left can be spent')
  t.match(await batch, { items: [{ outcome: 'accepted' }, { outcome: 'accepted' }] })
  t.match(await engine.post(transfer(1, payer, friend, '80')), { outcome: 'accepted' })
})

t.test('imported history takes nothing that somebody undecided was promised', async (t) => {
  const { engine, gate } = await fixture(t)
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
  t.match(await small, { outcome: 'accepted' })
  t.match(await promised, { outcome: 'accepted' })
  t.match(await engine.post(tooMuch), { outcome: 'accepted' }, 'from then on it is exempt again')
})

/** A payer with 100.00, and a gate at which the home's next commit waits. */
async function fixture(t: Test): Promise<{ engine: Engine; gate: Gate }> {
  const postgres = await temporaryPostgres(t)
  const connectionString = await postgres.createDatabase()
  await emptyBook(connectionString)
  const stores: FaultyStore[] = []
  const engine = await Engine.start({
    connectionString,
    shards: 2,
    wrap: (inner) => {
      stores.push(new FaultyStore(inner))
      return stores[stores.length - 1]
    },
  })
  t.teardown(() => engine.close())
  await engine.createAccount({ id: home, ...eur, class: 'equity' })
  await engine.createAccount({ id: friend, ...eur, class: 'equity' })
  await engine.createAccount({ id: payer, ...eur, class: 'liability' })
  t.match(await engine.post(transfer(0, home, payer, '100')), { outcome: 'accepted' })
  const gate = new Gate()
  stores[0].faults.commit = async (next) => {
    await gate.pass()
    await next()
  }
  return { engine, gate }
}

function transfer(slot: number, debit: string, credit: string, amount: string) {
  return { id: idInSlot(slot), postings: [{ debit, credit, amount }] }
}

/** Not a v7, which would be of a time that the test's clock has not come to. */
function idInSlot(slot: number): string {
  return formatKey(withSlot(keyOf(1, randomUUID()) as Key, slot))
}
