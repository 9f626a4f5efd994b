import { bookDigest } from '../../src/actors/digest.js'
import type { Router } from '../../src/actors/router.js'
import type { Shard } from '../../src/actors/shard.js'
import { type JournalReader, postgresReader } from '../../src/journal/reader.js'
import type { SnapshotManifest } from '../../src/snapshots/manifest.js'
import { EngineClient } from './engine-client.js'
import { type EngineOptions, EngineProcess } from './engine-process.js'
import { TestClock } from './test-clock.js'

/**
 * The real shard, router and journal writer in this thread, on a real Postgres, with a clock that
 * the test owns.
 */
export class Engine extends EngineClient {
  readonly clock: TestClock
  readonly #options: EngineOptions
  readonly #reader: JournalReader
  #process!: EngineProcess
  #closed = false

  /** A book as it is in the database, taken over and served. */
  static async start(options: EngineOptions): Promise<Engine> {
    const engine = new Engine(options)
    await engine.#boot()
    return engine
  }

  private constructor(options: EngineOptions) {
    const reader = postgresReader(options.connectionString, {
      timeoutMs: 10_000,
      onError: () => undefined,
    })
    super(() => this.#process.router ?? this.#process.serving, reader)
    this.#options = { ...options }
    this.clock = options.clock ?? new TestClock()
    this.#reader = reader
  }

  /** The only shard. */
  get shard(): Shard {
    return this.#process.shards[0]
  }

  get shards(): readonly Shard[] {
    return this.#process.shards
  }

  /** The digest of the whole book as it is in memory. */
  get digest(): bigint {
    return bookDigest(this.shards.map((shard) => shard.book))
  }

  get router(): Router {
    return this.#process.router
  }

  /** The snapshot from which the process was started. */
  get startedFrom(): SnapshotManifest | undefined {
    return this.#process.startedFrom
  }

  /** The fault that stopped the shard, if one did. */
  get fault(): Error | undefined {
    return this.#process.fault
  }

  /** As kill -9 would: nothing is finished, every connection breaks. */
  crash(): void {
    this.#process.kill()
  }

  /** Resolves when the journal has nothing to do, so that moving the clock cuts nothing off. */
  async quiet(): Promise<void> {
    while (this.#process.isBusy) {
      await new Promise((resolve) => {
        setTimeout(resolve, 1)
      })
    }
  }

  /** Waits for `work` while the clock goes on, so that deadlines and pauses come to an end. */
  async pump<T>(work: Promise<T>, stepMs = 250): Promise<T> {
    const deadline = Date.now() + 60_000
    let done = false
    const finished = work.finally(() => {
      done = true
    })
    finished.catch(() => undefined)
    for (;;) {
      await Promise.race([
        finished.catch(() => undefined),
        new Promise((resolve) => {
          setTimeout(resolve, 10)
        }),
      ])
      if (done) return await finished
      if (this.fault !== undefined) throw this.fault
      if (Date.now() > deadline) throw new Error('it does not come to an end')
      this.clock.advance(stepMs)
    }
  }

  /** A crash, and a new process that recovers from the journal. */
  async restart(shards?: number): Promise<void> {
    this.crash()
    if (shards !== undefined) this.#options.shards = shards
    await this.#boot()
  }

  /** A graceful end. */
  async stop(): Promise<void> {
    await Promise.all(this.shards.map((shard) => shard.drain()))
    for (const shard of this.shards) shard.stop()
    await this.close()
  }

  /** Ends the engine whatever state it is in. */
  async close(): Promise<void> {
    this.#process.kill()
    if (this.#closed) return
    this.#closed = true
    await this.#reader.close()
  }

  /** The phases of src/node.ts from `warming_up` to `serving`. */
  async #boot(): Promise<void> {
    this.#process = new EngineProcess(this.#options, this.clock)
    await this.#process.start()
  }
}
