import { appendFileSync, existsSync } from 'node:fs'
import type { Test } from 'tap'
import { isSettled } from './client-log.js'
import { type CheckParts, checkBook } from './journal-check.js'
import { roundsOr, shardCounts, withShards } from './rounds.js'

/** What a fault round came to; npm run faults adds them up. */
export interface FaultRound {
  fault: string
  shards: number
  /** How often the fault struck in this round. */
  hits: number
  /** Requests and items of batches, by what the client was told; each time it was told. */
  acknowledged: number
  refused: number
  unavailable: number
  unknown: number
  /** Of those that were unknown for a while: how many are known now. */
  settled: number
  reads: number
  violations: number
  seconds: number
}

const usualRounds = 5

/** The file that rounds are told to, a line of JSON each; beside it a file that asks for the end. */
const logFile = process.env.DAYBOOK_TEST_FAULT_LOG
export const stopSuffix = '.stop'

/**
 * The rounds of one fault with one number of shards. A test goes on as long as there are more:
 *
 *     for (const rounds of FaultRounds.of('server killed')) {
 *       t.test(…, async (t) => {
 *         while (rounds.hasMore) { …; await rounds.check(t, { url, connectionString, load }) }
 *       })
 *     }
 */
export class FaultRounds {
  readonly fault: string
  readonly shards: number
  readonly count: number
  #done = 0
  #startedAt = performance.now()
  #before = { acknowledged: 0, refused: 0, unavailable: 0, unknown: 0, settled: 0, reads: 0 }

  /**
   * The rounds of a fault are spread over the numbers of shards; there are none if only another
   * fault is asked for (DAYBOOK_TEST_FAULT).
   */
  static of(fault: string): FaultRounds[] {
    const only = process.env.DAYBOOK_TEST_FAULT
    if (only !== undefined && only !== fault) return []
    const rounds = roundsOr(usualRounds)
    return shardCounts.map((shards, index) => {
      return new FaultRounds(fault, shards, Math.floor((rounds + index) / shardCounts.length))
    })
  }

  private constructor(fault: string, shards: number, count: number) {
    this.fault = fault
    this.shards = shards
    this.count = count
  }

  /** The setting of the server. */
  get settings(): { DAYBOOK_SHARDS: string } {
    return withShards(this.shards)
  }

  /** Rounds before the one under way. */
  get done(): number {
    return this.#done
  }

  get hasMore(): boolean {
    if (this.#done === 0) this.#startedAt = performance.now()
    return this.#done < this.count && !(logFile && existsSync(`${logFile}${stopSuffix}`))
  }

  /** Ends a round, in which the fault struck `hits` times: checks everything. */
  async check(t: Test, parts: CheckParts & { url: string }, hits = 1): Promise<void> {
    const violations = await checkBook(t, parts)
    const { log } = parts.load
    const { acknowledged, refused, unavailable, unknown } = log.counts
    const once = [...log.entries.values()].filter(({ answers }) =>
      answers.some(({ outcome }) => outcome === 'unknown'),
    )
    const now = {
      ...{ acknowledged, refused, unavailable, unknown },
      settled: once.filter(isSettled).length,
      reads: log.reads.counts.checked,
    }
    const before = this.#before
    this.#before = now
    const counts = Object.fromEntries(
      Object.entries(now).map(([name, count]) => [name, count - before[name as keyof typeof now]]),
    ) as typeof now
    const { fault, shards } = this
    const seconds = (performance.now() - this.#startedAt) / 1000
    this.#startedAt = performance.now()
    this.#done += 1
    const round: FaultRound = { fault, shards, hits, ...counts, violations, seconds }
    if (logFile) appendFileSync(logFile, `${JSON.stringify(round)}\n`)
  }
}
