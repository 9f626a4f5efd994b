import t from 'tap'
import { temporaryPostgres } from '../postgres.js'
import { ManyShards, outcomesOf } from './many-shards.js'

/** Memory has room for so many ids; atomic batches over two shards ask for the last of it. */
t.setTimeout(120_000)

const across = { id: 0, debit: 0, credit: 1 }
const idThere = { id: 1, debit: 0, credit: 1 }
const memoryFull = { outcome: 'refused', code: 'memory_limit_reached' }

t.test('the last room', async (t) => {
  const postgres = await temporaryPostgres(t)

  t.test('an atomic batch takes the last room there is, and no more', async (t) => {
    for (const transactionsMax of [3, 4, 5, 6, 7]) {
      const book = await ManyShards.start(t, postgres, { shards: 2, transactionsMax })
      const { engine } = book
      for (let room = transactionsMax; room >= 0; room -= 3) {
        const before = engine.digest
        const batch = [across, across, across].map((on) => book.transfer(on))
        const answer = await engine.pump(engine.batch(batch, true), 1)
        const about = `${room} of ${transactionsMax}`
        if (room >= 3) t.same(outcomesOf(answer), ['accepted', 'accepted', 'accepted'], about)
        else t.match(answer, memoryFull, about)
        if (room < 3) t.equal(engine.digest, before)
      }
      t.equal(engine.fault, undefined)
      t.equal((await engine.readAccount(book.accounts[0][0], 0)).outcome, 'account')
    }
  })

  t.test('an id that is remembered elsewhere needs no room at home', async (t) => {
    const book = await ManyShards.start(t, postgres, { shards: 2, transactionsMax: 2 })
    const { engine } = book
    const batch = [across, across, idThere, idThere].map((on) => book.transfer(on))
    t.same(outcomesOf(await engine.pump(engine.batch(batch, true), 1)), Array(4).fill('accepted'))
    t.match(await engine.post(book.transfer(across)), memoryFull, 'now it is full')
    t.match(await engine.post(book.transfer(idThere)), memoryFull, 'on both shards')
  })

  t.test('nor does an id that is known already', async (t) => {
    const book = await ManyShards.start(t, postgres, { shards: 2, transactionsMax: 2 })
    const { engine } = book
    const known = book.transfer({ id: 0, debit: 0, credit: 0 })
    await engine.post(known)
    const batch = [known, ...[idThere, across, idThere].map((on) => book.transfer(on))]
    const outcomes = ['replayed', 'accepted', 'accepted', 'accepted']
    t.same(outcomesOf(await engine.pump(engine.batch(batch, true), 1)), outcomes)
    t.equal(engine.fault, undefined)
    t.same(outcomesOf(await engine.pump(engine.batch(batch, true), 1)), Array(4).fill('replayed'))
  })

  t.test('batches that race for it take it once', async (t) => {
    const book = await ManyShards.start(t, postgres, { shards: 2, transactionsMax: 3 })
    const { engine } = book
    const asked = [0, 1, 2].map(() =>
      engine.batch(
        [across, across, idThere].map((on) => book.transfer(on)),
        true,
      ),
    )
    const answers = await engine.pump(Promise.all(asked), 1)
    t.equal(engine.fault, undefined)
    t.equal(answers.filter(({ outcome }) => outcome === 'batch').length, 1)
  })
})
