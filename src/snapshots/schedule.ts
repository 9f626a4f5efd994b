import type { Clock, Timer } from '../clock.js'
import type { SnapshotManifest } from './manifest.js'

export interface SnapshotPolicy {
  /** Records after the last snapshot that make the next one due. */
  records: number
  /** Milliseconds after it, if there is any record. */
  periodMs: number
}

/** A snapshot as the schedule knows it: its place, and when it was made. */
export interface LastSnapshot {
  generation: number
  /** Of the streams of its generation. */
  records: number
  /** Milliseconds since 1970. */
  createdAt: number
}

export interface ScheduleParts {
  clock: Clock
  policy: SnapshotPolicy
  /** The generation that is served. */
  generation: number
  /** Its records; undefined if nobody can say now. */
  records(): Promise<number | undefined>
  /** Builds a snapshot; rejects when `signal` aborts. */
  build(signal: AbortSignal): Promise<LastSnapshot>
  onFailed(error: Error): void
}

export function lastSnapshot({
  generation,
  createdAt,
  streams,
}: Pick<SnapshotManifest, 'generation' | 'createdAt' | 'streams'>): LastSnapshot {
  const records = streams.reduce((sum, { seq }) => sum + seq, 0)
  return { generation, createdAt, records }
}

const checkPeriodMs = 1000
/** After a build that failed the next one waits. */
const retryDelayMs = 60_000

/**
 * Has a snapshot built whenever one is due; one at a time. In a new generation one is due at once:
 * a start without it reads the streams of all earlier ones.
 *
 *     waiting ──due──▶ building ──▶ waiting     stopped, from either
 */
export class SnapshotSchedule {
  readonly #parts: ScheduleParts
  readonly #abort = new AbortController()
  #last: LastSnapshot
  #notBefore = 0
  #timer: Timer | undefined
  #building: Promise<void> | undefined

  /** `last` is the snapshot from which the book was started, if there is one. */
  constructor(parts: ScheduleParts, last: LastSnapshot | undefined) {
    this.#parts = parts
    // A book in its first generation has nothing behind it.
    this.#last = last ?? { generation: 1, records: 0, createdAt: parts.clock.now() }
    this.#wait()
  }

  get isBuilding(): boolean {
    return this.#building !== undefined
  }

  /** Gives up what is being built. */
  async stop(): Promise<void> {
    this.#timer?.cancel()
    this.#abort.abort()
    await this.#building
  }

  #wait(): void {
    if (this.#abort.signal.aborted) return
    this.#timer = this.#parts.clock.schedule(checkPeriodMs, () => {
      this.#building = this.#buildIfDue().finally(() => {
        this.#building = undefined
        this.#wait()
      })
    })
  }

  async #buildIfDue(): Promise<void> {
    const { clock, build, onFailed } = this.#parts
    if (clock.monotonic() < this.#notBefore || !(await this.#isDue())) return
    try {
      this.#last = await build(this.#abort.signal)
    } catch (error) {
      if (this.#abort.signal.aborted) return
      this.#notBefore = clock.monotonic() + retryDelayMs
      onFailed(error as Error)
    }
  }

  async #isDue(): Promise<boolean> {
    const { clock, policy, generation } = this.#parts
    const records = await this.#parts.records()
    if (records === undefined || this.#abort.signal.aborted) return false
    if (this.#last.generation !== generation) return true
    const since = records - this.#last.records
    const ageMs = clock.now() - this.#last.createdAt
    return since >= policy.records || (since > 0 && ageMs >= policy.periodMs)
  }
}
