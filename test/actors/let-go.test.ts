import fc from 'fast-check'
import t, { type Test } from 'tap'
import type { BookLimits } from '../../src/actors/book.js'
import { Follower } from '../../src/history/follower.js'
import { projectedPositions, recreateSchema } from '../../src/history/history-store.js'
import { digestChain } from '../../src/journal/digest.js'
import { postgresDatabase } from '../../src/journal/postgres.js'
import { postgresStore } from '../../src/journal/postgres-session.js'
import { slotCount, slotOf } from '../../src/key.js'
import { buildSnapshot } from '../../src/snapshots/build-snapshot.js'
import { openSnapshotStore } from '../../src/snapshots/open-store.js'
import { offDomain } from '../off-domain.js'
import { temporaryPostgres } from '../postgres.js'
import { emptyBook, withClient } from './book-database.js'
import { Engine } from './engine.js'
import { keyOfName, tenant } from './engine-names.js'
import type { EngineOptions } from './engine-process.js'
import type { NewTransaction } from './model.js'
import { ModelRun } from './model-run.js'
import { prelude, type Step, steps } from './scenario.js'
import { TestClock } from './test-clock.js'

t.setTimeout(1_800_000)

const timeoutMs = 10_000
const postgres = temporaryPostgres(t)
/** A shard remembers next to nothing by itself. */
const limits = { accountsMax: 1000, transactionsMax: 1000, letGo: { beyond: 2, rows: 2 } }

t.test('what was let go answers as a plain model does that forgets nothing', async (t) => {
  for (const shards of [1, 3]) {
    await t.test(`${shards} shards`, async (t) => {
      offDomain(t)
      await compareWithModel(t, await (await postgres).createDatabase(), shards)
    })
  }
})

async function compareWithModel(t: Test, connectionString: string, shards: number): Promise<void> {
  const hits = new Map<string, number>()
  const counts = { letGo: 0, found: 0, hollow: 0, fromSnapshot: 0 }
  const property = fc.asyncProperty(steps(60), fc.nat(), async (steps, pick) => {
    await emptyBook(connectionString)
    await withClient(connectionString, (client) => client.query('delete from daybook.snapshot'))
    const book = await FollowedBook.open(connectionString)
    const engine = { connectionString, shards, shard: { limits }, snapshots: book.snapshots }
    const run = await ModelRun.start({ engine, limits, hits })
    try {
      for (const [index, step] of [...prelude, ...steps, ...ending].entries()) {
        if (step.do === 'restart' && (pick + index) % 3 > 0) await book.snapshot()
        await run.take(step)
        run.assertLimits()
        if ((pick + index) % 4 === 0) await book.follow(run.engine)
        for (const { gauges } of run.engine.shards) {
          counts.letGo = Math.max(counts.letGo, gauges.letGo)
          counts.found = Math.max(counts.found, gauges.oldIdsFound)
        }
        if (run.engine.startedFrom?.version === 2) counts.fromSnapshot += 1
        for (const { book } of run.engine.shards) {
          const { transactions } = book
          for (const row of transactions.keys.rows()) {
            if (transactions.isHollow(row)) counts.hollow += 1
          }
        }
      }
      await run.finish()
    } finally {
      book.close()
      await run.engine.close()
    }
  })
  const numRuns = Number(process.env.DAYBOOK_TEST_RUNS ?? (shards === 1 ? 6 : 4))
  await fc.assert(property, {
    numRuns,
    seed: Number(process.env.DAYBOOK_TEST_SEED ?? 20241122),
    path: process.env.DAYBOOK_TEST_PATH,
    endOnFailure: process.env.DAYBOOK_TEST_SHRINK !== 'yes',
  })
  t.comment(JSON.stringify(counts), [...hits].join(', '))
  for (const [what, count] of Object.entries(counts)) t.ok(count > 0, what)
}

/** Old commands once more, before and after restarts. */
const ending: Step[] = Array.from({ length: 12 }, (_, index) =>
  index % 4 === 3
    ? { do: 'restart' }
    : { do: 'repeat', pick: index * 7, how: index % 2 === 0 ? 'same' : 'changed' },
)

/** A book in a database, with its read models and its snapshots. */
class FollowedBook {
  readonly snapshots
  readonly #connectionString: string
  #follower!: Follower

  /** Of which nothing has been followed. */
  static async open(connectionString: string): Promise<FollowedBook> {
    const book = new FollowedBook(connectionString)
    await book.recreate()
    return book
  }

  /** As a process finds it that starts. */
  static async openAgain(connectionString: string): Promise<FollowedBook> {
    const book = new FollowedBook(connectionString)
    await book.#open()
    return book
  }

  private constructor(connectionString: string) {
    this.#connectionString = connectionString
    this.snapshots = openSnapshotStore({ kind: 'postgres', connectionString, timeoutMs })
  }

  /** Drops the read models, and makes them anew. */
  async recreate(): Promise<void> {
    this.#follower?.close()
    const database = postgresDatabase(this.#connectionString, timeoutMs)
    const connection = await database.connect({ name: 'test' })
    await recreateSchema(connection).finally(() => connection.end())
    await this.#open()
  }

  async #open(): Promise<void> {
    const database = postgresDatabase(this.#connectionString, timeoutMs)
    const store = postgresStore(database)
    const parts = { database, store, chain: digestChain(), clock: new TestClock() }
    this.#follower = await Follower.open({ ...parts, recordsMax: 32 })
    await this.#follower.load()
  }

  /** Follows a little further, and has the indexes built. */
  async followOnly(steps: number): Promise<void> {
    for (let step = 0; step < steps; step++) await this.#follower.step()
    await withClient(this.#connectionString, (client) =>
      client.query('update daybook_history.about set indexed = true'),
    )
  }

  /** Brings the read models to where the journal is, and lets the shards know. */
  async follow(engine: Engine): Promise<void> {
    while ((await this.#follower.step()) > 0);
    for (const shard of engine.shards) shard.projected(this.#follower.progress.followed)
  }

  async snapshot(): Promise<void> {
    const database = postgresDatabase(this.#connectionString, timeoutMs)
    await buildSnapshot({
      ...{ database, store: postgresStore(database), snapshots: this.snapshots },
      ...{ clock: new TestClock(), random: Math.random, chain: digestChain() },
      projected: async () => this.#follower.progress.followed,
      letGo: limits.letGo,
      warn: (message) => {
        throw new Error(message)
      },
      onProgress: () => undefined,
    })
  }

  close(): void {
    this.#follower.close()
    void this.snapshots.close()
  }
}

const roomy = { accountsMax: 10, transactionsMax: 1e6, letGo: { beyond: 8, rows: 4 } }

t.test('an id that only looks like an old one is new, once', async (t) => {
  const { engine, book } = await postedBook(t, roomy)
  const [{ book: actors }] = engine.shards
  // One in some 1,700 is taken for one of those that were let go.
  const lookalike = () => {
    for (let number = 1_000_000; ; number++) {
      const id = idOf(number)
      const { w0, w1, w2, w3 } = keyOfName(id)
      if (actors.letGo.mayHave(tenant, Uint32Array.of(w0, w1, w2, w3), 0)) return id
    }
  }
  const transfer = transferOf(lookalike())
  const [first, second] = await Promise.all([engine.post(transfer), engine.post(transfer)])
  t.same([first.outcome, second.outcome], ['accepted', 'replayed'])
  t.equal(engine.shard.gauges.oldIdsUnused, 1, 'it was asked for once')
  for (let round = 1; round < 4; round++) {
    await postMore(engine, round * 1000, 20)
    await book.follow(engine)
  }
  t.notOk(actors.transactions.find(tenant, keyOfName(transfer.id)) >= 0, 'it is let go itself')
  t.match(await engine.post(transfer), { outcome: 'replayed' })
  t.match(await engine.post({ ...transfer, code: 1 }), { code: 'id_reused_with_different_body' })
})

t.test('while the read models cannot say, an old id is neither new nor known', async (t) => {
  const { engine, book, connectionString } = await postedBook(t, roomy)
  const old = transferOf(idOf(1))
  const drop = 'drop schema daybook_history cascade'
  await withClient(connectionString, (client) => client.query(drop))
  const batch = [transferOf(idOf(2)), transferOf('fresh')]
  const refused = { outcome: 'refused', code: 'old_id_not_checked' }
  t.match(await engine.post(old), refused, 'posted again')
  t.match(await engine.readTransaction(idOf(1), 0), refused, 'read')
  t.match(
    await engine.followUp({ kind: 'reverse', target: idOf(1), id: 'reversal' }),
    refused,
    'reversed',
  )
  t.match(await engine.batch(batch, true), refused, 'in an atomic batch')
  t.match(
    await engine.batch(batch, false),
    { outcome: 'batch', items: [refused, { outcome: 'accepted' }] },
    'in another batch, whose other items go on',
  )
  const dated = { ...old, id: '018d9999-0000-7000-8000-000000000001' }
  t.match(await engine.post(dated), { outcome: 'accepted' }, 'a v7 id that is younger is new')

  await book.recreate()
  await book.followOnly(5)
  t.match(await engine.post(old), refused, 'while they do not hold all that was let go')
  await book.follow(engine)
  t.match(await engine.post(old), { outcome: 'replayed' })
  t.match(await engine.readTransaction(idOf(1), 0), { outcome: 'read' })
})

t.test(
  'nothing is let go that is not projected; when memory is full, all have to wait',
  async (t) => {
    const limits = { accountsMax: 10, transactionsMax: 24, letGo: { beyond: 8, rows: 4 } }
    const projected = 8
    const { engine, book } = await postedBook(t, limits, projected)
    const outcomes: string[] = []
    for (let number = 0; number < 40; number++) {
      const answer = await engine.post(transferOf(`full:${number}`))
      outcomes.push(answer.outcome === 'refused' ? answer.code : answer.outcome)
    }
    t.equal(engine.shard.gauges.letGo, projected)
    t.equal(outcomes.indexOf('projections_behind'), limits.transactionsMax)
    t.same([...new Set(outcomes.slice(limits.transactionsMax))], ['projections_behind'])
    await book.follow(engine)
    t.ok(engine.shard.gauges.letGo > projected)
    t.match(await engine.post(transferOf('full:39')), { outcome: 'accepted' })
  },
)

t.test('the old ids of an ordered batch are asked for together', async (t) => {
  const asked: number[] = []
  const { engine, connectionString } = await postedBook(t, roomy, 400, {
    onAsked: (ids) => asked.push(ids),
  })
  const transfers = Array.from({ length: 40 }, (_, number) => transferOf(idOf(number)))
  const answer = await engine.ordered([...transfers, transferOf('behind')])
  const [last, ...others] = answer.outcome === 'batch' ? [...answer.items].reverse() : []
  t.equal(others.filter(({ outcome }) => outcome === 'replayed').length, transfers.length)
  t.match(last, { outcome: 'accepted' })
  t.ok(asked.length <= 2, `${asked.length} times`)

  asked.length = 0
  await withClient(connectionString, (client) =>
    client.query('drop schema daybook_history cascade'),
  )
  const unknown = Array.from({ length: 40 }, (_, number) => transferOf(idOf(100 + number)))
  t.match(await engine.ordered([...unknown, transferOf('behind:them')]), {
    outcome: 'batch',
    items: [...unknown.map(() => ({ code: 'old_id_not_checked' })), { outcome: 'accepted' }],
  })
  t.ok(asked.length <= 2, `${asked.length} times in vain`)
})

t.test(
  'of many ids that another shard claims none is new if it was let go meanwhile',
  async (t) => {
    // More than one query asks for.
    const count = 1400
    const { engine, book } = await postedBook(t, { ...roomy, transactionsMax: 1e6 }, count, {
      shards: 2,
    })
    const posted = async () => {
      const answer = await engine.readAccount(debit, 0)
      return answer.outcome === 'account' ? answer.account.debitsPosted : answer
    }
    const before = await posted()
    const old = Array.from({ length: count }, (_, number) => transferOf(idOf(number)))
    const home = homeElsewhere(engine)
    const answer = await engine.batch(old, true, home)
    t.notMatch(answer, { outcome: 'accepted' })
    await book.follow(engine)
    t.same(await posted(), before, 'nothing took effect again')
  },
)

t.test('read models of another journal say nothing of an id, and are built again', async (t) => {
  const { engine: before, book, connectionString } = await postedBook(t, roomy)
  const database = postgresDatabase(connectionString, timeoutMs)
  const stale = await projectedPositions(database)
  t.match(stale, [[1, 402]])
  await before.close()
  book.close()
  // The journal alone is put back to where it once was, and goes on otherwise.
  await emptyBook(connectionString)
  t.same(await projectedPositions(database), [], 'they are ahead of it')
  const engine = await Engine.start({ connectionString, shard: { limits: roomy } })
  t.teardown(() => engine.close())
  await createAccounts(engine)
  await postMore(engine, 5000, 500)
  t.same(await projectedPositions(database), [], 'it has passed them')
  engine.shard.projected(stale)
  await postMore(engine, 6000, 20)
  t.ok(engine.shard.gauges.letGo > 0)
  const old = transferOf(idOf(5000))
  t.match(await engine.post(old), { code: 'old_id_not_checked' })

  const again = await FollowedBook.openAgain(connectionString)
  t.teardown(() => again.close())
  await again.follow(engine)
  t.match(await engine.post(old), { outcome: 'replayed' })
})

const [debit, credit] = ['cash', 'ada']

function transferOf(id: string): NewTransaction {
  return { id, postings: [{ debit, credit, amount: '1' }] }
}

async function postMore(engine: Engine, from: number, count: number): Promise<void> {
  const ids = Array.from({ length: count }, (_, number) => idOf(from + number))
  await Promise.all(ids.map((id) => engine.post(transferOf(id))))
}

/** All of them in one slot, whose filter is full then. */
function idOf(number: number): string {
  return `00000000-0000-8000-8000-${(number * slotCount).toString(16).padStart(12, '0')}`
}

/** An id that is on another shard than those of {@link idOf}. */
function homeElsewhere(engine: Engine): string {
  const shardOf = (id: string) => engine.router.shardOf(slotOf(keyOfName(id)))
  for (let number = 0; ; number++) {
    if (shardOf(`home:${number}`) !== shardOf(idOf(0))) return `home:${number}`
  }
}

/** Shards that have posted, one shard unless `options` say more, and let go what they may. */
async function postedBook(
  t: Test,
  limits: BookLimits,
  transactions = 400,
  options: Partial<EngineOptions> = {},
) {
  const connectionString = await (await postgres).createDatabase()
  await emptyBook(connectionString)
  const book = await FollowedBook.open(connectionString)
  const engine = await Engine.start({ connectionString, shard: { limits }, ...options })
  t.teardown(async () => {
    book.close()
    await engine.close()
  })
  await createAccounts(engine)
  await book.follow(engine)
  await postMore(engine, 0, transactions)
  await book.follow(engine)
  return { engine, book, connectionString }
}

async function createAccounts(engine: Engine): Promise<void> {
  for (const id of [debit, credit]) {
    const account = { id, currency: 'EUR', scale: 2, class: 'asset' } as const
    await engine.createAccount({ ...account, overdraftLimit: 'unlimited' })
  }
}
