import t from 'tap'
import { temporaryPostgres } from '../postgres.js'
import { emptyBook } from './book-database.js'
import { Engine } from './engine.js'
import type { EngineAnswer } from './engine-client.js'

t.setTimeout(120_000)

t.test('a transaction of an atomic batch has one position, wherever its id lives', async (t) => {
  const postgres = await temporaryPostgres(t)
  const connectionString = await postgres.createDatabase()
  await emptyBook(connectionString)
  const engine = await Engine.start({ connectionString, shards: 4 })
  t.teardown(() => engine.close())
  const ids = ['a', 'b', 'c', 'd', 'e']
  for (const id of ids) {
    await engine.createAccount({ id, currency: 'EUR', scale: 2, class: 'equity' })
  }
  // Different lengths of the streams, so that the seqs of two records are not the same by chance.
  for (let index = 0; index < 20; index++)
    await engine.post(transfer(`before:${index}`, ids, index))
  const items = Array.from({ length: 24 }, (_, index) => ({
    ...transfer(`item:${index}`, ids, index),
    ...(index % 3 === 0 ? { pending: true as const } : {}),
  }))
  const positions = positionsOf(await engine.batch(items, true))
  t.same(positionsOf(await engine.batch(items, true)), positions, 'a repeat tells the same ones')
  const shown = await Promise.all(items.map(({ id }) => engine.readTransaction(id, 0)))
  t.same(shown.map(seqOf), positions, 'so does a read')
  await engine.restart(3)
  t.same(positionsOf(await engine.batch(items, true)), positions, 'and with other shards')
})

function transfer(id: string, accounts: string[], index: number) {
  const [debit, credit] = [accounts[index % 5], accounts[(index + 1 + (index % 4)) % 5]]
  return { id, postings: [{ debit, credit, amount: '1' }] }
}

function positionsOf(answer: EngineAnswer): number[] {
  if (answer.outcome !== 'batch') throw new Error(`a batch was answered with ${answer.outcome}`)
  return answer.items.map((item) => ('seq' in item ? item.seq : 0))
}

function seqOf(answer: EngineAnswer): number {
  return answer.outcome === 'read' ? answer.seq : 0
}
