import type { Scheduled, Scheduler } from '../scheduler.js'
import type { ServerError } from './server-error.js'

/**
 * What a statement waits for. Statements are generators that yield their waits, so that the server
 * has no promises of its own: a backend that dies just never goes on.
 */
export interface Wait {
  readonly phase: BackendPhase
  /** Whether a backend that is terminated dies at once; else it dies as soon as the wait is over. */
  readonly interruptible: boolean
  /** Starts to wait. Later, never at once, `task` is told how it ended. */
  begin(task: Task): void
  /** Nobody waits any more. */
  abandon(): void
}

export type Steps<T> = Generator<Wait, T, unknown>

export interface Task {
  resume(value?: unknown): void
  fail(error: ServerError): void
}

export type BackendPhase =
  | 'idle'
  | 'idle in transaction'
  | 'active'
  | 'waiting for a lock'
  | 'waiting for its client'
  | 'waiting for a backend to end'
  | 'committing'

/** Work that takes a while. */
export class Pause implements Wait {
  readonly phase: BackendPhase
  readonly interruptible: boolean
  readonly #scheduler: Scheduler
  readonly #ms: number
  #timer: Scheduled | undefined

  constructor(
    scheduler: Scheduler,
    { ms, phase, interruptible }: { ms: number; phase: BackendPhase; interruptible: boolean },
  ) {
    this.#scheduler = scheduler
    this.#ms = ms
    this.phase = phase
    this.interruptible = interruptible
  }

  begin(task: Task): void {
    this.#timer = this.#scheduler.after(this.#ms, () => task.resume())
  }

  abandon(): void {
    this.#timer?.cancel()
  }
}

/** The rest of the rows of a COPY; the backend itself notices when they come. */
export const moreRows: Wait = {
  phase: 'waiting for its client',
  interruptible: true,
  begin: () => undefined,
  abandon: () => undefined,
}

/** Postgres looks every so often whether a backend that it has signalled is gone. */
const lookMs = 100

/** The end of another backend; resumes with whether it has come in time. */
export class EndOfBackend implements Wait {
  readonly phase = 'waiting for a backend to end'
  readonly interruptible = true
  readonly #scheduler: Scheduler
  readonly #isGone: () => boolean
  readonly #timeoutMs: number
  #timer: Scheduled | undefined

  constructor(scheduler: Scheduler, isGone: () => boolean, timeoutMs: number) {
    this.#scheduler = scheduler
    this.#isGone = isGone
    this.#timeoutMs = timeoutMs
  }

  begin(task: Task): void {
    this.#look(task, 0)
  }

  abandon(): void {
    this.#timer?.cancel()
  }

  #look(task: Task, waitedMs: number): void {
    this.#timer = this.#scheduler.after(waitedMs === 0 ? 0 : lookMs, () => {
      if (this.#isGone()) task.resume(true)
      else if (waitedMs >= this.#timeoutMs) task.resume(false)
      else this.#look(task, waitedMs + lookMs)
    })
  }
}
