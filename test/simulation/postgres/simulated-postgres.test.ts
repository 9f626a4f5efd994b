import t from 'tap'
import { openGeneration } from '../../../src/journal/generation.js'
import { postgresStore } from '../../../src/journal/postgres-session.js'
import type { JournalSession, StreamState } from '../../../src/journal/session.js'
import { readLayout, takeOver } from '../../../src/journal/take-over.js'
import type { Thread } from '../scheduler.js'
import { sealedBatch } from './sealed-batch.js'
import { SimulatedSetting } from './simulated-setting.js'
import { openBatch } from './stage.js'

const seeds = 40
const silent = () => undefined

t.test('a book is taken over, written to, and laid out anew', async (t) => {
  for (let seed = 0; seed < seeds; seed++) {
    const setting = new SimulatedSetting(seed)
    const database = setting.postgres.databaseFor(setting.thread, 5000)
    const next = await setting.run(
      (async () => {
        const connection = await database.connect({ name: 'daybook start' })
        const first = await takeOver(connection, 'me', await readLayout(connection), silent)
        const session = await postgresStore(database).open()
        const state = await session.settle(1, 'me')
        await session.ensurePartition(1)
        await session.commit(sealedBatch(1, state))
        await session.confirm(1, state.epoch)
        session.close()
        const opened = await openGeneration(connection, 'me', first, 3, silent)
        await connection.end()
        return opened
      })(),
    )
    await setting.pass(1000)
    t.same(next.layout.streams, [2, 3, 4])
    t.match(setting.postgres.tables.streams.get(1), { head: 1, closed: true })
    t.match(setting.commits.at(-1), { streams: { length: 4 }, book: { after: { generation: 2 } } })
    t.ok(setting.postgres.isIdle)
    t.equal(setting.postgres.backends.length, 0)
  }
})

t.test('a statement that is not known ends the world', async (t) => {
  const setting = new SimulatedSetting(1)
  const database = setting.postgres.databaseFor(setting.thread, 5000)
  const asking = database
    .connect({ name: 'daybook start' })
    .then((connection) => connection.query('select 1'))
  asking.catch(silent)
  await t.rejects(setting.run(new Promise(silent)), /does not know: select 1/)
  await t.rejects(asking, /does not know: select 1/)
})

t.test('a commit under way when the server is killed is kept or lost', async (t) => {
  const heads = new Set<number>()
  for (let seed = 0; seed < seeds; seed++) {
    const { setting, session, state } = await settled(seed)
    const commit = session.commit(sealedBatch(1, state))
    commit.catch(silent)
    const dying = setting.until(() => isCommitting(setting)).then(() => setting.postgres.crash(500))
    await setting.run(dying)
    const inTable = setting.postgres.tables.streams.get(1)?.head ?? -1
    heads.add(inTable)
    t.equal(setting.postgres.tables.chunks.get(1)?.length ?? 0, inTable, 'all of it or nothing')
    await t.rejects(setting.run(commit), 'nobody is told')
    await t.rejects(setting.run(open(setting)), { code: 'ECONNREFUSED' }, 'while it is down')
    await setting.pass(500)
    const again = await setting.run(open(setting))
    const { head, epoch } = await setting.run(again.settle(1, 'me'))
    t.same([head, epoch], [inTable, state.epoch + 1])
  }
  t.same([...heads].sort(), [0, 1], 'either way')
})

t.test('a batch that has arrived is committed though its process is dead', async (t) => {
  for (let seed = 0; seed < seeds; seed++) {
    const other = await settled(seed)
    const { setting } = other
    const thread = setting.newThread('doomed')
    const session = await setting.run(open(setting, thread))
    const state = await setting.run(session.settle(1, 'me'))
    setting.postgres.strike({ of: 'batch', phase: 'before the fence', effect: 'late', skip: 0 })
    void session.commit(sealedBatch(1, state))
    thread.kill()
    setting.postgres.disconnect([thread])
    await setting.pass(500)
    t.equal(setting.postgres.tables.streams.get(1)?.head, 0, 'the work is held')
    await setting.pass(25_000)
    t.equal(setting.postgres.tables.streams.get(1)?.head, 1, 'and goes on')
    t.ok(setting.postgres.isIdle)
  }
})

t.test('a batch that has half arrived is rolled back when its client is gone', async (t) => {
  for (let seed = 0; seed < seeds; seed++) {
    const { setting, session, state } = await settled(seed)
    setting.postgres.strike({ of: 'batch', phase: 'half arrived', effect: 'cut', skip: 0 })
    await t.rejects(setting.run(session.commit(sealedBatch(1, state, 200))), { code: 'ECONNRESET' })
    await setting.pass(100)
    t.equal(setting.postgres.tables.chunks.size, 0)
    t.ok(setting.postgres.isIdle)
  }
})

t.test('behind a silent link a backend stays until somebody ends it', async (t) => {
  for (let seed = 0; seed < seeds; seed++) {
    const { setting, session, state } = await settled(seed)
    setting.postgres.strike({ of: 'batch', phase: 'half arrived', effect: 'half-open', skip: 0 })
    session.commit(sealedBatch(1, state, 200)).catch(silent)
    await setting.pass(10_000)
    session.close()
    await setting.pass(60_000)
    t.notOk(setting.postgres.isIdle)
    t.equal(setting.postgres.backends.length, 1)
    await t.resolves(setting.run(insertAndForget(setting, state)), 'it has inserted nothing yet')
    const other = await setting.run(open(setting))
    t.match(await setting.run(other.settle(1, 'me')), { head: 0, epoch: state.epoch + 1 })
    t.equal(setting.postgres.backends.length, 1, 'that of the other session')
    await setting.run(other.commit(sealedBatch(1, { ...state, epoch: state.epoch + 1 }, 200)))
  }
})

t.test('a backend that is ended while it commits commits, and may take long', async (t) => {
  const outcomes = new Set<string>()
  for (let seed = 0; seed < seeds; seed++) {
    const { setting, session, state } = await settled(seed)
    setting.postgres.strike({ of: 'batch', phase: 'while it commits', effect: 'late', skip: 0 })
    session.commit(sealedBatch(1, state)).catch(silent)
    await setting.run(setting.until(() => isCommitting(setting)))
    session.close()
    const other = await setting.run(open(setting))
    try {
      const { head } = await setting.run(other.settle(1, 'me'))
      outcomes.add('gone in time')
      t.equal(head, 1)
    } catch (error) {
      outcomes.add((error as { code: string }).code)
      await setting.pass(20_000)
      t.match(await setting.run(other.settle(1, 'me')), { head: 1 })
    }
  }
  t.same([...outcomes].sort(), ['gone in time', 'still_held'])
})

t.test('a commit whose wait for a standby was cancelled counts as unknown', async (t) => {
  const { setting, session, state } = await settled(3)
  const strike = { of: 'batch', phase: 'before the answer', effect: 'standby cancelled' } as const
  setting.postgres.strike({ ...strike, skip: 1 })
  const first = sealedBatch(1, state)
  await setting.run(session.commit(first))
  const next = { epoch: state.epoch, head: first.newHead, digest: first.newDigest }
  await t.rejects(setting.run(session.commit(sealedBatch(1, next))), /standby/)
  t.equal(setting.postgres.tables.streams.get(1)?.head, 2)
  t.same(setting.hits, ['standby cancelled before the answer (batch)'])
})

t.test('connecting ends with the time that it may take', async (t) => {
  const setting = new SimulatedSetting(5)
  setting.postgres.hangConnects(60_000)
  const startMs = setting.scheduler.nowMs
  await t.rejects(setting.run(open(setting)), /timeout expired/)
  t.equal(setting.scheduler.nowMs - startMs, 5000)
  setting.postgres.heal()
  setting.postgres.refuseConnects(1000)
  await t.rejects(setting.run(open(setting)), { code: 'ECONNREFUSED' })
  setting.postgres.heal()
  setting.postgres.strike({ of: 'connect', phase: 'before the answer', effect: 'late', skip: 2 })
  await setting.run(Promise.allSettled([open(setting), open(setting), open(setting)]))
  t.same(setting.hits.at(-1), 'late before the answer (connect)')
})

async function takenOver(setting: SimulatedSetting): Promise<void> {
  const database = setting.postgres.databaseFor(setting.thread, 5000)
  const connection = await database.connect({ name: 'test' }).catch(() => undefined)
  if (connection === undefined) return await takenOver(setting)
  await takeOver(connection, 'me', await readLayout(connection), silent)
  await connection.end()
}

/** Writes a batch that nobody wants, and takes it back. */
async function insertAndForget(setting: SimulatedSetting, state: StreamState): Promise<void> {
  const database = setting.postgres.databaseFor(setting.thread, 5000)
  const connection = await database.connect({ name: 'test' })
  await openBatch(connection, sealedBatch(1, state))
  await connection.query('rollback')
  await connection.end()
}

async function open(setting: SimulatedSetting, thread?: Thread): Promise<JournalSession> {
  const database = setting.postgres.databaseFor(thread ?? setting.thread, 5000)
  return await postgresStore(database).open()
}

interface Settled {
  setting: SimulatedSetting
  session: JournalSession
  state: StreamState
}

/** A book with a session that may write. */
async function settled(seed: number): Promise<Settled> {
  const setting = new SimulatedSetting(seed)
  const session = await setting.run(takenOver(setting).then(() => open(setting)))
  return { setting, session, state: await setting.run(session.settle(1, 'me')) }
}

function isCommitting(setting: SimulatedSetting): boolean {
  return setting.postgres.backends.some(({ phase }) => phase === 'committing')
}
