export type StatementKind =
  | 'batch'
  | 'settle'
  | 'confirm'
  | 'take-over'
  | 'open generation'
  | 'read'
  | 'partition'
  | 'connect'

/** Where in a statement's life it strikes. */
export type StrikePhase =
  | 'on the way'
  | 'half arrived'
  | 'before the fence'
  | 'while it commits'
  | 'before the answer'

export type StrikeEffect =
  /** The client sees the connection reset at once; the server goes on with what has arrived. */
  | 'cut'
  /** Silence in both directions from here on, which the server does not notice. */
  | 'half-open'
  /** The message or the work is held for 1 to 20 s, then goes on. */
  | 'late'
  /** The statement fails, and its transaction is rolled back. */
  | 'error'
  /** An operator ends the backend. */
  | 'terminate'
  /** The commit comes with notice 01000. */
  | 'standby cancelled'

export interface Strike {
  of: StatementKind | 'any'
  phase: StrikePhase
  effect: StrikeEffect
  /** How many others that fit are let through before. */
  skip: number
}

/** The strikes that wait for their statement. */
export class Strikes {
  readonly #waiting: Strike[] = []
  readonly #onHit: (fault: string) => void

  constructor(onHit: (fault: string) => void) {
    this.#onHit = onHit
  }

  add(strike: Strike): void {
    this.#waiting.push({ ...strike })
  }

  clear(): void {
    this.#waiting.length = 0
  }

  /**
   * A statement, which may be of any of `kinds`, is in `phase`: takes what strikes it there, of the
   * effects that are `possible` at this point.
   */
  at(
    kinds: readonly StatementKind[],
    phase: StrikePhase,
    possible: (effect: StrikeEffect) => boolean,
  ): StrikeEffect | undefined {
    for (const [index, strike] of this.#waiting.entries()) {
      if (strike.phase !== phase || !possible(strike.effect)) continue
      if (strike.of !== 'any' && !kinds.includes(strike.of)) continue
      strike.skip -= 1
      if (strike.skip >= 0) continue
      this.#waiting.splice(index, 1)
      this.#onHit(`${strike.effect} ${phase} (${strike.of})`)
      return strike.effect
    }
    return undefined
  }
}

/** Milliseconds for which something is held that a strike makes late. */
export function lateMs(random: () => number): number {
  return 1000 + 19_000 * random()
}
