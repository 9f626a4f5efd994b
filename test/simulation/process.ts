import { bookDigest } from '../../src/actors/digest.js'
import { Router } from '../../src/actors/router.js'
import { type Generation, Shard } from '../../src/actors/shard.js'
import type { ShardBounds } from '../../src/actors/shard-bounds.js'
import type { RecoveryPlan } from '../../src/actors/shard-recovery.js'
import type { Clock } from '../../src/clock.js'
import type { Database } from '../../src/journal/database.js'
import { digestChain } from '../../src/journal/digest.js'
import { impatientDatabase } from '../../src/journal/impatient-database.js'
import type { StreamCounts } from '../../src/journal/message-counts.js'
import { postgresStore } from '../../src/journal/postgres-session.js'
import { plainReader } from '../../src/journal/reader.js'
import { slotCount } from '../../src/key.js'
import type { Layout } from '../../src/layout.js'
import { type RecoveringShard, recover } from '../../src/recovery.js'
import { type Built, buildSnapshot } from '../../src/snapshots/build-snapshot.js'
import { SnapshotFault } from '../../src/snapshots/manifest.js'
import { pruneSnapshots } from '../../src/snapshots/prune.js'
import { Channel, type Pace } from './channel.js'
import type { Choices } from './choices.js'
import type { SimulatedPostgres } from './postgres/simulated-postgres.js'
import { ProcessClient } from './process-client.js'
import type { ReadModels } from './read-models.js'
import { type Scheduler, Thread } from './scheduler.js'
import type { SnapshotShelf } from './snapshot-shelf.js'

/** What is fixed for all processes of a world. */
export interface ProcessSettings {
  leaseMs: number
  commitTimeoutMs: number
  admissionTimeoutMs: number
  requestTimeoutMs: number
  bounds: ShardBounds
  /** Absent: no transaction is let go. */
  letGo?: { beyond: number; rows: number }
}

export interface ProcessParts {
  scheduler: Scheduler
  choices: Choices
  postgres: SimulatedPostgres
  pace: Pace
  settings: ProcessSettings
  shelf: SnapshotShelf
  readModels: ReadModels
  /** The wall clock of the machine, which somebody may set. */
  wallMs(): number
  /** The process has ended: by a fault, because its start failed, or because it was told to. */
  onEnd(process: SimulatedProcess, fault: Error | undefined): void
  onServing(process: SimulatedProcess): void
  /** Something failed that a thread of that name is trying again. */
  onTrouble(thread: string, error: Error): void
  /** A snapshot has been passed over, for this reason. */
  onPassedOver(message: string): void
  onSnapshot(process: SimulatedProcess, outcome: Built | Error): void
}

/**
 * One Daybook process: what node.ts, main.ts and shard-worker.ts put together, with a simulated
 * thread for the router and one for each shard, and channels between them.
 *
 *     starting ──▶ serving ──▶ (stopping) ──▶ ended
 */
export class SimulatedProcess {
  readonly name: string
  readonly owner: string
  readonly shardCount: number
  readonly shards: Shard[] = []
  state: 'starting' | 'serving' | 'stopping' | 'ended' = 'starting'
  /** It has come to serve at some time. */
  hasServed = false
  layout: Layout | undefined
  client: ProcessClient | undefined
  readonly main: Thread
  readonly #parts: ProcessParts
  readonly #threads: Thread[] = []
  readonly #shardThreads: Thread[] = []
  readonly #toShards: Channel[] = []
  #builds = 0
  readonly #database: Database
  /** Channels between two shards, by the numbers of both. */
  readonly #peers = new Map<string, Channel>()
  #router: Router | undefined
  /** Frames of shards that serve while others are not there yet. */
  readonly #early: ArrayBuffer[] = []

  constructor(parts: ProcessParts, name: string, shards: number) {
    this.#parts = parts
    this.name = name
    this.owner = `owner of ${name}`
    this.shardCount = shards
    this.main = this.#newThread('main')
    this.#database = this.#databaseOf(this.main)
  }

  get isAlive(): boolean {
    return this.state !== 'ended'
  }

  get isFrozen(): boolean {
    return this.main.isFrozen
  }

  get router(): Router | undefined {
    return this.#router
  }

  /** The digest of the whole book as it is in memory. */
  get digest(): bigint {
    return bookDigest(this.shards.map((shard) => shard.book))
  }

  /** The phases of src/node.ts up to `serving`; a start that fails ends the process. */
  start(): void {
    this.main.after(0, () => {
      this.#start().catch((error: Error) => this.#end(error))
    })
  }

  /** As kill -9 would. */
  kill(): void {
    this.#end(undefined)
  }

  /** As SIGTERM would: finishes what it has accepted. */
  stop(): void {
    if (this.state !== 'serving') return
    this.state = 'stopping'
    this.main.after(0, () => void this.#drain())
  }

  /** As history-thread.ts has the node do. */
  tellProjected(positions: [stream: number, seq: number][]): void {
    if (this.state !== 'serving') return
    for (const [number, shard] of this.shards.entries()) {
      this.#toShards[number].send(() => shard.projected(positions))
    }
  }

  /** As a worker of snapshots/builder.ts would: from the journal, beside all else. */
  buildSnapshot(keep: number): void {
    if (this.state !== 'serving') return
    const { choices, shelf, readModels, settings, onSnapshot, onPassedOver } = this.#parts
    this.#builds += 1
    const name = `builder ${this.#builds}`
    const thread = this.#newThread(name)
    const database = this.#databaseOf(thread)
    const snapshots = shelf.storeFor(thread)
    const build = async () => {
      const built = await buildSnapshot({
        database,
        store: postgresStore(database),
        snapshots,
        clock: this.#clockOf(thread),
        random: choices.of(`${this.name} ${name} random`),
        chain: digestChain(),
        projected: async () => readModels.positions,
        ...letGoOf(settings),
        warn: onPassedOver,
        onProgress: () => undefined,
      })
      await pruneSnapshots(snapshots, built.snapshot.bookId, keep)
      return built
    }
    const tell = (outcome: Built | Error) => {
      onSnapshot(this, outcome)
      thread.kill()
    }
    thread.after(0, () => void build().then(tell, tell))
  }

  freeze(): void {
    for (const thread of this.#threads) thread.freeze()
  }

  thaw(): void {
    for (const thread of this.#threads) thread.thaw()
  }

  async #start(): Promise<void> {
    const { settings, choices } = this.#parts
    const clock = this.#clockOf(this.main)
    const { layout } = await recover({
      database: this.#database,
      shards: this.shardCount,
      snapshots: this.#parts.shelf.storeFor(this.main),
      store: postgresStore(this.#database),
      clock,
      chain: digestChain(),
      random: choices.of(`${this.name} random`),
      owner: this.owner,
      leaseMs: settings.leaseMs,
      commitTimeoutMs: settings.commitTimeoutMs,
      projected: async () => this.#parts.readModels.positions,
      startShard: (plan) => this.#startShard(plan),
      enter: () => undefined,
      log: (message) => {
        if (message.includes('passed over')) this.#parts.onPassedOver(message)
      },
      onTrouble: (error) => this.#parts.onTrouble(this.name, error),
    })
    if (!this.isAlive) return
    this.layout = layout
    const router = new Router(
      clock,
      {
        inFlightCommandsMax: 8192,
        inFlightBytesMax: 1 << 25,
        requestTimeoutMs: settings.requestTimeoutMs,
      },
      this.shards.map((shard, index) => ({
        stream: layout.streams[index],
        send: this.#portTo(shard, index),
      })),
      Int32Array.from({ length: slotCount }, (_, slot) => layout.shardOf(slot)),
    )
    this.#router = router
    this.client = new ProcessClient(router, plainReader(this.#readerDatabase()))
    for (const frame of this.#early.splice(0)) router.receive(frame)
    this.state = 'serving'
    this.hasServed = true
    this.#parts.onServing(this)
  }

  async #drain(): Promise<void> {
    await this.#router?.drained()
    await Promise.all(this.shards.map((shard) => shard.drain()))
    for (const shard of this.shards) shard.stop()
    this.#end(undefined)
  }

  /** Stands for shard-worker.ts: a shard in a thread of its own. */
  #startShard(plan: RecoveryPlan): RecoveringShard {
    const { settings, choices } = this.#parts
    const number = plan.place.shard
    const thread = this.#newThread(`shard ${number}`)
    const toMain = this.#channel(this.main, `shard ${number} to main`)
    const toShard = this.#channel(thread, `main to shard ${number}`)
    const fail = (fault: Error) => toMain.send(() => this.#end(fault))
    thread.onError = fail
    const shard = new Shard(
      {
        plan,
        owner: this.owner,
        leaseMs: settings.leaseMs,
        commitTimeoutMs: settings.commitTimeoutMs,
        admissionTimeoutMs: settings.admissionTimeoutMs,
        limits: { accountsMax: 1000, transactionsMax: 100_000, ...letGoOf(settings) },
        bounds: settings.bounds,
      },
      {
        clock: this.#clockOf(thread),
        store: postgresStore(this.#databaseOf(thread)),
        snapshots: this.#parts.shelf.storeFor(thread),
        findTransactions: (asked, coverage) =>
          new Promise((resolve, reject) => {
            toMain.send(() => {
              const found = () => this.#parts.readModels.find(asked, coverage)
              const answer = attempt(found)
              toShard.send(() => ('value' in answer ? resolve(answer.value) : reject(answer.error)))
            })
          }),
        random: choices.of(`${this.name} shard ${number} random`),
        chain: digestChain(),
        send: (frame) => {
          const sent = transferred(frame)
          toMain.send(() => this.#receive(sent))
        },
        sendToPeer: (to, frame) => this.#sendToPeer(number, to, frame),
        onStopped: fail,
        onProgress: () => undefined,
        onTrouble: (error) => this.#parts.onTrouble(thread.name, error),
        observer,
      },
    )
    this.shards[number] = shard
    this.#toShards[number] = toShard
    this.#shardThreads[number] = thread
    const ask = <T>(work: () => Promise<T>) =>
      new Promise<T>((resolve, reject) => {
        const refuse = (error: Error) => {
          if (error instanceof SnapshotFault) toMain.send(() => reject(error))
          else fail(error)
        }
        toShard.send(() => {
          work().then((value) => toMain.send(() => resolve(value)), refuse)
        })
      })
    return {
      warmUp: () => ask(() => shard.warmUp()),
      readRest: () => ask<StreamCounts[]>(() => shard.readRest()),
      serve: (generation: Generation) => ask(() => shard.serve(generation)),
      discard: () => this.#discard(thread),
    }
  }

  /** As terminating a worker does. */
  async #discard(thread: Thread): Promise<void> {
    thread.kill()
    this.#parts.postgres.disconnect([thread])
  }

  #portTo(shard: Shard, number: number): (frame: ArrayBuffer) => void {
    const channel = this.#channel(this.#shardThreads[number], `router to shard ${number}`)
    return (frame) => {
      const sent = transferred(frame)
      channel.send(() => shard.receive(sent))
    }
  }

  #sendToPeer(from: number, to: number, frame: ArrayBuffer): void {
    const name = `shard ${from} to shard ${to}`
    let channel = this.#peers.get(name)
    if (channel === undefined) {
      channel = this.#channel(this.#shardThreads[to], name)
      this.#peers.set(name, channel)
    }
    const sent = transferred(frame)
    channel.send(() => this.shards[to].receiveFromPeer(sent))
  }

  #receive(frame: ArrayBuffer): void {
    if (this.#router === undefined) this.#early.push(frame)
    else this.#router.receive(frame)
  }

  #end(fault: Error | undefined): void {
    if (this.state === 'ended') return
    this.state = 'ended'
    for (const thread of this.#threads) thread.kill()
    this.#parts.postgres.disconnect(this.#threads)
    this.#parts.onEnd(this, fault)
  }

  #newThread(name: string): Thread {
    const onError = (error: Error) => this.#end(error)
    const thread = new Thread(this.#parts.scheduler, `${this.name} ${name}`, onError)
    this.#threads.push(thread)
    return thread
  }

  #channel(to: Thread, name: string): Channel {
    return new Channel(this.#parts, to, `${this.name} ${name}`)
  }

  /** As the pool of src/journal/reader.ts, which gives a statement no longer than a commit. */
  #readerDatabase(): Database {
    const { postgres, settings } = this.#parts
    const database = postgres.databaseFor(this.main, settings.commitTimeoutMs)
    return impatientDatabase(database, this.#clockOf(this.main), settings.commitTimeoutMs)
  }

  #databaseOf(thread: Thread): Database {
    const { postgres, settings } = this.#parts
    const database = postgres.databaseFor(thread, settings.commitTimeoutMs)
    return impatientDatabase(database, this.#clockOf(thread))
  }

  #clockOf(thread: Thread): Clock {
    const { scheduler, choices, wallMs } = this.#parts
    const late = choices.of(`${thread.name} timers`)
    return {
      now: () => Math.floor(wallMs()),
      monotonic: () => scheduler.nowMs,
      // A timer fires late, never early.
      schedule: (delayMs, task) => thread.after(delayMs + late(), task),
      nextTick: (task) => void thread.after(late() / 50, task),
    }
  }
}

function letGoOf({ letGo }: ProcessSettings): Pick<ProcessSettings, 'letGo'> {
  return letGo === undefined ? {} : { letGo }
}

function attempt<T>(work: () => T): { value: T } | { error: Error } {
  try {
    return { value: work() }
  } catch (error) {
    return { error: error as Error }
  }
}

/** The buffer as the receiver has it; the sender has it no more. */
function transferred(frame: ArrayBuffer): ArrayBuffer {
  return structuredClone(frame, { transfer: [frame] })
}

const observer = {
  onBatch: () => undefined,
  onRefused: () => undefined,
  onExpired: () => undefined,
  onStall: () => undefined,
}
