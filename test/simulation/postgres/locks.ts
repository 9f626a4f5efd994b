import type { Scheduled, Scheduler } from '../scheduler.js'
import { ServerError } from './server-error.js'
import type { Transaction } from './transaction.js'
import type { BackendPhase, Steps, Task, Wait } from './waits.js'

/** Postgres looks for a deadlock when somebody has waited that long (deadlock_timeout). */
const deadlockMs = 1000

/**
 * Locks of rows, of keys that are not committed yet, and advisory ones, each held by one transaction
 * until its end. Who waits gets it in the order of asking, with two exceptions that the real server
 * has: when a row has gone from hand to hand, a newcomer can come before those who have waited for
 * its older version; and all who wait for a key try again at once.
 */
export class LockTable {
  readonly #scheduler: Scheduler
  readonly #random: () => number
  readonly #locks = new Map<string, Lock>()

  constructor(scheduler: Scheduler, random: () => number) {
    this.#scheduler = scheduler
    this.#random = random
  }

  /** Returns with the lock held, and whether it was before; fails with 55P03 or 40P01. */
  *take(name: string, transaction: Transaction): Steps<'taken' | 'held before'> {
    let lock = this.#locks.get(name)
    if (lock === undefined) {
      lock = new Lock(name, this.#random)
      this.#locks.set(name, lock)
    }
    if (lock.holder === transaction) return 'held before'
    if (lock.holder === undefined && lock.queue.length === 0) lock.giveTo(transaction)
    else yield new LockWait(this.#scheduler, lock, transaction)
    return 'taken'
  }

  /** The transaction has ended. */
  releaseAll(transaction: Transaction): void {
    for (const lock of transaction.locks.splice(0)) {
      lock.holder = undefined
      lock.promote()
      if (lock.holder === undefined) this.#locks.delete(lock.name)
    }
  }

  clear(): void {
    this.#locks.clear()
  }
}

class Lock {
  readonly name: string
  holder: Transaction | undefined
  readonly queue: LockWait[] = []
  readonly #random: () => number
  #wasHandedOver = false

  constructor(name: string, random: () => number) {
    this.name = name
    this.#random = random
  }

  join(wait: LockWait): void {
    const overtakes = this.#wasHandedOver && this.queue.length > 0 && this.#random() < 0.2
    if (overtakes) this.queue.unshift(wait)
    else this.queue.push(wait)
  }

  giveTo(transaction: Transaction): void {
    this.holder = transaction
    transaction.locks.push(this)
  }

  /** Nobody holds the lock: the first in the queue gets it. */
  promote(): void {
    const at = this.name.startsWith('key ') ? Math.floor(this.#random() * this.queue.length) : 0
    const [next] = this.queue.splice(at, 1)
    if (next === undefined) return
    this.#wasHandedOver = true
    this.giveTo(next.transaction)
    next.granted()
    // The next one waited for its turn; from here on it waits for this transaction.
    this.queue[0]?.restart()
  }

  leave(wait: LockWait): void {
    const at = this.queue.indexOf(wait)
    if (at >= 0) this.queue.splice(at, 1)
    if (at === 0) this.queue[0]?.restart()
  }
}

export type HeldLock = Lock

class LockWait implements Wait {
  readonly phase: BackendPhase = 'waiting for a lock'
  readonly interruptible = true
  readonly transaction: Transaction
  readonly #scheduler: Scheduler
  readonly #lock: Lock
  #task: Task | undefined
  #timers: Scheduled[] = []

  constructor(scheduler: Scheduler, lock: Lock, transaction: Transaction) {
    this.#scheduler = scheduler
    this.#lock = lock
    this.transaction = transaction
  }

  begin(task: Task): void {
    this.#task = task
    this.transaction.waitsFor = this
    this.#lock.join(this)
    this.restart()
  }

  /** Starts the clocks of this wait, again. */
  restart(): void {
    this.#stopTimers()
    const { lockTimeoutMs } = this.transaction
    this.#timers.push(
      this.#scheduler.after(deadlockMs, () => {
        if (this.#isInCycle()) this.#fail(new ServerError('40P01', 'deadlock detected'))
      }),
    )
    if (lockTimeoutMs === 0) return
    this.#timers.push(
      this.#scheduler.after(lockTimeoutMs, () => {
        this.#fail(new ServerError('55P03', 'canceling statement due to lock timeout'))
      }),
    )
  }

  granted(): void {
    this.#stopTimers()
    this.transaction.waitsFor = undefined
    this.#timers.push(this.#scheduler.after(0, () => this.#task?.resume()))
  }

  abandon(): void {
    this.#stopTimers()
    this.transaction.waitsFor = undefined
    this.#lock.leave(this)
  }

  /** The transactions that must end before this one goes on. */
  get blockers(): Transaction[] {
    const { holder, queue } = this.#lock
    const ahead = queue.slice(0, queue.indexOf(this)).map((wait) => wait.transaction)
    return holder === undefined ? ahead : [holder, ...ahead]
  }

  #isInCycle(): boolean {
    const seen = new Set<Transaction>()
    const open = [...this.blockers]
    for (let next = open.pop(); next !== undefined; next = open.pop()) {
      if (next === this.transaction) return true
      if (seen.has(next)) continue
      seen.add(next)
      if (next.waitsFor !== undefined) open.push(...next.waitsFor.blockers)
    }
    return false
  }

  #fail(error: ServerError): void {
    this.abandon()
    this.#task?.fail(error)
  }

  #stopTimers(): void {
    for (const timer of this.#timers.splice(0)) timer.cancel()
  }
}

export type BlockedWait = LockWait
