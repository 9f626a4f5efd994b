import type { Generation } from './actors/shard.js'
import type { RecoveryPlan } from './actors/shard-recovery.js'
import type { Database, DatabaseConnection } from './journal/database.js'
import { openGeneration } from './journal/generation.js'
import type { StreamCounts } from './journal/message-counts.js'
import { JournalFault } from './journal/session.js'
import { type SettlementParts, settleMessages } from './journal/settlement.js'
import { type BookLayout, readLayout, takeOver } from './journal/take-over.js'
import { dealSlots, Layout } from './layout.js'
import { usableSnapshots } from './snapshots/choose-snapshot.js'
import { encodeManifest, type SnapshotManifest } from './snapshots/manifest.js'
import type { SnapshotStore } from './snapshots/store.js'

/** A shard as recovery sees it, in this thread or in one of its own. */
export interface RecoveringShard {
  /** Rejects with a {@link SnapshotFault} if the snapshot of its plan cannot be used. */
  warmUp(): Promise<void>
  readRest(): Promise<StreamCounts[]>
  serve(generation: Generation): Promise<void>
  /** Ends a shard that has not served; another one starts in its place. */
  discard(): Promise<void>
}

export interface RecoveryOptions<T extends RecoveringShard> extends SettlementParts {
  database: Database
  shards: number
  /** Where snapshots are; without it the journal is read from its beginning. */
  snapshots?: SnapshotStore
  /** How far the read models have come, by stream; without it no transaction is let go meanwhile. */
  projected?: () => Promise<[stream: number, seq: number][]>
  startShard(plan: RecoveryPlan): T
  /** Called as each phase begins. */
  enter(
    phase:
      | 'choosing_snapshot'
      | 'warming_up'
      | 'taking_over'
      | 'reading_rest'
      | 'settling'
      | 'opening_generation',
  ): void
  log(message: string): void
}

export interface Recovered<T> {
  shards: T[]
  layout: Layout
  /** The snapshot from which the shards were started. */
  snapshot: SnapshotManifest | undefined
}

/**
 * From the journal to shards that serve:
 *
 *     choose a snapshot ─▶ warm up ─▶ take over ─▶ read the rest ─▶ settle messages
 *                       ─▶ (open a new generation) ─▶ serve
 *
 * Nothing is taken before the take-over, and nobody answers before the last step. A crash at any
 * point leaves streams from which the next start comes to the same.
 */
export async function recover<T extends RecoveringShard>(
  options: RecoveryOptions<T>,
): Promise<Recovered<T>> {
  const { owner, log, enter } = options
  enter('choosing_snapshot')
  const book = await connected(options, readLayout)
  const changes = book.layout.shards !== options.shards
  const { shards, snapshot } = await warmUp(options, book)
  enter('taking_over')
  await connected(options, (connection) => takeOver(connection, owner, book, log))
  enter('reading_rest')
  await settle(options, book, shards)
  let serving: BookLayout = book
  if (changes) {
    enter('opening_generation')
    serving = await openNext(options, book)
  }
  const { streamOfSlot, layout } = serving
  await Promise.all(
    shards.map((shard) => shard.serve({ generation: layout.generation, streamOfSlot })),
  )
  return { shards, layout, snapshot }
}

/** Starts the shards from the newest snapshot that they can be started from. */
async function warmUp<T extends RecoveringShard>(
  options: RecoveryOptions<T>,
  book: BookLayout,
): Promise<{ shards: T[]; snapshot: SnapshotManifest | undefined }> {
  const { snapshots, store, log, enter } = options
  const usable: SnapshotManifest[] = []
  if (snapshots !== undefined) {
    const session = await store.open()
    usable.push(
      ...(await usableSnapshots(snapshots, book, session, log).finally(() => session.close())),
    )
  }
  const projected = (await options.projected?.()) ?? []
  enter('warming_up')
  for (const snapshot of [...usable, undefined]) {
    const plans = plansOf(book, options.shards, snapshot)
    const shards = plans.map((plan) => options.startShard({ ...plan, projected }))
    const outcomes = await Promise.allSettled(shards.map((shard) => shard.warmUp()))
    const failed = outcomes.flatMap((outcome) =>
      outcome.status === 'rejected' ? [outcome.reason as Error & { code?: string }] : [],
    )
    if (failed.length === 0) return { shards, snapshot }
    const fault = failed.find(({ code }) => code !== 'damaged_snapshot')
    if (fault !== undefined) throw fault
    log(`snapshot ${snapshot?.id} is passed over: ${failed[0].message}`)
    await Promise.all(shards.map((shard) => shard.discard()))
  }
  throw new Error('shards without a snapshot did not start')
}

/** What each shard has to read. */
export function plansOf(
  book: BookLayout,
  shards: number,
  snapshot?: SnapshotManifest,
): RecoveryPlan[] {
  const { layout, streamOfSlot, closed } = book
  const changes = layout.shards !== shards
  // The streams of a new generation have no ids yet, but its slots are dealt out the same.
  const next = changes
    ? new Layout(
        layout.generation + 1,
        dealSlots(Array.from({ length: shards }, (_, index) => index)),
      )
    : layout
  const shardOfSlot = Uint8Array.from(streamOfSlot, (_, slot) => next.shardOf(slot))
  return Array.from({ length: shards }, (_, shard) => ({
    place: { shard, shards, shardOfSlot },
    closed,
    newest: { generation: layout.generation, streamOfSlot },
    changes,
    ...(snapshot === undefined ? {} : { snapshot: encodeManifest(snapshot) }),
  }))
}

/** Reads what has been written since the warm-up, and makes up for what a crash has cut off. */
async function settle(
  options: RecoveryOptions<RecoveringShard>,
  book: BookLayout,
  shards: readonly RecoveringShard[],
): Promise<void> {
  const read = await Promise.all(shards.map((shard) => shard.readRest()))
  options.enter('settling')
  const counts = new Map(read.flat().map((stream) => [stream.stream, stream]))
  const settled = await settleMessages(book.layout, [...counts.values()], options)
  if (settled === 0) return
  options.log(`${settled} messages between shards had been cut off and are settled`)
  await Promise.all(shards.map((shard) => shard.readRest()))
}

/** Opens the next generation; tries again while the outcome is not known. */
async function openNext(
  options: RecoveryOptions<RecoveringShard>,
  book: BookLayout,
): Promise<BookLayout> {
  for (;;) {
    try {
      return await connected(options, (connection) =>
        openGeneration(connection, options.owner, book, options.shards, options.log),
      )
    } catch (error) {
      if (error instanceof JournalFault || error instanceof RangeError) throw error
      options.onTrouble(error as Error)
      await new Promise<void>((resolve) => {
        options.clock.schedule(retryDelayMs, resolve)
      })
    }
  }
}

const retryDelayMs = 200

async function connected<T>(
  { database }: RecoveryOptions<RecoveringShard>,
  work: (connection: DatabaseConnection) => Promise<T>,
): Promise<T> {
  const connection = await database.connect({ name: 'daybook start' })
  return await work(connection).finally(() => connection.end())
}
