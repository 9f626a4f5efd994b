import type { Machine } from '../../../bench/machine.js'
import type { Fault, FaultRound } from '../fault-rounds.js'

/** What all rounds of a fault on one commit came to; counts as in {@link FaultRound}. */
export interface FaultResult extends Omit<FaultRound, 'shards'> {
  rounds: number
  /** Rounds that did not come to their end: the test failed otherwise than by what it checked. */
  failures: number
  /** Day of the last round. */
  date: string
  machine: Machine
}

/** One run of a script. */
export interface FaultRun {
  fault: Fault
  rounds: readonly FaultRound[]
  failures: number
  date: string
  machine: Machine
}

const counts = [
  'hits',
  'requests',
  'acknowledged',
  'refused',
  'unavailable',
  'unknown',
  'settled',
  'reads',
  'violations',
  'seconds',
] as const

/**
 * Adds a run to the results. Runs on the same commit and machine add up; one on another, or where
 * files differ from the commit, takes the place of what was there for the fault.
 */
export function withRun(results: readonly FaultResult[], run: FaultRun): FaultResult[] {
  const { fault, rounds, failures, date, machine } = run
  const before = resultOf(results, fault, machine)
  const result: FaultResult = {
    ...{ fault, rounds: (before?.rounds ?? 0) + rounds.length },
    ...{
      hits: 0,
      requests: 0,
      acknowledged: 0,
      refused: 0,
      unavailable: 0,
      unknown: 0,
      settled: 0,
      reads: 0,
    },
    ...{ violations: 0, failures: (before?.failures ?? 0) + failures, seconds: 0 },
    ...{ way: rounds.at(-1)?.way ?? before?.way, date, machine },
  }
  for (const name of counts) {
    const sum = rounds.reduce((sum, round) => sum + round[name], before?.[name] ?? 0)
    result[name] = name === 'seconds' ? Math.round(sum * 10) / 10 : sum
  }
  return [...results.filter((other) => other.fault !== fault), result]
}

/** What is there already of a fault and may be added to. */
export function resultOf(
  results: readonly FaultResult[],
  fault: Fault,
  machine: Machine,
): FaultResult | undefined {
  const isSame = ({ machine: { commit, cpu, cores } }: FaultResult) =>
    commit === machine.commit && cpu === machine.cpu && cores === machine.cores
  if (machine.commit.endsWith('+')) return undefined
  return results.find((result) => result.fault === fault && isSame(result))
}

/** The results as a table to read. */
export function faultTable(results: readonly FaultResult[]): string {
  const heads = [
    'fault',
    'rounds',
    'struck',
    'requests',
    'acknowledged',
    'refused',
    'not accepted',
    'once unknown',
    'of them settled',
    'reads checked',
    'violations',
    'failed runs',
    'seconds',
    'commit',
    'date',
  ]
  const rows = results.map((result) => {
    const { requests, acknowledged, refused, unavailable, unknown } = result
    return [
      result.way === undefined ? result.fault : `${result.fault} (${result.way})`,
      ...[result.rounds, result.hits, requests],
      ...[acknowledged, refused, unavailable, unknown, result.settled, result.reads],
      ...[result.violations, result.failures, Math.round(result.seconds)],
      ...[result.machine.commit, result.date],
    ]
  })
  const machines = new Set(results.map(({ machine }) => describe(machine)))
  return [
    '# Real faults',
    '',
    'Made by `npm run faults`; the same as `reliability-faults.json`. Every round ends with the',
    "client's log of all requests, answers and reads held against the journal. A request counts as often",
    'as it was sent, an item of a batch as a request; violations are all that was found wrong.',
    '',
    ...[...machines].map((machine) => `Machine: ${machine}.`),
    '',
    line(heads),
    line(heads.map((_, index) => (index === 0 ? '---' : '---:'))),
    ...rows.map(line),
    '',
  ].join('\n')
}

function describe({ cpu, cores, memoryGiB, kernel, node }: Machine): string {
  return `${cpu}, ${cores} cores, ${memoryGiB} GiB, ${kernel}, Node ${node}`
}

function line(cells: readonly (string | number)[]): string {
  return `| ${cells.join(' | ')} |`
}
