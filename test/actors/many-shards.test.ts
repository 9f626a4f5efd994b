import t from 'tap'
import { keyOf } from '../../src/key.js'
import { temporaryPostgres } from '../postgres.js'
import { withClient } from './book-database.js'
import type { Engine } from './engine.js'
import type { EngineAnswer } from './engine-client.js'
import { ManyShards, outcomesOf } from './many-shards.js'

t.setTimeout(120_000)

const across = { id: 0, debit: 0, credit: 1 }
const onlyThere = { id: 1, debit: 1, credit: 1 }

t.test('several shards', async (t) => {
  const postgres = await temporaryPostgres(t)

  t.test('an id of home that was used for something else refuses the whole batch', async (t) => {
    const book = await ManyShards.start(t, postgres, { shards: 2 })
    const { engine } = book
    const first = book.transfer({ id: 0, debit: 0, credit: 0 })
    t.equal((await engine.post(first)).outcome, 'accepted')
    const before = engine.digest
    const batch = [book.transfer(across), { ...first, code: 5 }, book.transfer(across)]
    t.same(await engine.batch(batch, true), {
      ...{ outcome: 'refused', code: 'id_reused_with_different_body', index: 1 },
    })
    t.equal(engine.digest, before, 'nothing has taken effect')
    await engine.restart(3)
    t.equal(engine.digest, before)
    t.equal((await engine.post(first)).outcome, 'replayed')
    t.equal((await engine.post(batch[0])).outcome, 'accepted', 'its other ids are free')
  })

  t.test('what a home posts to a striped account that it does not know counts', async (t) => {
    const book = await ManyShards.start(t, postgres, { shards: 2 })
    const { engine } = book
    const till = book.nameOn(0)
    const debit = book.accounts[1][0]
    const [posting, both, hold] = [0, 1, 2].map((index) => ({
      id: book.nameOn(1),
      postings: [{ debit, credit: till, amount: String(10 ** index) }],
    }))
    const back = { debit: till, credit: debit, amount: '7' }
    // They come to the owner after the creation, and their homes hear of that after the votes.
    const answers = await Promise.all([
      engine.createAccount({ id: till, currency: 'EUR', scale: 2, class: 'asset', striped: true }),
      engine.post(posting),
      engine.post({ ...both, postings: [...both.postings, back] }),
      engine.post({ ...hold, pending: true }),
    ])
    t.same(
      answers.map(({ outcome }) => outcome),
      ['account', 'accepted', 'accepted', 'accepted'],
    )
    const { rows } = await withClient(book.connectionString, (client) =>
      client.query(
        `select from daybook.record_postings
                    where credit_side = 'here' and credit = $1`,
        [engine.keyTextOf(till)],
      ),
    )
    t.equal(rows.length, 3, 'the records call the account one of its owner')
    const before = engine.digest
    for (const shards of [3, 1, 7, 2]) {
      await engine.restart(shards)
      t.equal(engine.digest, before, `${shards} shards`)
      t.same(creditsOf(engine, till), [1100n, 10_000n], 'posted and pending')
    }
  })

  t.test('a repeated atomic batch is answered by a home that has nothing to do', async (t) => {
    const book = await ManyShards.start(t, postgres, { shards: 3 })
    const { engine } = book
    const batch = [book.transfer(onlyThere), book.transfer({ id: 2, debit: 1, credit: 2 })]
    const home = book.nameOn(0)
    t.same(outcomesOf(await engine.batch(batch, true, home)), ['accepted', 'accepted'])
    await engine.quiet()
    const again = outcomesOf(await answered(engine.batch(batch, true, home)))
    t.same(again, ['replayed', 'replayed'])
    const own = [book.transfer(across), ...batch]
    t.same(outcomesOf(await engine.batch(own, true)), ['accepted', 'replayed', 'replayed'])
    await engine.quiet()
    const repeated = outcomesOf(await answered(engine.batch(own, true)))
    t.same(repeated, ['replayed', 'replayed', 'replayed'])
  })
})

/** The answer to what writes nothing, so that no commit can bring it about. */
async function answered(answer: Promise<EngineAnswer>): Promise<EngineAnswer> {
  let outcome: EngineAnswer = { outcome: 'unanswered' }
  answer.then((arrived) => {
    outcome = arrived
  })
  // A frame between shards takes a tick: these are more than any answer needs.
  for (let tick = 0; tick < 1000; tick++) await new Promise(setImmediate)
  return outcome
}

/** Posted and pending credits of a striped account, all parts together. */
function creditsOf(engine: Engine, account: string): [bigint, bigint] {
  const sum: [bigint, bigint] = [0n, 0n]
  for (const { book } of engine.shards) {
    const key = keyOf(1, account)
    const row = key === undefined ? -1 : book.accounts.find(1, key)
    if (row < 0) continue
    sum[0] += book.accounts.creditsPosted.get(row)
    sum[1] += book.accounts.creditsPending.get(row)
  }
  return sum
}
