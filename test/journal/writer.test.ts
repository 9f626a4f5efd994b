import { randomUUID } from 'node:crypto'
import fc from 'fast-check'
import pg from 'pg'
import t, { type Test } from 'tap'
import { Batch } from '../../src/journal/batch.js'
import { digestChain, emptyDigest } from '../../src/journal/digest.js'
import { postgresDatabase } from '../../src/journal/postgres.js'
import { postgresStore } from '../../src/journal/postgres-session.js'
import { Replay } from '../../src/journal/replay.js'
import { readLayout, takeOver } from '../../src/journal/take-over.js'
import { JournalWriter } from '../../src/journal/writer.js'
import { emptyBook, withClient } from '../actors/book-database.js'
import { Engine } from '../actors/engine.js'
import { TestClock } from '../actors/test-clock.js'
import { temporaryPostgres } from '../postgres.js'
import { connectionLost, FaultyStore, Gate, until } from './faulty-store.js'
import { addTo, record, recordBytes } from './records.js'

t.setTimeout(240_000)

const postgres = await temporaryPostgres(t)
const connectionString = await postgres.createDatabase()
const commitTimeoutMs = 5000
const leaseMs = 10_000

t.test('a batch whose commit fails is sent again under a new epoch', async (t) => {
  const writer = await openWriter(t)
  const { epoch } = await writer.stream()
  writer.faultOnce(async () => {
    throw connectionLost()
  })
  writer.send(3)
  await writer.pump(writer.committed(1))
  t.match(await writer.stream(), { epoch: epoch + 1, head: 3 })
  t.equal(writer.counts.settlements, 1)
  t.equal(writer.store.calls.commit, 2)
  writer.send(2)
  await writer.committed(2)
  await writer.assertJournal(t)
})

t.test('a batch that was committed, though its answer was lost, is not sent again', async (t) => {
  const writer = await openWriter(t)
  const { epoch } = await writer.stream()
  writer.faultOnce(async (next) => {
    await next()
    throw connectionLost()
  })
  writer.send(3)
  await writer.committed(1)
  t.match(await writer.stream(), { epoch: epoch + 1, head: 3 })
  t.equal(writer.store.calls.commit, 1)
  await writer.assertJournal(t)
})

t.test('a commit that hangs is settled at its deadline, not before', async (t) => {
  const writer = await openWriter(t)
  writer.faultOnce(() => new Promise<never>(() => undefined))
  writer.send(3)
  await until(() => writer.store.calls.commit === 1)
  writer.clock.advance(commitTimeoutMs - 1)
  await realTime()
  t.equal(writer.store.calls.settle, 1, 'only that of the start')
  writer.clock.advance(1)
  await writer.pump(writer.committed(1))
  t.equal(writer.counts.settlements, 1)
  await writer.assertJournal(t)
})

t.test('only commits that took too long are given more time', async (t) => {
  const writer = await openWriter(t)
  let hangs = false
  writer.store.faults.commit = async () => {
    if (hangs) await new Promise<never>(() => undefined)
    throw connectionLost()
  }
  writer.send(3)
  await writer.pump(until(() => writer.store.calls.commit === 8))
  hangs = true
  const before = writer.store.calls.commit
  await writer.pump(until(() => writer.store.calls.commit > before))
  const settled = writer.store.calls.settle
  writer.store.faults.commit = undefined
  writer.clock.advance(commitTimeoutMs)
  await until(() => writer.store.calls.settle > settled)
  await writer.pump(writer.committed(1))
  await writer.assertJournal(t)
})

t.test('an old backend that waits for a lock is ended before anything is settled', async (t) => {
  const writer = await openWriter(t)
  const blocker = await lock(t, 'select from daybook.stream for update')
  writer.send(3)
  await until(() => waitsForLock())
  const [old] = await query('select backend_pid from daybook.stream')
  writer.clock.advance(commitTimeoutMs)
  const { backend_pid: pid } = old as { backend_pid: number }
  await until(
    async () => (await query(`select from pg_stat_activity where pid = ${pid}`)).length === 0,
  )
  // The settlement needs the row's lock as well: it goes on trying, and the old backend is gone.
  await until(() => writer.store.calls.settle > 1)
  await blocker.release()
  await writer.pump(writer.committed(1))
  t.match(await writer.stream(), { head: 3 })
  await writer.assertJournal(t)
})

t.test('an old backend that has not come to the fence writes nothing any more', async (t) => {
  const writer = await openWriter(t)
  // The table is locked, the stream's row is not: a settlement can overtake the old backend.
  const blocker = await lock(t, 'lock table daybook.journal in share mode')
  writer.send(3)
  await until(() => waitsForLock())
  writer.clock.advance(commitTimeoutMs)
  await writer.pump(until(() => writer.store.calls.commit === 2))
  await until(() => waitsForLock())
  await blocker.release()
  await writer.committed(1)
  t.equal(writer.stopped.length, 0)
  await writer.assertJournal(t)
})

t.test('an old backend that commits late is seen, and nothing is written twice', async (t) => {
  const writer = await openWriter(t)
  const blocker = await lock(t, 'select from daybook.stream for update')
  // The deadline passes, and before the settlement reaches Postgres the old backend gets its lock.
  writer.store.faults.settle = async (next) => {
    await blocker.release()
    await until(async () => (await writer.stream()).head === 3)
    return await next()
  }
  writer.send(3)
  await until(() => waitsForLock())
  writer.clock.advance(commitTimeoutMs)
  await writer.committed(1)
  t.equal(writer.store.calls.commit, 1)
  await writer.assertJournal(t)
})

t.test('a settlement whose own answer is lost is done again', async (t) => {
  const writer = await openWriter(t)
  const { epoch } = await writer.stream()
  let lost = 3
  writer.faultOnce(async (next) => {
    await next()
    throw connectionLost()
  })
  writer.store.faults.settle = async (next) => {
    const state = await next()
    lost -= 1
    if (lost >= 0) throw connectionLost()
    return state
  }
  writer.send(3)
  await writer.pump(writer.committed(1))
  t.match(await writer.stream(), { epoch: epoch + 4, head: 3 })
  await writer.assertJournal(t)
})

t.test('a settlement that hangs is cut off and done again', async (t) => {
  const writer = await openWriter(t)
  let hangs = 2
  writer.faultOnce(async () => {
    throw connectionLost()
  })
  writer.store.faults.settle = async (next) => {
    hangs -= 1
    return hangs >= 0 ? await new Promise<never>(() => undefined) : await next()
  }
  writer.send(3)
  await writer.pump(writer.committed(1))
  await writer.assertJournal(t)
})

t.test('while Postgres is away the writer goes on trying, ever more slowly', async (t) => {
  const writer = await openWriter(t)
  let away = true
  writer.store.faults.open = async (next) => {
    if (away) throw connectionLost()
    return await next()
  }
  writer.faultOnce(async () => {
    throw connectionLost()
  })
  writer.send(3)
  await until(() => writer.store.calls.open === 2)
  for (let attempt = 3; attempt <= 12; attempt++) {
    writer.clock.advance(1000)
    await until(() => writer.store.calls.open === attempt)
  }
  t.equal(writer.troubles > 10, true, 'and says so')
  t.equal(writer.writer.state, 'settling')
  t.equal(writer.stopped.length, 0)
  away = false
  await writer.pump(writer.committed(1))
  writer.send(1)
  await writer.committed(2)
  await writer.assertJournal(t)
})

t.test('after a take-over the next commit stops the writer, and writes nothing', async (t) => {
  const writer = await openWriter(t)
  writer.send(3)
  await writer.committed(1)
  await takeOverAs('another')
  writer.send(2)
  await until(() => writer.stopped.length > 0)
  t.match(writer.stopped, [{ code: 'fenced' }])
  t.match(await writer.stream(), { head: 3, owner: 'another' })
  t.equal(writer.commits, 1)
  t.equal(writer.writer.state, 'stopped')
  await writer.pump(realTime())
  t.equal(writer.stopped.length, 1, 'once')
  await writer.assertJournal(t, 3)
})

t.test('after a take-over an idle writer finds out by itself', async (t) => {
  const writer = await openWriter(t)
  await takeOverAs('another')
  writer.clock.advance(leaseMs / 4)
  await until(() => writer.stopped.length > 0)
  t.match(writer.stopped, [{ code: 'fenced' }])
})

t.test('a take-over in the middle of an unknown commit stops the writer', async (t) => {
  const writer = await openWriter(t)
  writer.faultOnce(async (next) => {
    await next()
    await takeOverAs('another')
    throw connectionLost()
  })
  writer.send(3)
  await until(() => writer.stopped.length > 0)
  t.match(writer.stopped, [{ code: 'fenced' }])
  t.equal(writer.commits, 0)
  t.match(await writer.stream(), { owner: 'another', head: 3 })
})

for (const [what, change] of [
  ['a head', 'head = head + 1'],
  ['a digest', "digest = decode(repeat('11', 32), 'hex')"],
] as const) {
  t.test(`${what} that no batch explains stops the writer`, async (t) => {
    const writer = await openWriter(t)
    writer.faultOnce(async () => {
      await query(`update daybook.stream set ${change}`)
      throw connectionLost()
    })
    writer.send(3)
    await until(() => writer.stopped.length > 0)
    t.match(writer.stopped, [{ code: 'broken_chain' }])
    t.equal(writer.commits, 0)
  })
}

t.test(
  'an idle writer whose session breaks opens another, if the head is still its own',
  async (t) => {
    const writer = await openWriter(t)
    writer.send(3)
    await writer.committed(1)
    writer.store.faults.confirm = async () => {
      throw connectionLost()
    }
    writer.clock.advance(leaseMs / 4)
    await until(() => writer.writer.isIdle() && writer.store.calls.settle === 2)
    writer.send(2)
    await writer.committed(2)
    await writer.assertJournal(t)
  },
)

t.test('a writer that was closed while it confirmed its epoch stays closed', async (t) => {
  const writer = await openWriter(t)
  const gate = new Gate()
  writer.store.faults.confirm = async () => {
    await gate.pass()
    throw connectionLost()
  }
  writer.clock.advance(leaseMs / 4)
  await until(() => gate.arrivals > 0)
  const { open } = writer.store.calls
  writer.writer.close()
  gate.open()
  await writer.pump(realTime())
  t.equal(writer.writer.state, 'stopped')
  t.equal(writer.store.calls.open, open, 'no session is opened any more')
})

t.test('a writer that was closed in the middle of settling stays closed', async (t) => {
  const writer = await openWriter(t)
  const gate = new Gate()
  writer.faultOnce(async () => {
    throw connectionLost()
  })
  writer.store.faults.settle = async (next) => {
    await gate.pass()
    return await next()
  }
  writer.send(3)
  await until(() => gate.arrivals > 0)
  writer.writer.close()
  gate.open()
  await writer.pump(realTime())
  t.equal(writer.writer.state, 'stopped')
  t.match(await writer.stream(), { head: 0 })
  t.equal(writer.commits, 0)
})

t.test('whatever fails in whatever order, nothing is lost and nothing doubled', async (t) => {
  type Fault = 'none' | 'before' | 'after' | 'hangs' | 'hangs after'
  const fault = fc.constantFrom<Fault[]>('none', 'before', 'after', 'hangs', 'hangs after')
  const plan = fc.record({
    batches: fc.array(fc.record({ records: fc.integer({ min: 1, max: 200 }), fault }), {
      minLength: 1,
      maxLength: 10,
      size: 'max',
    }),
    open: fc.array(fc.boolean(), { maxLength: 6 }),
    settle: fc.array(fault, { maxLength: 6 }),
  })
  await fc.assert(
    fc.asyncProperty(plan, async ({ batches, open, settle }) => {
      const writer = await openWriter(t)
      const hang = () => new Promise<never>(() => undefined)
      async function withFault<T>(fault: Fault | undefined, next: () => Promise<T>): Promise<T> {
        if (fault === 'before') throw connectionLost()
        if (fault === 'hangs') return await hang()
        const result = await next()
        if (fault === 'after') throw connectionLost()
        return fault === 'hangs after' ? await hang() : result
      }
      const opens = [...open]
      const settles = [...settle]
      writer.store.faults.open = async (next) => {
        if (opens.shift() === true) throw connectionLost()
        return await next()
      }
      writer.store.faults.settle = (next) => withFault(settles.shift(), next)
      for (const [index, { records, fault }] of batches.entries()) {
        writer.faultOnce((next) => withFault(fault, next))
        writer.send(records)
        await writer.pump(writer.committed(index + 1))
      }
      writer.writer.close()
      await writer.assertJournal(t)
      t.equal(writer.stopped.length, 0)
    }),
    { numRuns: Math.ceil(Number(process.env.DAYBOOK_TEST_RUNS ?? 100) / 10), seed: 17 },
  )
})

t.test('with the lease run out no answer leaves; once it is confirmed, it does', async (t) => {
  const { engine, store } = await leasedEngine(t)
  const gate = new Gate()
  store().faults.confirm = async (next) => {
    await gate.pass()
    await next()
  }
  engine.clock.advance(leaseMs / 4)
  await until(() => gate.arrivals > 0)
  t.match(await engine.readAccount('a', 0), { outcome: 'account' }, 'the lease still runs')
  engine.clock.advance(leaseMs / 2 - 1)
  t.match(await engine.readAccount('a', 0), { outcome: 'account' }, 'and still runs')
  engine.clock.advance(leaseMs / 4 + 1)
  const asked = [
    engine.readAccount('a', 0),
    engine.readTransaction('nothing', 0),
    engine.createAccount({ id: 'a', currency: 'EUR', scale: 2, class: 'asset' }),
  ]
  let answers = 0
  for (const each of asked) void each.then(() => (answers += 1))
  await realTime()
  t.equal(answers, 0, 'neither reads nor refusals nor replays')
  gate.open()
  t.match(await Promise.all(asked), [
    { outcome: 'account' },
    { outcome: 'refused' },
    { outcome: 'account', replayed: true },
  ])
})

t.test(
  'a lease counts from when the confirmation was asked for, not from its answer',
  async (t) => {
    const { engine, store } = await leasedEngine(t)
    const gate = new Gate()
    let answered = false
    store().faults.confirm = async (next) => {
      await next()
      await gate.pass()
      answered = true
    }
    engine.clock.advance(leaseMs / 4)
    await until(() => gate.arrivals > 0)
    // Asked for now; the answer comes most of a lease later.
    engine.clock.advance(leaseMs * 0.8)
    gate.open()
    await until(() => answered)
    store().faults.confirm = () => new Promise<never>(() => undefined)
    await realTime()
    engine.clock.advance(leaseMs * 0.2)
    let answers = 0
    void engine.readAccount('a', 0).then(() => (answers += 1))
    await realTime()
    t.equal(answers, 0)
  },
)

t.test('an answer that reaches the router after the lease is not given', async (t) => {
  const { engine } = await leasedEngine(t)
  // The process freezes between the shard's release and the router.
  const receive = engine.router.receive.bind(engine.router)
  engine.router.receive = (frame) => {
    engine.clock.advance(leaseMs)
    receive(frame)
  }
  let answers = 0
  void engine.readAccount('a', 0).then(() => (answers += 1))
  await realTime()
  t.equal(answers, 0)
})

t.test('time does not run back along a stream when somebody sets the clock', async (t) => {
  const { engine } = await leasedEngine(t)
  const before = engine.clock.now()
  engine.clock.setWall(before - 86_400_000)
  const made = await engine.createAccount({ id: 'b', currency: 'EUR', scale: 2, class: 'asset' })
  t.match(made, { account: { createdAt: before } })
  await engine.restart()
  const after = await engine.createAccount({ id: 'c', currency: 'EUR', scale: 2, class: 'asset' })
  t.match(after, { account: { createdAt: before } })
})

async function leasedEngine(t: Test): Promise<{ engine: Engine; store: () => FaultyStore }> {
  await emptyBook(connectionString)
  const stores: FaultyStore[] = []
  const engine = await Engine.start({
    connectionString,
    shard: { leaseMs, commitTimeoutMs: 1e9 },
    wrap: (inner) => {
      stores.push(new FaultyStore(inner))
      return stores[stores.length - 1]
    },
  })
  t.teardown(() => engine.close())
  await engine.createAccount({ id: 'a', currency: 'EUR', scale: 2, class: 'asset' })
  return { engine, store: () => stores[stores.length - 1] }
}

/** A writer on its own, with a listener that notes what it is told. */
class TestWriter {
  readonly clock = new TestClock()
  readonly store = new FaultyStore(postgresStore(postgresDatabase(connectionString, 5000)))
  readonly owner = randomUUID()
  readonly stopped: Error[] = []
  troubles = 0
  commits = 0
  readonly writer: JournalWriter
  readonly #batches = [new Batch(1), new Batch(1)]
  readonly #sent: Uint8Array[] = []
  #marks = 0

  constructor() {
    this.writer = new JournalWriter(
      { stream: 1, owner: this.owner, leaseMs, commitTimeoutMs },
      {
        store: this.store,
        clock: this.clock,
        random: () => 0.5,
        chain: digestChain(),
        listener: {
          onCommitted: () => {
            this.commits += 1
          },
          onIdle: () => undefined,
          onConfirmed: () => undefined,
          onTrouble: () => {
            this.troubles += 1
          },
          onStopped: (fault) => this.stopped.push(fault),
        },
      },
    )
  }

  get counts(): JournalWriter['counts'] {
    return this.writer.counts
  }

  /** The next commit, and only that, goes through `fault`. */
  faultOnce(fault: (next: () => Promise<void>) => Promise<void>): void {
    this.store.faults.commit = async (next) => {
      this.store.faults.commit = undefined
      await fault(next)
    }
  }

  send(records: number): void {
    const batch = this.#batches[this.#marks & 1]
    batch.restart(this.#sent.length + 1)
    for (let index = 0; index < records; index++) {
      this.#marks += 1
      const bytes = record(this.#marks % 40 === 0 ? 9000 : 120, this.#marks)
      addTo(batch, bytes)
      this.#sent.push(bytes)
    }
    this.writer.send(batch)
  }

  async committed(count: number): Promise<void> {
    await until(() => this.commits >= count)
  }

  /** Waits for `work` while the clock goes on. */
  async pump(work: Promise<void>): Promise<void> {
    let done = false
    void work.finally(() => {
      done = true
    })
    while (!done) {
      await new Promise((resolve) => {
        setTimeout(resolve, 10)
      })
      this.clock.advance(250)
    }
    await work
  }

  async stream(): Promise<{ epoch: number; head: number; owner: string }> {
    const [row] = await query('select epoch, head::int, owner from daybook.stream')
    return row as { epoch: number; head: number; owner: string }
  }

  /** The journal has exactly the first `count` records that were sent, once, in order. */
  async assertJournal(t: Test, count = this.#sent.length): Promise<void> {
    const session = await postgresStore(postgresDatabase(connectionString, 5000)).open()
    const found: Buffer[] = []
    const replay = new Replay(1, { seq: 0, digest: emptyDigest }, digestChain())
    const { head, digest } = await session.readHead(1)
    for await (const chunk of session.readChunks(1, 0, 1_000_000)) {
      replay.read(chunk, (words, at) => found.push(recordBytes(words, at)))
    }
    session.close()
    replay.assertEnd(head, digest)
    const expected = this.#sent.slice(0, count).map((bytes) => Buffer.from(bytes))
    t.equal(found.length, expected.length, 'as many records as were sent')
    t.ok(Buffer.concat(found).equals(Buffer.concat(expected)), 'and the same ones, in order')
  }
}

async function openWriter(t: Test): Promise<TestWriter> {
  await emptyBook(connectionString)
  const writer = new TestWriter()
  t.teardown(() => writer.writer.close())
  await takeOverAs(writer.owner)
  await writer.writer.open()
  writer.writer.ready()
  return writer
}

async function takeOverAs(owner: string): Promise<void> {
  await withClient(connectionString, async (client) =>
    takeOver(client, owner, await readLayout(client), () => undefined),
  )
}

/** Takes a lock from outside, for which the writer's backends have to wait. */
async function lock(t: Test, statement: string): Promise<{ release(): Promise<void> }> {
  const client = new pg.Client({ connectionString })
  await client.connect()
  t.teardown(() => client.end())
  await client.query('begin')
  await client.query(statement)
  return {
    release: async () => {
      await client.query('rollback')
    },
  }
}

async function waitsForLock(): Promise<boolean> {
  const rows = await query(
    `select from pg_stat_activity where datname = current_database()
       and application_name = 'daybook journal' and wait_event_type = 'Lock'`,
  )
  return rows.length > 0
}

async function query(text: string): Promise<object[]> {
  return await withClient(connectionString, async (client) => (await client.query(text)).rows)
}

/** A while in which whatever can happen without the clock has happened. */
async function realTime(): Promise<void> {
  await new Promise((resolve) => {
    setTimeout(resolve, 60)
  })
}
