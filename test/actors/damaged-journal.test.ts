import fc from 'fast-check'
import t from 'tap'
import { temporaryPostgres } from '../postgres.js'
import { emptyBook, withClient } from './book-database.js'
import { Engine } from './engine.js'

t.setTimeout(240_000)

t.test('a shard does not start on a journal in which any byte is changed', async (t) => {
  const postgres = await temporaryPostgres(t)
  const connectionString = await postgres.createDatabase()
  await emptyBook(connectionString)
  const first = await Engine.start({ connectionString })
  await fill(first)
  await first.stop()
  const chunks = await query<{ first_seq: string; part: number; length: number }>(
    'select first_seq, part, length(payload) from daybook.journal order by first_seq, part',
  )
  t.ok(chunks.length > 6)

  const faults = new Map<string, number>()
  const place = fc.record({ chunk: fc.nat(1000), byte: fc.nat(10_000), bit: fc.nat(7) })
  await fc.assert(
    fc.asyncProperty(place, async ({ chunk, byte, bit }) => {
      const { first_seq, part, length } = chunks[chunk % chunks.length]
      const flip = `update daybook.journal
        set payload = set_byte(payload, ${byte % length}, get_byte(payload, ${byte % length}) # ${1 << bit})
        where first_seq = ${first_seq} and part = ${part}`
      await query(flip)
      const epoch = await epochOf()
      const fault = await Engine.start({ connectionString }).then(
        async (engine) => {
          await engine.close()
          return undefined
        },
        (error: Error & { code?: string }) => error,
      )
      await query(flip)
      if (fault === undefined) return false
      const name = fault.code ?? fault.name
      faults.set(name, (faults.get(name) ?? 0) + 1)
      return (await epochOf()) === epoch
    }),
    { numRuns: Number(process.env.DAYBOOK_TEST_RUNS ?? 100), seed: 11 },
  )
  t.comment([...faults].map(([name, count]) => `${name} ${count}`).join(', '))

  const again = await Engine.start({ connectionString })
  t.match(await again.readAccount('a', 0), { outcome: 'account' }, 'as it was, it starts')
  await again.close()

  async function epochOf(): Promise<number> {
    return (await query<{ epoch: number }>('select epoch from daybook.stream'))[0].epoch
  }

  async function query<T>(text: string): Promise<T[]> {
    return await withClient(
      connectionString,
      async (client) => (await client.query(text)).rows as T[],
    )
  }
})

/** A little of everything, a record of several chunks included. */
async function fill(engine: Engine): Promise<void> {
  const eur = { currency: 'EUR', scale: 2 } as const
  await engine.createAccount({ id: 'a', ...eur, class: 'asset' })
  await engine.createAccount({ id: 'b', ...eur, class: 'equity' })
  const postings = [{ debit: 'a', credit: 'b', amount: '10' }]
  await engine.post({ id: '018d0000-0000-7000-8000-000000000001', postings })
  await Promise.all([
    engine.post({ id: 'large', postings, metadata: { note: 'x'.repeat(9000) } }),
    engine.post({ id: 'hold', postings, pending: true }),
    engine.post({ id: 'hold:2', postings, pending: true }),
  ])
  await engine.followUp({ kind: 'post', target: 'hold', id: 'f', amounts: ['4'], keepRest: true })
  await engine.followUp({ kind: 'void', target: 'hold:2', id: 'f' })
  await engine.followUp({ kind: 'reverse', target: 'large', id: 'f' })
  await engine.changeAccount({ id: 'a', overdraftLimit: '5' })
}
