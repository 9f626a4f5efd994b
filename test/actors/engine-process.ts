import { randomUUID } from 'node:crypto'
import { Router, type RouterLimits } from '../../src/actors/router.js'
import { Shard } from '../../src/actors/shard.js'
import type { ShardOptions } from '../../src/actors/shard-parts.js'
import type { RecoveryPlan } from '../../src/actors/shard-recovery.js'
import type { Clock } from '../../src/clock.js'
import { HistoryFinder } from '../../src/history/find-transactions.js'
import type { Database } from '../../src/journal/database.js'
import { digestChain } from '../../src/journal/digest.js'
import { postgresDatabase } from '../../src/journal/postgres.js'
import { postgresStore } from '../../src/journal/postgres-session.js'
import type { JournalSession, JournalStore, SealedBatch } from '../../src/journal/session.js'
import { slotCount } from '../../src/key.js'
import type { Layout } from '../../src/layout.js'
import { recover } from '../../src/recovery.js'
import type { SnapshotManifest } from '../../src/snapshots/manifest.js'
import type { SnapshotStore } from '../../src/snapshots/store.js'
import type { TestClock } from './test-clock.js'

/** What a test may put in the way of a process; each calls `next` to let it go on, or does not. */
export interface ProcessWatch {
  /** A shard sends a frame to the shard `to`. */
  send(frame: ArrayBuffer, to: number, next: () => void): void
  /** The frame has arrived there, and the shard takes it. */
  take(frame: ArrayBuffer, shard: Shard, next: () => void): void
  commit(batch: SealedBatch, next: () => Promise<void>): Promise<void>
  /** A shard answers the router. */
  answer(frame: ArrayBuffer, next: () => void): void
}

export interface EngineOptions {
  connectionString: string
  /** Number of shards; 1 if absent. */
  shards?: number
  clock?: TestClock
  /** Puts a store that makes faults around the real one. */
  wrap?: (store: JournalStore) => JournalStore
  watch?: ProcessWatch
  /** Hears how many ids a shard asks the read models for. */
  onAsked?: (ids: number) => void
  shard?: Partial<Omit<ShardOptions, 'plan'>>
  router?: Partial<RouterLimits>
  /** Where snapshots are, if there are any. */
  snapshots?: SnapshotStore
  onWarning?: (message: string) => void
  random?: () => number
}

/** One life of the process: from its start to its crash. */
export class EngineProcess {
  readonly owner = randomUUID()
  readonly #options: EngineOptions
  readonly #clock: Clock
  readonly #database: Database
  /** One for each shard. */
  readonly #finders: HistoryFinder[] = []
  readonly #store: JournalStore
  readonly #sessions = new Set<JournalSession>()
  shards: Shard[] = []
  router!: Router
  layout!: Layout
  /** The snapshot from which the shards were started. */
  startedFrom: SnapshotManifest | undefined
  fault: Error | undefined
  /** Calls to the store that have not returned yet. */
  #calls = 0
  /** Frames on their way between shards. */
  #frames = 0
  #alive = true

  constructor(options: EngineOptions, clock: TestClock) {
    this.#options = options
    this.serving = new Promise((resolve) => {
      this.#serve = resolve
    })
    this.#clock = this.#clockWhileAlive(clock)
    this.#database = postgresDatabase(options.connectionString, 5000)
    const real = postgresStore(this.#database)
    this.#store = this.#storeWhileAlive(options.wrap?.(real) ?? real)
  }

  /** The router, once all shards serve. */
  readonly serving: Promise<Router>
  #serve!: (router: Router) => void

  /** The phases of src/recovery.ts, with the shards in this thread. */
  async start(): Promise<void> {
    const shards = this.#options.shards ?? 1
    const { layout, snapshot } = await recover({
      database: this.#database,
      shards,
      ...this.#snapshots,
      store: this.#store,
      clock: this.#clock,
      chain: digestChain(),
      random: this.#options.random ?? Math.random,
      owner: this.owner,
      leaseMs: 10_000,
      commitTimeoutMs: 5000,
      startShard: (plan) => this.#startShard(plan),
      enter: () => undefined,
      log: (message) => this.#options.onWarning?.(message),
      onTrouble: () => undefined,
    })
    this.layout = layout
    this.startedFrom = snapshot
    this.router = new Router(
      this.#clock,
      {
        inFlightCommandsMax: 65_536,
        inFlightBytesMax: 1 << 28,
        requestTimeoutMs: 1e12,
        ...this.#options.router,
      },
      this.shards.map((shard, index) => ({
        stream: layout.streams[index],
        send: (frame: ArrayBuffer) => {
          if (this.#alive) shard.receive(frame)
        },
      })),
      Int32Array.from({ length: slotCount }, (_, slot) => layout.shardOf(slot)),
    )
    for (const frame of this.#early.splice(0)) this.router.receive(frame)
    this.#serve(this.router)
  }

  readonly #early: ArrayBuffer[] = []

  get #snapshots(): { snapshots?: SnapshotStore } {
    const { snapshots } = this.#options
    return snapshots === undefined ? {} : { snapshots }
  }

  #startShard(plan: RecoveryPlan): Shard {
    const finder = new HistoryFinder(this.#database)
    this.#finders.push(finder)
    const shard = new Shard(
      {
        plan,
        owner: this.owner,
        leaseMs: 10_000,
        commitTimeoutMs: 5000,
        admissionTimeoutMs: 5000,
        limits: { accountsMax: 1000, transactionsMax: 100_000 },
        ...this.#options.shard,
      },
      {
        clock: this.#clock,
        store: this.#store,
        ...this.#snapshots,
        findTransactions: (asked, coverage) => {
          this.#options.onAsked?.(asked.length)
          return finder.find(asked, coverage)
        },
        random: this.#options.random ?? Math.random,
        chain: digestChain(),
        send: (frame) => {
          if (!this.#alive) return
          const { watch } = this.#options
          if (watch === undefined) this.#answer(frame)
          else watch.answer(frame, () => this.#answer(frame))
        },
        sendToPeer: (to, frame) => {
          if (!this.#alive) return
          const { watch } = this.#options
          if (watch === undefined) this.#sendToPeer(to, frame)
          else watch.send(frame, to, () => this.#sendToPeer(to, frame))
        },
        onStopped: (fault) => {
          this.fault = fault
        },
        onProgress: () => undefined,
        onTrouble: () => undefined,
        observer: {
          onBatch: () => undefined,
          onRefused: () => undefined,
          onExpired: () => undefined,
          onStall: () => undefined,
        },
      },
    )
    this.shards[plan.place.shard] = shard
    return shard
  }

  #answer(frame: ArrayBuffer): void {
    if (this.router === undefined) this.#early.push(frame)
    else this.router.receive(frame)
  }

  /** Frames between shards arrive later, and those from one shard to another in order. */
  #sendToPeer(to: number, frame: ArrayBuffer): void {
    this.#frames += 1
    setImmediate(() => {
      this.#frames -= 1
      if (!this.#alive) return
      const shard = this.shards[to]
      const take = () => shard.receiveFromPeer(frame)
      const { watch } = this.#options
      try {
        if (watch === undefined) take()
        else watch.take(frame, shard, take)
      } catch (error) {
        this.fault = error as Error
      }
    })
  }

  get isBusy(): boolean {
    return (
      this.#calls > 0 ||
      this.#frames > 0 ||
      this.shards.some(({ gauges }) => gauges.openRecords > 0 || gauges.coordinations > 0)
    )
  }

  /** From here on this process does nothing any more, whatever it was doing. */
  kill(): void {
    this.#alive = false
    for (const session of this.#sessions) session.close()
    this.router?.close()
    for (const finder of this.#finders) finder.close()
  }

  #clockWhileAlive(clock: TestClock): Clock {
    const whileAlive = (task: () => void) => () => {
      if (this.#alive) task()
    }
    return {
      now: () => clock.now(),
      monotonic: () => clock.monotonic(),
      schedule: (delayMs, task) => clock.schedule(delayMs, whileAlive(task)),
      nextTick: (task) => clock.nextTick(whileAlive(task)),
    }
  }

  #storeWhileAlive(store: JournalStore): JournalStore {
    const never = new Promise<never>(() => undefined)
    return {
      open: async () => {
        if (!this.#alive) return await never
        const session = await this.#counted(store.open())
        if (!this.#alive) {
          session.close()
          return await never
        }
        this.#sessions.add(session)
        return {
          commit: (batch) => (this.#alive ? this.#counted(this.#commit(session, batch)) : never),
          settle: (stream, owner) => this.#counted(session.settle(stream, owner)),
          confirm: (stream, epoch) => this.#counted(session.confirm(stream, epoch)),
          ensurePartition: (seq) => this.#counted(session.ensurePartition(seq)),
          readChunks: (stream, afterSeq, toSeq) => session.readChunks(stream, afterSeq, toSeq),
          readHead: (stream) => session.readHead(stream),
          close: () => session.close(),
        }
      },
    }
  }

  #commit(session: JournalSession, batch: SealedBatch): Promise<void> {
    const next = () => session.commit(batch)
    return this.#options.watch?.commit(batch, next) ?? next()
  }

  async #counted<T>(call: Promise<T>): Promise<T> {
    this.#calls += 1
    return await call.finally(() => {
      this.#calls -= 1
    })
  }
}
