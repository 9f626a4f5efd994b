import { randomUUID } from 'node:crypto'
import type { Logger } from 'pino'
import type { RecoveryPlan } from './actors/shard-recovery.js'
import { connectPeers, type ShardFault, ShardThread } from './actors/shard-thread.js'
import type { SlotDigest } from './actors/slot-digests.js'
import type { ServingParts } from './api/context.js'
import { type Clock, systemClock } from './clock.js'
import type { Config, SnapshotSettings } from './config.js'
import type { FeedListenerGauges } from './history/feed/feed-thread.js'
import type { FeedGauges } from './history/feed/redis-feed.js'
import type { FollowerProgress } from './history/follower.js'
import { projectedPositions } from './history/history-store.js'
import { HistoryThread } from './history/history-thread.js'
import type { WebhookGauges } from './history/webhooks/dispatcher.js'
import { archivedStore } from './journal/archived-store.js'
import { digestChain } from './journal/digest.js'
import { impatientDatabase } from './journal/impatient-database.js'
import { migrate } from './journal/migrate.js'
import { postgresDatabase } from './journal/postgres.js'
import { postgresStore } from './journal/postgres-session.js'
import { NodePostgres } from './node-postgres.js'
import { recover } from './recovery.js'
import type { SnapshotBuilder } from './snapshots/builder.js'
import { type KeeperGauges, SnapshotKeeper } from './snapshots/keeper.js'
import { openSnapshotStore } from './snapshots/open-store.js'
import { lastSnapshot } from './snapshots/schedule.js'
import { snapshotStoreConfig } from './snapshots/store-config.js'
import { StartProgress, type StartStatus } from './start-progress.js'
import { unwire, wire } from './wiring.js'

/**
 * One Daybook process: Postgres, the shards, the router between them and the API.
 *
 *     created ─▶ starting Postgres ─▶ connecting ─▶ migrating ─▶ warming up ─▶ taking over ─▶ reading the rest
 *             ─▶ settling ─▶ (opening a generation) ─▶ serving ─▶ stopping ─▶ stopped
 *
 * Nothing is taken from a process that runs before `taking over`. A shard that cannot go on, above
 * all because another process has taken its stream, ends the whole node: see `onFault`.
 */
export type NodePhase =
  | 'created'
  | 'starting_postgres'
  | 'connecting'
  | 'migrating'
  | 'choosing_snapshot'
  | 'warming_up'
  | 'taking_over'
  | 'reading_rest'
  | 'settling'
  | 'opening_generation'
  | 'serving'
  | 'stopping'
  | 'stopped'

export interface NodeStatus extends StartStatus {
  phase: NodePhase
}

/** A snapshot is not urgent: while one is built, the node posts as fast as at any other time. */
const snapshotShare = 0.1

const projectedPeriodMs = 200

export class DaybookNode {
  readonly clock: Clock = systemClock
  readonly #config: Config
  readonly #log: Logger
  readonly #onFault: (fault: ShardFault) => void
  readonly #owner = randomUUID()
  readonly #progress = new StartProgress(this.clock)
  #phase: NodePhase = 'created'
  readonly #postgres: NodePostgres
  readonly #shards: ShardThread[] = []
  /** Frames of shards that serve while others are not there yet. */
  readonly #early: ArrayBuffer[] = []
  #serving: ServingParts | undefined
  #keeper: SnapshotKeeper | undefined
  #history: HistoryThread | undefined
  /** A shard cannot go on: nothing may be waited for, and nothing answered. */
  #faulted = false
  #tookOver = false
  /** When the shards were last told how far the read models have come, on the monotonic clock. */
  #projectedToldMs = Number.NEGATIVE_INFINITY
  readonly #abort = new AbortController()

  /** `onFault` is called when the node cannot go on; the process must then end. */
  constructor(config: Config, log: Logger, onFault: (fault: ShardFault) => void) {
    this.#config = config
    this.#log = log
    this.#onFault = onFault
    this.#postgres = new NodePostgres(config.process, log, this.#owner)
  }

  get status(): NodeStatus {
    return { phase: this.#phase, ...this.#progress.status }
  }

  /** Router and journal while the node serves; undefined otherwise. */
  get serving(): ServingParts | undefined {
    return this.#phase === 'serving' && !this.#faulted ? this.#serving : undefined
  }

  /** Goes through the phases up to `serving`; rejects if one of them fails. */
  async start(): Promise<void> {
    if (this.#config.process.databaseUrl === undefined) this.#enter('starting_postgres')
    const connectionString = await this.#postgres.start(this.#abort.signal)
    this.#enter('connecting')
    await this.#postgres.withClient(connectionString, async (client) => {
      this.#enter('migrating')
      await migrate(client)
    })
    const { layout, snapshot } = await this.#recover(connectionString)
    if (snapshot !== undefined) {
      const { id, generation, records } = snapshot
      this.#log.info({ snapshot: { id, generation, records } }, 'started from a snapshot')
    }
    this.#serving = wire({
      ...{ config: this.#config, log: this.#log, clock: this.clock },
      ...{ connectionString, shards: this.#shards, layout },
      hurryHistory: () => this.#history?.hurry(),
    })
    for (const frame of this.#early.splice(0)) this.#serving.router.receive(frame)
    this.#enter('serving')
    const { history, snapshots } = this.#config.process
    if (history) this.#history = this.#startHistory(connectionString)
    else if (this.#config.process.redis !== undefined) {
      this.#log.warn('DAYBOOK_HISTORY is off: nothing is delivered to REDIS_URL')
    }
    if (snapshots === undefined) return
    this.#keeper = new SnapshotKeeper(
      {
        task: this.#buildTask(snapshots, connectionString),
        policy: snapshots,
        clock: this.clock,
        log: this.#log,
        generation: layout.generation,
        records: () => this.#records(),
      },
      snapshot === undefined ? undefined : lastSnapshot(snapshot),
    )
  }

  async #recover(connectionString: string) {
    const { process, book } = this.#config
    const database = impatientDatabase(
      postgresDatabase(connectionString, process.commitTimeoutMs),
      this.clock,
    )
    const { snapshots } = process
    const store =
      snapshots === undefined
        ? undefined
        : openSnapshotStore(
            snapshotStoreConfig(snapshots, connectionString, process.commitTimeoutMs),
          )
    try {
      return await recover({
        database,
        shards: process.shards,
        ...(store === undefined ? {} : { snapshots: store }),
        store: archivedStore(postgresStore(database), database, process.archiveDirectory),
        clock: this.clock,
        chain: digestChain(book.digestKey),
        random: Math.random,
        owner: this.#owner,
        leaseMs: process.leaseMs,
        commitTimeoutMs: process.commitTimeoutMs,
        projected: () => projectedPositions(database),
        startShard: (plan) => this.#startShard(plan, connectionString),
        enter: (phase) => {
          this.#enter(phase)
          if (phase === 'reading_rest') this.#tookOver = true
          if (phase === 'taking_over') connectPeers(this.#shards)
        },
        log: (message) => this.#log.warn(message),
        onTrouble: (error) => this.#log.warn(error.message),
      })
    } finally {
      await store?.close()
    }
  }

  #buildTask(
    snapshots: SnapshotSettings,
    connectionString: string,
  ): ConstructorParameters<typeof SnapshotBuilder>[0] {
    const { process, book } = this.#config
    return {
      connectionString,
      timeoutMs: process.commitTimeoutMs,
      digestKey: book.digestKey,
      archiveDirectory: process.archiveDirectory,
      snapshots: snapshotStoreConfig(snapshots, connectionString, process.commitTimeoutMs),
      transactionsMax: process.transactionsMax,
      keep: snapshots.kept,
      share: snapshotShare,
    }
  }

  /** Records of this generation; undefined if a shard does not say. */
  async #records(): Promise<number | undefined> {
    const positions = await Promise.all(this.#shards.map((shard) => shard.position()))
    let records = 0
    for (const position of positions) {
      if (position === undefined) return undefined
      records += position
    }
    return records
  }

  /** Finishes what has been accepted, then stops the shards and Postgres. */
  async stop(): Promise<void> {
    if (this.#phase === 'stopped') return
    const wasServing = this.#phase === 'serving'
    this.#enter('stopping')
    this.#abort.abort()
    await this.#keeper?.stop()
    await this.#history?.stop()
    await this.#serving?.feed.stop()
    if (wasServing && !this.#faulted) {
      await this.#serving?.router.drained()
      // All of them first: a shard that has nothing to do itself may still be needed by others.
      await Promise.all(this.#shards.map((shard) => shard.drain()))
      await Promise.all(this.#shards.map((shard) => shard.stop()))
    }
    await Promise.all(this.#shards.map((shard) => shard.terminate()))
    if (this.#serving !== undefined) await unwire(this.#serving)
    await this.#postgres.stop(this.#tookOver)
    this.#enter('stopped')
  }

  /**
   * Digest of the actors of a slot, or of the parts of striped accounts (slot -1), as `stream` has
   * them after its record `seq`; undefined if that cannot be said now.
   */
  async digestOf(stream: number, slot: number): Promise<SlotDigest | undefined> {
    const shard = this.serving?.router.streams.indexOf(stream) ?? -1
    return shard < 0 ? undefined : await this.#shards[shard].digestOf(slot)
  }

  /** How snapshots are doing; undefined if none are made. */
  get snapshotGauges(): KeeperGauges | undefined {
    return this.#keeper?.gauges
  }

  /** How far the read models are; undefined if this process does not write them. */
  get historyProgress(): FollowerProgress | undefined {
    return this.#history?.progress
  }

  /** How the delivery of each stream into Redis is doing; empty if this process delivers none. */
  get redisGauges(): readonly FeedGauges[] {
    return this.#history?.redisGauges ?? []
  }

  /** Who listens to the feed; undefined until the node serves. */
  get feedGauges(): FeedListenerGauges | undefined {
    return this.#serving?.feed.gauges
  }

  /** How the delivery of webhooks is doing; undefined if this process delivers none. */
  get webhookGauges(): WebhookGauges | undefined {
    return this.#history?.webhooks
  }

  /** The metrics of every shard, as plain data. */
  shardMetrics(): Promise<object[]> {
    if (this.#phase !== 'serving') return Promise.resolve([])
    return Promise.all(this.#shards.map((shard) => shard.metrics()))
  }

  #startShard(plan: RecoveryPlan, connectionString: string): ShardThread {
    const { process, book } = this.#config
    const { shard, shards } = plan.place
    const thread = new ShardThread(
      {
        options: {
          plan,
          owner: this.#owner,
          leaseMs: process.leaseMs,
          commitTimeoutMs: process.commitTimeoutMs,
          admissionTimeoutMs: process.admissionTimeoutMs,
          limits: {
            accountsMax: Math.ceil(process.accountsMax / shards),
            transactionsMax: Math.ceil(process.transactionsMax / shards),
          },
          isFollowed: process.history,
        },
        connectionString,
        digestKey: book.digestKey,
        archiveDirectory: process.archiveDirectory,
        snapshots:
          process.snapshots === undefined
            ? undefined
            : snapshotStoreConfig(process.snapshots, connectionString, process.commitTimeoutMs),
      },
      {
        onFrame: (frame) => {
          if (this.#serving === undefined) this.#early.push(frame)
          else this.#serving.router.receive(frame)
        },
        onProgress: (progress) => this.#progress.note(shard, progress),
        onTrouble: (message) => this.#log.warn({ shard }, message),
        onFault: (fault) => this.#fault(fault),
      },
    )
    this.#progress.restart(shard)
    // Instead of one that was discarded, if there was one.
    this.#shards[shard] = thread
    return thread
  }

  #startHistory(connectionString: string): HistoryThread {
    const { process, book } = this.#config
    const { key } = process.webhooks
    return new HistoryThread(
      {
        connectionString,
        timeoutMs: process.commitTimeoutMs,
        digestKey: book.digestKey,
        archiveDirectory: process.archiveDirectory,
        redis: process.redis,
        webhooks: key && { ...process.webhooks, key },
      },
      {
        onProjected: (positions) => this.#tellProjected(positions),
        onTrouble: (message) => this.#log.warn({ history: true }, message),
        onEnd: (error) =>
          this.#log.error(
            { err: error },
            'the thread that follows the journal has ended; it is started again',
          ),
      },
    )
  }

  /** Tells the shards what they may let go; now and then, for it is needed when memory is full. */
  #tellProjected(positions: [stream: number, seq: number][]): void {
    const nowMs = this.clock.monotonic()
    if (nowMs < this.#projectedToldMs + projectedPeriodMs) return
    this.#projectedToldMs = nowMs
    for (const shard of this.#shards) shard.projected(positions)
  }

  #fault(fault: ShardFault): void {
    this.#faulted = true
    if (this.#phase === 'stopping' || this.#phase === 'stopped') return
    this.#onFault(fault)
  }

  #enter(phase: NodePhase): void {
    this.#phase = phase
    this.#log.info({ ...this.status }, `node is ${phase.replaceAll('_', ' ')}`)
  }
}
