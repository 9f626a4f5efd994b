/**
 * What undecided transactions hold of accounts: amounts, never the account itself, so that nobody
 * waits for anybody. A reservation lives from the vote until the decision; after a crash there is
 * none, because everything that was decided is applied before a shard serves.
 */
export interface Reserved {
  /** Undecided transactions that will touch the account. */
  count: number
  /** What they add to the lifetime turnover, in minor units. */
  debits: bigint
  credits: bigint
  /** What they take from the available balance. */
  taken: bigint
  /** How many of them were found to keep the account's limit: nobody may take it from them. */
  limited: number
  /** An undecided transaction rests on the account's version: nothing may touch it meanwhile. */
  versionHeld: boolean
  /** Changes of the account that wait until it is free; new reservations are refused meanwhile. */
  readonly waiting: (() => void)[]
}

export interface ReservedAmounts {
  row: number
  debits: bigint
  credits: bigint
  taken: bigint
  isLimited: boolean
  holdsVersion: boolean
}

export class Reservations {
  readonly #byRow = new Map<number, Reserved>()
  /** Changes that wait for an account. */
  waiting = 0

  /** Whether no account is reserved: nearly always so on a shard that is by itself. */
  get isEmpty(): boolean {
    return this.#byRow.size === 0
  }

  /** Accounts that are reserved. */
  get count(): number {
    return this.#byRow.size
  }

  get(row: number): Reserved | undefined {
    return this.#byRow.get(row)
  }

  /** Whether nothing may touch the account until something else is decided. */
  isShut(row: number): boolean {
    const reserved = this.#byRow.get(row)
    return reserved !== undefined && (reserved.versionHeld || reserved.waiting.length > 0)
  }

  add(amounts: readonly ReservedAmounts[]): void {
    for (const { row, debits, credits, taken, isLimited, holdsVersion } of amounts) {
      const reserved = this.#entry(row)
      reserved.count += 1
      if (isLimited) reserved.limited += 1
      reserved.debits += debits
      reserved.credits += credits
      reserved.taken += taken
      reserved.versionHeld ||= holdsVersion
    }
  }

  /** Gives back what {@link add} took; then whoever waited for an account that is free goes on. */
  release(amounts: readonly ReservedAmounts[]): void {
    for (const { row, debits, credits, taken, isLimited, holdsVersion } of amounts) {
      const reserved = this.#entry(row)
      reserved.count -= 1
      if (isLimited) reserved.limited -= 1
      reserved.debits -= debits
      reserved.credits -= credits
      reserved.taken -= taken
      if (holdsVersion) reserved.versionHeld = false
      this.#settle(row, reserved)
    }
  }

  /** Calls `task` once no transaction has the account reserved: now, or later. */
  whenFree(row: number, task: () => void): void {
    const reserved = this.#byRow.get(row)
    if (reserved === undefined) {
      task()
      return
    }
    reserved.waiting.push(task)
    this.waiting += 1
  }

  /**
   * Keeps the account from being reserved or posted to until {@link open}, as a change of a
   * striped account does while the other shards are asked. The account must be free.
   */
  close(row: number): void {
    this.#entry(row).versionHeld = true
  }

  open(row: number): void {
    const reserved = this.#entry(row)
    reserved.versionHeld = false
    this.#settle(row, reserved)
  }

  #settle(row: number, reserved: Reserved): void {
    if (reserved.count > 0 || reserved.versionHeld) return
    // The account is free for the first of those who wait; it may close it again.
    const next = reserved.waiting.shift()
    if (next === undefined) {
      this.#byRow.delete(row)
      return
    }
    const rest = reserved.waiting.splice(0)
    this.waiting -= rest.length + 1
    this.#byRow.delete(row)
    next()
    for (const task of rest) this.whenFree(row, task)
  }

  #entry(row: number): Reserved {
    let reserved = this.#byRow.get(row)
    if (reserved === undefined) {
      reserved = {
        count: 0,
        debits: 0n,
        credits: 0n,
        taken: 0n,
        limited: 0,
        versionHeld: false,
        waiting: [],
      }
      this.#byRow.set(row, reserved)
    }
    return reserved
  }
}
