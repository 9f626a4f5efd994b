import { Violation } from './oracle/violation.js'

/** What is told of a world: what happened, how often faults struck, and the promise that broke. */
export class Chronicle {
  violation: Violation | undefined
  /** How often each fault struck. */
  readonly hits = new Map<string, number>()
  /** What came of requests, by outcome. */
  readonly answers = new Map<string, number>()
  /** What happened, line by line; only if it was asked for. */
  readonly trace: string[] = []
  readonly isTraced: boolean
  readonly #nowMs: () => number

  constructor(isTraced: boolean, nowMs: () => number) {
    this.isTraced = isTraced
    this.#nowMs = nowMs
  }

  say(line: string): void {
    if (this.isTraced) this.trace.push(`${this.#nowMs().toFixed(2).padStart(10)}  ${line}`)
  }

  hit(fault: string): void {
    this.hits.set(fault, (this.hits.get(fault) ?? 0) + 1)
  }

  answered(outcome: string): void {
    this.answers.set(outcome, (this.answers.get(outcome) ?? 0) + 1)
  }

  /** Does what may break a promise. */
  watch(work: () => void): void {
    try {
      work()
    } catch (error) {
      this.fail(error as Error)
    }
  }

  /** The first failure counts; any error that is not a broken promise is one, too. */
  fail(error: Error): void {
    if (this.violation !== undefined) return
    this.violation =
      error instanceof Violation ? error : new Violation(0, error.stack ?? error.message)
    this.say(`VIOLATION of promise ${this.violation.promise}: ${this.violation.message}`)
  }
}
