import type { Logger } from 'pino'
import type { Clock } from '../clock.js'
import type { BuildTask } from './build-worker.js'
import { SnapshotBuilder } from './builder.js'
import { type LastSnapshot, type SnapshotPolicy, SnapshotSchedule } from './schedule.js'

export interface KeeperOptions {
  task: Omit<BuildTask, 'port'>
  policy: SnapshotPolicy
  clock: Clock
  log: Logger
  /** The generation that is served, and its records now; undefined if nobody can say. */
  generation: number
  records(): Promise<number | undefined>
}

/** How snapshots are doing, for metrics. */
export interface KeeperGauges {
  /** Milliseconds since 1970; 0 before the first. */
  lastCreatedAt: number
  lastRecords: number
  lastBytes: number
  lastBuildMs: number
  built: number
  failed: number
  isBuilding: boolean
}

/** Keeps the snapshots of a book that is served up to date. */
export class SnapshotKeeper {
  readonly #options: KeeperOptions
  readonly #builder: SnapshotBuilder
  readonly #schedule: SnapshotSchedule
  #last: LastSnapshot | undefined
  readonly #counts = { lastBytes: 0, lastBuildMs: 0, built: 0, failed: 0 }

  /** `last` is the snapshot from which the book was started, if there is one. */
  constructor(options: KeeperOptions, last: LastSnapshot | undefined) {
    this.#options = options
    this.#last = last
    this.#builder = new SnapshotBuilder(options.task)
    const { clock, policy, generation, records, log } = options
    this.#schedule = new SnapshotSchedule(
      {
        clock,
        policy,
        generation,
        records,
        build: (signal) => this.#build(signal),
        onFailed: (error) => {
          this.#counts.failed += 1
          log.error({ err: error }, 'a snapshot could not be built; it is tried again')
        },
      },
      last,
    )
  }

  get gauges(): KeeperGauges {
    const { isBuilding } = this.#schedule
    return {
      lastCreatedAt: this.#last?.createdAt ?? 0,
      lastRecords: this.#last?.records ?? 0,
      ...this.#counts,
      isBuilding,
    }
  }

  async stop(): Promise<void> {
    await Promise.all([this.#schedule.stop(), this.#builder.close()])
  }

  async #build(signal: AbortSignal): Promise<LastSnapshot> {
    const { clock, log } = this.#options
    const began = clock.monotonic()
    const { last, ...built } = await this.#builder.build(
      { onProgress: () => undefined, onWarning: (message) => log.warn(message) },
      signal,
    )
    const buildMs = Math.round(clock.monotonic() - began)
    this.#counts.lastBytes = built.bytes
    this.#counts.lastBuildMs = buildMs
    this.#counts.built += 1
    log.info({ snapshot: { ...built, buildMs } }, 'a snapshot has been built')
    this.#last = last
    return last
  }
}
