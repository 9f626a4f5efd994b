import { appendFileSync, existsSync } from 'node:fs'
import type { Test } from 'tap'
import { isSettled } from './client-log.js'
import { type CheckParts, checkBook } from './journal-check.js'
import { roundsOr, shardCounts, withShards } from './rounds.js'

/** Every fault that there is a script for, and the test file that has it. */
export const scripts = {
  'server killed': 'crash',
  'server killed before a commit': 'crash',
  'process frozen': 'frozen',
  'clock jumped': 'clock',
  'postgres killed': 'postgres-restart',
  'postgres restarted': 'postgres-restart',
  'backends terminated': 'backends',
  'commit cut': 'connections',
  'commit half-open': 'connections',
  'commit delayed': 'connections',
  'connection delayed': 'connections',
  'disk full': 'disk-full',
  'killed while it builds a snapshot': 'snapshots',
  'snapshot damaged': 'snapshots',
} as const

export type Fault = keyof typeof scripts

/** What a fault round came to; npm run faults adds them up. */
export interface FaultRound {
  fault: Fault
  shards: number
  /** How the fault is made, where that depends on the machine. */
  way?: string
  /** How often the fault struck in this round. */
  hits: number
  /** Answers to requests, of which a batch has one for each item; lost ones count too. */
  requests: number
  /** Of these. The others left the outcome unknown. */
  acknowledged: number
  refused: number
  unavailable: number
  /** Transactions whose outcome was unknown for a while, and how many of them it is known of now. */
  unknown: number
  settled: number
  reads: number
  violations: number
  seconds: number
}

const usualRounds = 3
const nothing = Object.freeze({
  ...{ requests: 0, acknowledged: 0, refused: 0, unavailable: 0, unknown: 0, settled: 0 },
  reads: 0,
})

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
  /** How the fault is made, if that depends on the machine. */
  way: string | undefined
  readonly fault: Fault
  readonly shards: number
  readonly count: number
  #done = 0
  #startedAt = performance.now()
  #before: Readonly<Record<keyof typeof nothing, number>> = nothing

  /**
   * The rounds of a fault are spread over the numbers of shards; there are none if only another
   * fault is asked for (DAYBOOK_TEST_FAULT).
   */
  static of(fault: Fault, usual = usualRounds): FaultRounds[] {
    const only = process.env.DAYBOOK_TEST_FAULT
    if (only !== undefined && only !== fault) return []
    const rounds = roundsOr(usual)
    return shardCounts.map((shards, index) => {
      return new FaultRounds(fault, shards, Math.floor((rounds + index) / shardCounts.length))
    })
  }

  private constructor(fault: Fault, shards: number, count: number) {
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
      requests: acknowledged + refused + unavailable + unknown,
      ...{ acknowledged, refused, unavailable },
      unknown: once.length,
      settled: once.filter(isSettled).length,
      reads: log.reads.counts.checked,
    }
    const before = this.#before
    this.#before = now
    const counts = Object.fromEntries(
      Object.entries(now).map(([name, count]) => [name, count - before[name as keyof typeof now]]),
    ) as typeof now
    const { fault, shards, way } = this
    const seconds = (performance.now() - this.#startedAt) / 1000
    this.#startedAt = performance.now()
    this.#done += 1
    const round: FaultRound = { fault, shards, way, hits, ...counts, violations, seconds }
    if (logFile) appendFileSync(logFile, `${JSON.stringify(round)}\n`)
  }
}
