import t, { type Test } from 'tap'
import { Batch } from '../../../src/journal/batch.js'
import type { DatabaseConnection } from '../../../src/journal/database.js'
import { digestChain, emptyDigest } from '../../../src/journal/digest.js'
import { openGeneration } from '../../../src/journal/generation.js'
import { postgresStore } from '../../../src/journal/postgres-session.js'
import { Replay } from '../../../src/journal/replay.js'
import { readLayout, takeOver } from '../../../src/journal/take-over.js'
import { JournalWriter } from '../../../src/journal/writer.js'
import { refill } from './sealed-batch.js'
import { SimulatedSetting } from './simulated-setting.js'
import type { StatementKind, Strike, StrikeEffect, StrikePhase } from './strikes.js'

const silent = () => undefined

const phases: StrikePhase[] = [
  ...(['on the way', 'half arrived', 'before the fence', 'while it commits'] as const),
  'before the answer',
]
const effects: StrikeEffect[] = [
  ...(['cut', 'half-open', 'late', 'error', 'terminate', 'standby cancelled'] as const),
]

const writing: StatementKind[] = ['batch', 'settle', 'confirm', 'partition', 'connect']
const starting: StatementKind[] = ['take-over', 'open generation', 'read', 'connect']

t.test('whatever strikes a writer, nothing is lost and nothing is written twice', async (t) => {
  const hits = new Set<string>()
  let seed = 0
  for (const strike of every(writing)) {
    for (const skip of [0, 1, 3]) {
      seed += 1
      const setting = new SimulatedSetting(seed)
      setting.postgres.strike({ ...strike, skip })
      if (seed % 4 === 0) setting.postgres.slowDisk(10_000)
      await writes(t, setting)
      for (const hit of setting.hits) hits.add(hit)
    }
  }
  assertHits(t, hits, writing)
})

t.test('whatever strikes a start, the book is laid out anew, and once', async (t) => {
  const hits = new Set<string>()
  let seed = 1000
  for (const strike of every(starting)) {
    for (const skip of [0, 1, 2, 4]) {
      seed += 1
      const setting = new SimulatedSetting(seed)
      setting.postgres.strike({ ...strike, skip })
      await starts(t, setting)
      for (const hit of setting.hits) hits.add(hit)
    }
  }
  assertHits(t, hits, starting)
})

t.test('whatever befalls the server, nothing is lost and nothing is written twice', async (t) => {
  const hits = new Set<string>()
  for (let seed = 2000; seed < 2100; seed++) {
    const setting = new SimulatedSetting(seed)
    const { postgres, scheduler } = setting
    const befalls = [
      () => postgres.crash(1500),
      () => postgres.slowDisk(8000),
      () => postgres.fullDisk(3000),
      () => postgres.refuseConnects(2000),
      () => postgres.hangConnects(7000),
      () => postgres.terminateBackends(() => true),
    ]
    for (let turn = 0; turn < 12; turn++) {
      // Close to each other at first, so that one meets what another has left behind.
      scheduler.after(30 * turn ** 2, befalls[(seed + turn * 5 + (turn >> 1)) % befalls.length])
    }
    await writes(t, setting)
    postgres.heal()
    await setting.pass(10_000)
    t.ok(postgres.isIdle)
    for (const hit of setting.hits) hits.add(hit)
  }
  t.same([...hits].sort(), [
    'connect while Postgres is down',
    'full disk',
    'hanging connect',
    'postgres crash',
    'postgres crash, a commit is kept',
    'postgres crash, a commit is lost',
    'refused connect',
    'slow disk',
  ])
})

t.test('what happens is a function of the seed', async (t) => {
  for (let seed = 3000; seed < 3010; seed++) {
    const seen: unknown[] = []
    for (let time = 0; time < 2; time++) {
      const setting = new SimulatedSetting(seed)
      const { postgres, scheduler } = setting
      postgres.strike({ of: 'batch', phase: 'while it commits', effect: 'late', skip: seed % 5 })
      scheduler.after(100, () => postgres.crash(700))
      await writes(t, setting)
      const { nowMs, steps } = scheduler
      seen.push({ nowMs, steps, hits: setting.hits, commits: setting.commits })
    }
    t.same(seen[0], seen[1])
  }
})

function every(kinds: readonly StatementKind[]): Omit<Strike, 'skip'>[] {
  return kinds.flatMap((of) =>
    phases.flatMap((phase) => effects.map((effect) => ({ of, phase, effect }))),
  )
}

function assertHits(t: Test, hits: Set<string>, kinds: readonly StatementKind[]): void {
  hits.delete('slow disk')
  const expected = every(kinds)
    .filter(canStrike)
    .map(({ of, phase, effect }) => `${effect} ${phase} (${of})`)
  t.same([...hits].sort(), expected.sort(), 'each that makes sense has struck')
}

/** Whether there is such a moment in the life of such a statement. */
function canStrike({ of, phase, effect }: Omit<Strike, 'skip'>): boolean {
  const commits = !['confirm', 'partition', 'connect', 'read'].includes(of)
  if (effect === 'standby cancelled') return phase === 'before the answer' && commits
  if (phase === 'before the fence') return of === 'batch'
  if (phase === 'while it commits') return commits
  // What is committed cannot fail any more.
  return !(phase === 'before the answer' && effect === 'error' && of === 'batch')
}

/** A writer that takes its stream and writes ten batches, each as soon as the last is in. */
async function writes(t: Test, setting: SimulatedSetting): Promise<void> {
  const { postgres, thread } = setting
  const database = postgres.databaseFor(thread, 5000)
  let committed = 0
  let stopped: Error | undefined
  const writer = new JournalWriter(
    { stream: 1, owner: 'me', leaseMs: 10_000, commitTimeoutMs: 5000 },
    {
      store: postgresStore(database),
      clock: setting.clockOf(thread),
      random: () => 0.5,
      chain: digestChain(),
      listener: {
        onCommitted: () => {
          committed += 1
        },
        onIdle: () => undefined,
        onConfirmed: () => undefined,
        onTrouble: () => undefined,
        onStopped: (fault) => {
          stopped = fault
        },
      },
    },
  )
  await setting.run(takenOver(setting))
  const { head } = await setting.run(writer.open(), 600_000)
  writer.ready()
  const batch = new Batch(1)
  for (let sent = 0; sent < 10; sent++) {
    refill(batch, head + sent * 100, 100)
    writer.send(batch)
    await setting.run(setting.until(() => committed > sent || stopped !== undefined))
    if (sent === 5) await setting.pass(5000)
    await setting.run(setting.until(() => writer.isIdle()))
  }
  writer.close()
  await setting.pass(60_000)
  const row = postgres.tables.streams.get(1)
  const replay = new Replay(1, { seq: 0, digest: emptyDigest }, digestChain())
  for (const chunk of postgres.tables.chunks.get(1) ?? []) replay.read(chunk, silent)
  t.doesNotThrow(() => replay.assertEnd(row?.head ?? -1, row?.digest ?? emptyDigest))
  t.same([row?.head, stopped], [1000, undefined])
}

async function takenOver(setting: SimulatedSetting): Promise<void> {
  await again(setting, async (connection) => {
    await takeOver(connection, 'me', await readLayout(connection), silent)
  })
}

/** A start that takes a book over and opens a generation, as often as it takes. */
async function starts(t: Test, setting: SimulatedSetting): Promise<void> {
  const book = await setting.run(again(setting, readLayout), 2_000_000)
  await setting.run(
    again(setting, (connection) => takeOver(connection, 'me', book, silent)),
    2_000_000,
  )
  await setting.run(
    again(setting, (connection) => openGeneration(connection, 'me', book, 3, silent)),
    2_000_000,
  )
  await setting.pass(60_000)
  const { tables } = setting.postgres
  t.same([...tables.streams.keys()], [1, 2, 3, 4])
  t.equal(tables.book.generation, 2)
}

/** Connects and does something, until it has worked. */
async function again<T>(
  setting: SimulatedSetting,
  work: (connection: DatabaseConnection) => Promise<T>,
): Promise<T> {
  for (;;) {
    const { thread, postgres } = setting
    try {
      const connection = await postgres.databaseFor(thread, 5000).connect({ name: 'daybook start' })
      return await work(connection).finally(() => connection.end())
    } catch (error) {
      if ((error as { code?: string }).code === 'fenced') throw error
    }
  }
}
