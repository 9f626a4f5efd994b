import { randomUUID } from 'node:crypto'
import { Router, type RouterLimits } from '../../src/actors/router.js'
import { Shard, type ShardOptions } from '../../src/actors/shard.js'
import type { Clock } from '../../src/clock.js'
import { digestChain } from '../../src/journal/digest.js'
import { postgresStore } from '../../src/journal/postgres-session.js'
import type { JournalSession, JournalStore } from '../../src/journal/session.js'
import type { TestClock } from './test-clock.js'

export interface EngineOptions {
  connectionString: string
  clock?: TestClock
  /** Puts a store that makes faults around the real one. */
  wrap?: (store: JournalStore) => JournalStore
  shard?: Partial<ShardOptions>
  router?: Partial<RouterLimits>
  random?: () => number
}

export const stream = 1

/** One life of the process: from its start to its crash. */
export class EngineProcess {
  readonly owner = randomUUID()
  readonly shard: Shard
  readonly router: Router
  fault: Error | undefined
  readonly #sessions = new Set<JournalSession>()
  /** Calls to the store that have not returned yet. */
  #calls = 0
  #alive = true

  constructor(options: EngineOptions, clock: TestClock) {
    const ownClock = this.#clockWhileAlive(clock)
    const real = postgresStore(options.connectionString, 5000)
    const shard = new Shard(
      {
        stream,
        owner: this.owner,
        leaseMs: 10_000,
        commitTimeoutMs: 5000,
        admissionTimeoutMs: 5000,
        limits: { accountsMax: 1000, transactionsMax: 100_000 },
        ...options.shard,
      },
      {
        clock: ownClock,
        store: this.#storeWhileAlive(options.wrap?.(real) ?? real),
        random: options.random ?? Math.random,
        chain: digestChain(),
        send: (frame) => {
          if (this.#alive) this.router.receive(frame)
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
    this.shard = shard
    const port = { stream, send: (frame: ArrayBuffer) => this.#alive && shard.receive(frame) }
    this.router = new Router(
      ownClock,
      {
        inFlightCommandsMax: 65_536,
        inFlightBytesMax: 1 << 28,
        requestTimeoutMs: 1e12,
        ...options.router,
      },
      [port as { stream: number; send(frame: ArrayBuffer): void }],
      new Int32Array(1024),
    )
  }

  get isBusy(): boolean {
    return this.#calls > 0 || this.shard.gauges.openRecords > 0
  }

  /** From here on this process does nothing any more, whatever it was doing. */
  kill(): void {
    this.#alive = false
    for (const session of this.#sessions) session.close()
    this.router.close()
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
          commit: (batch) => this.#counted(session.commit(batch)),
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

  async #counted<T>(call: Promise<T>): Promise<T> {
    this.#calls += 1
    return await call.finally(() => {
      this.#calls -= 1
    })
  }
}
