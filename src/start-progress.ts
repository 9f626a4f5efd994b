import type { RecoveryProgress } from './actors/shard-recovery.js'
import type { Clock } from './clock.js'

/** How far a start has come, all shards together. */
export interface StartStatus {
  /** Rows of the snapshot, and records of the journal after it. */
  rowsDone: number
  rowsTotal: number
  recordsDone: number
  recordsTotal: number
  /** Guessed from the step at hand; null if nothing is being read, or it has only begun. */
  secondsLeft: number | null
  /** The step at hand of each shard. */
  shards: ({ shard: number } & RecoveryProgress)[]
}

/** Before any shard has said anything. */
export const notStarted: StartStatus = {
  rowsDone: 0,
  rowsTotal: 0,
  recordsDone: 0,
  recordsTotal: 0,
  secondsLeft: null,
  shards: [],
}

/** Collects what the shards tell while they load a snapshot and replay the journal. */
export class StartProgress {
  readonly #clock: Clock
  readonly #shards = new Map<number, { began: number; steps: RecoveryProgress[] }>()

  constructor(clock: Clock) {
    this.#clock = clock
  }

  note(shard: number, progress: RecoveryProgress): void {
    let own = this.#shards.get(shard)
    if (own === undefined || own.steps[own.steps.length - 1].step !== progress.step) {
      const before = own?.steps.filter(({ step }) => step !== progress.step) ?? []
      own = { began: this.#clock.monotonic(), steps: [...before, progress] }
      this.#shards.set(shard, own)
    }
    own.steps[own.steps.length - 1] = progress
  }

  /** Shards have been discarded, and others start in their place. */
  restart(shard: number): void {
    this.#shards.delete(shard)
  }

  get status(): StartStatus {
    const status = { rowsDone: 0, rowsTotal: 0, recordsDone: 0, recordsTotal: 0 }
    const shards: StartStatus['shards'] = []
    let msLeft: number | null = null
    for (const [shard, { began, steps }] of this.#shards) {
      for (const { step, done, total } of steps) {
        status[step === 'snapshot' ? 'rowsDone' : 'recordsDone'] += done
        status[step === 'snapshot' ? 'rowsTotal' : 'recordsTotal'] += total
      }
      const last = steps[steps.length - 1]
      shards.push({ shard, ...last })
      if (last.done === 0 || last.done >= last.total) continue
      const elapsedMs = this.#clock.monotonic() - began
      msLeft = Math.max(msLeft ?? 0, (elapsedMs / last.done) * (last.total - last.done))
    }
    return {
      ...status,
      secondsLeft: msLeft === null ? null : Math.ceil(msLeft / 1000),
      shards: shards.sort((a, b) => a.shard - b.shard),
    }
  }
}
