import t, { type Test } from 'tap'
import { decideCreation } from '../../src/actors/account-decision.js'
import { stripedAccountsMax } from '../../src/actors/accounts.js'
import { Book } from '../../src/actors/book.js'
import { Decision } from '../../src/actors/transaction-decision.js'
import { keyOf, slotOf } from '../../src/key.js'
import { FaultyStore, Gate, until } from '../journal/faulty-store.js'
import { temporaryPostgres } from '../postgres.js'
import { emptyBook } from './book-database.js'
import { Engine } from './engine.js'
import type { EngineOptions } from './engine-process.js'
import type { NewTransaction } from './model.js'

/** What several shards keep for each other is bounded, too. */
t.setTimeout(120_000)

const postgres = await temporaryPostgres(t)
const connectionString = await postgres.createDatabase()

const shards = 2
const memoryFull = { outcome: 'refused', code: 'memory_limit_reached' }

t.test('ids that are claimed elsewhere count against the memory of that shard', async (t) => {
  const transactionsMax = 8
  const engine = await twoShards(t, { shard: { limits: { accountsMax: 100, transactionsMax } } })
  const [here, there] = [names('here', 0), names('there', 1)]
  for (let used = 0; used < transactionsMax - 2; used++) {
    t.match(await engine.post(transfer(there())), { outcome: 'accepted' })
  }
  const asked = (ids: string[]) =>
    engine.batch(
      [here(), ...ids].map((id) => transfer(id)),
      true,
    )
  t.match(await asked([there(), there(), there()]), memoryFull, 'three do not fit')
  t.equal(engine.shards[1].gauges.transactions, transactionsMax - 2, 'and nothing is left of them')

  const both = await Promise.all([asked([there(), there()]), asked([there(), there()])])
  const outcomes = both.map(({ outcome }) => outcome).sort()
  t.strictSame(outcomes, ['batch', 'refused'], 'of two for the same room one is refused')
  t.match(await engine.post(transfer(there())), memoryFull)
  t.match(await engine.post(transfer(here())), { outcome: 'accepted' }, 'the other shard has room')
})

t.test('commands that wait for a decision are counted, and then stay in the mailbox', async (t) => {
  const held = new Gate()
  let holding = false
  const wrap: EngineOptions['wrap'] = (inner) => {
    const store = new FaultyStore(inner)
    store.faults.commit = async (next) => {
      if (holding) await held.pass()
      await next()
    }
    return store
  }
  const shard = { commitTimeoutMs: 600_000, leaseMs: 600_000, admissionTimeoutMs: 600_000 }
  const engine = await twoShards(t, { wrap, shard })
  holding = true
  const id = names('repeated', 0)()
  const first = engine.post(transfer(id))
  await until(() => held.arrivals > 0)
  const waitingMax = 16_384
  // With another body: nobody knows what to say before the first is decided.
  const other = transfer(id, '2')
  const others = Array.from({ length: waitingMax + 1000 }, () => engine.post(other))
  await until(() => engine.shards[0].gauges.mailboxCommands > 0)
  t.equal(engine.shards[0].gauges.waitingCommands, waitingMax)
  t.equal(engine.shards[0].gauges.mailboxCommands, 1000)
  held.open()
  t.match(await first, { outcome: 'accepted' })
  const answers = await Promise.all(others)
  const codes = new Set(answers.map((answer) => answer.outcome === 'refused' && answer.code))
  t.strictSame([...codes], ['id_reused_with_different_body'])
  t.equal(engine.shards[0].gauges.waitingCommands, 0)
})

t.test('every shard keeps every striped account, so their number has a limit', (t) => {
  const place = { shard: 0, shards, shardOfSlot: new Uint8Array(1024) }
  const book = new Book([1, 2], { accountsMax: 1e6, transactionsMax: 1e6 }, place)
  const decision = new Decision()
  const creation = { currency: 'EUR', scale: 2, class: 'income' } as const
  book.accounts.stripedRows.length = stripedAccountsMax
  t.equal(decideCreation(book, { ...creation, striped: true }, decision), undefined)
  t.match(decideCreation(book, creation, decision), creation, 'of the others there may be more')
  book.accounts.stripedRows.length = stripedAccountsMax - 1
  t.match(decideCreation(book, { ...creation, striped: true }, decision), { striped: true })
  t.end()
})

/** Two shards, with an account on each that may be overdrawn. */
async function twoShards(t: Test, options: Partial<EngineOptions>): Promise<Engine> {
  await emptyBook(connectionString)
  const engine = await Engine.start({ connectionString, shards, ...options })
  t.teardown(() => engine.close())
  for (const id of [debited, credited]) {
    const account = { id, currency: 'EUR', scale: 2, class: 'liability' } as const
    const answer = await engine.createAccount({ ...account, overdraftLimit: 'unlimited' })
    t.match(answer, { outcome: 'account' })
  }
  return engine
}

/** Makes names whose keys that shard owns. */
function names(prefix: string, shard: number): () => string {
  let number = 0
  return () => {
    for (;;) {
      number += 1
      const name = `${prefix}:${number}`
      const key = keyOf(1, name)
      if (key !== undefined && slotOf(key) % shards === shard) return name
    }
  }
}

const debited = names('account', 0)()
const credited = names('account', 1)()

function transfer(id: string, amount = '1'): NewTransaction {
  return { id, postings: [{ debit: debited, credit: credited, amount }] }
}
