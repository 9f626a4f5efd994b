import t from 'tap'
import { FaultyStore, Gate, until } from '../journal/faulty-store.js'
import { temporaryPostgres } from '../postgres.js'
import type { EngineOptions } from './engine-process.js'
import { ManyShards, outcomesOf } from './many-shards.js'

/** What comes while another shard's commits are held: expiries, ordered batches, conditions. */
t.setTimeout(120_000)

const patient = { commitTimeoutMs: 600_000, leaseMs: 600_000, admissionTimeoutMs: 600_000 }

t.test('what waits for another shard', async (t) => {
  const postgres = await temporaryPostgres(t)

  t.test(
    "an expiry that is in somebody's way is tried again in time, and written once",
    async (t) => {
      const commits = new HeldCommits()
      let frames = 0
      const book = await ManyShards.start(t, postgres, {
        ...{ shards: 2, shard: patient, wrap: commits.wrap },
        watch: {
          send: (_frame, _to, next) => {
            frames += 1
            next()
          },
          take: (_frame, _shard, next) => next(),
          commit: (_batch, next) => next(),
          answer: (_frame, next) => next(),
        },
      })
      const { engine } = book
      commits.stream = engine.router.streams[1]
      const [[x], [c, d]] = book.accounts
      const other = book.nameOn(1)
      const account = { id: other, currency: 'EUR', scale: 2, class: 'liability' } as const
      await engine.createAccount({ ...account, overdraftLimit: 'unlimited' })
      const hold = {
        ...{ id: book.nameOn(0), postings: [{ debit: x, credit: c, amount: '1' }] },
        ...{ pending: true as const, expiresAt: engine.clock.now() + 1000 },
      }
      t.match(await engine.post(hold), { outcome: 'accepted' })
      await engine.quiet()
      const read = await engine.readAccount(c, 0)
      const version = read.outcome === 'account' ? read.account.version : 0
      // The condition holds c's version until d's record, which the vote rests on, is durable.
      const first = commits.hold()
      const id = book.nameOn(1)
      const touched = engine.post({ id, postings: [{ debit: other, credit: d, amount: '1' }] })
      await until(() => first.arrivals > 0)
      const conditional = engine.post({
        ...{ id: book.nameOn(0), postings: [{ debit: x, credit: d, amount: '1' }] },
        conditions: [{ account: c, version }],
      })
      await until(() => engine.shards[1].gauges.reservedAccounts > 0)
      frames = 0
      engine.clock.advance(1001)
      await turns()
      t.ok(frames < 20, `the clock stands still, so it is tried once: ${frames} frames`)
      const second = commits.hold()
      first.open()
      await until(() => second.arrivals > 0)
      for (let step = 0; step < 3; step++) {
        engine.clock.advance(101)
        await turns()
      }
      commits.letGo()
      t.match(await touched, { outcome: 'accepted' })
      t.match(await conditional, { outcome: 'accepted' })
      await engine.pump(
        until(() => engine.shards[0].gauges.holds === 0),
        101,
      )
      t.equal(engine.fault, undefined)
    },
  )

  t.test('in an ordered batch an item whose id is under way holds up the next', async (t) => {
    const commits = new HeldCommits()
    const book = await ManyShards.start(t, postgres, {
      ...{ shards: 2, shard: patient, wrap: commits.wrap },
    })
    const { engine } = book
    commits.stream = engine.router.streams[1]
    const [[a, b], [c]] = book.accounts
    const poor = book.nameOn(0)
    await engine.createAccount({ id: poor, currency: 'EUR', scale: 2, class: 'liability' })
    const gate = commits.hold()
    const touched = engine.post({
      ...{ id: book.nameOn(1), postings: [{ debit: c, credit: book.accounts[1][1], amount: '1' }] },
    })
    await until(() => gate.arrivals > 0)
    const id = book.nameOn(0)
    // Refused, but not before c's record is durable: meanwhile the id is under way.
    const refused = engine.batch(
      [
        { id, postings: [{ debit: a, credit: c, amount: '1' }] },
        { id: book.nameOn(0), postings: [{ debit: poor, credit: a, amount: '1' }] },
      ],
      true,
    )
    await until(() => engine.shards[0].gauges.coordinations > 0)
    const ordered = engine.ordered([
      { id, postings: [{ debit: b, credit: poor, amount: '1' }] },
      { id: book.nameOn(0), postings: [{ debit: poor, credit: b, amount: '1' }] },
    ])
    await turns()
    commits.letGo()
    t.match(await touched, { outcome: 'accepted' })
    t.match(await refused, { outcome: 'refused', code: 'insufficient_funds', index: 1 })
    t.same(outcomesOf(await ordered), ['accepted', 'accepted'])
  })

  t.test('postings of an atomic batch do not move the version of a striped account', async (t) => {
    for (const shards of [1, 2]) {
      const book = await ManyShards.start(t, postgres, { shards })
      const { engine } = book
      const striped = book.nameOn(0)
      const body = { id: striped, currency: 'EUR', scale: 2, class: 'income' } as const
      await engine.createAccount({ ...body, striped: true })
      const debit = book.accounts[shards - 1][0]
      const batch = (version: number) => [
        { id: book.nameOn(0), postings: [{ debit, credit: striped, amount: '1' }] },
        {
          ...{ id: book.nameOn(0), postings: [{ debit, credit: striped, amount: '1' }] },
          conditions: [{ account: striped, version }],
        },
      ]
      t.match(await engine.batch(batch(2), true), { code: 'version_conflict', index: 1 })
      t.same(outcomesOf(await engine.batch(batch(1), true)), ['accepted', 'accepted'])
    }
  })
})

/** Holds the commits of one stream, once it is told to. */
class HeldCommits {
  stream = 0
  #gate: Gate | undefined

  readonly wrap: EngineOptions['wrap'] = (inner) => {
    const store = new FaultyStore(inner)
    store.faults.commit = async (next, batch) => {
      if (batch.stream === this.stream) await this.#gate?.pass()
      await next()
    }
    return store
  }

  /** From here on commits wait at the gate that is returned. */
  hold(): Gate {
    this.#gate = new Gate()
    return this.#gate
  }

  letGo(): void {
    this.#gate?.open()
    this.#gate = undefined
  }
}

/** More than messages between shards take that wait for no commit. */
async function turns(): Promise<void> {
  for (let turn = 0; turn < 300; turn++) await new Promise(setImmediate)
}
