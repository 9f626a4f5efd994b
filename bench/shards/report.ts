import {
  AGREED,
  coresText,
  renderCorrectness,
  renderSetting,
  renderTargets,
  type Setting,
  table,
} from '../report.js'
import type { Target } from '../targets.js'
import type { ShardsFigures } from './figures.js'

/** A whole run; it is written to shards-results.json as it is. */
export interface ShardsReport extends Setting {
  figures: ShardsFigures[]
  targets: Target[]
  /** What the correctness gate found; empty when books and acknowledgements agree. */
  faults: string[]
}

const PROVED = [
  AGREED,
  'The debit and the credit sides that took effect, in whichever stream, sum up to the same, and so ' +
    'do the balances over HTTP at the end of each load.',
]

/** The report as Markdown, which reads well on a terminal too. */
export function renderShardsReport(report: ShardsReport): string {
  const loads = [...new Set(report.figures.map(({ load }) => load))]
  return [
    ...renderSetting('Benchmark results: many shards', report),
    ...loads.flatMap((load) =>
      renderLoad(
        load,
        report.figures.filter((figures) => figures.load === load),
      ),
    ),
    ...renderTargets(report.targets),
    ...renderCorrectness(report.faults, report.figures.length > 0 ? PROVED : []),
    '',
  ].join('\n')
}

function renderLoad(load: string, all: readonly ShardsFigures[]): string[] {
  return [
    `## ${load}, ${all[0].figures.connections} connections`,
    '',
    ...table(
      [
        'spread',
        'shards',
        'transfers /s',
        '× one shard',
        '× peer',
        '× uniform',
        'p50 ms',
        'p99 ms',
        'p50 over one shard',
        'cores: server / its main thread / Postgres / generator',
        'records each',
        'WAL bytes each',
        'rounds',
        'failed',
      ],
      all.map(cellsOf),
    ),
    '',
  ]
}

function cellsOf(one: ShardsFigures): string[] {
  const { figures, cost } = one
  const { latencyMs, rounds } = figures
  return [
    one.spread ?? `peer, pool ${figures.poolSize}`,
    one.shards === undefined ? '' : String(one.shards),
    Math.round(figures.transfersPerSecond).toLocaleString('en'),
    decimals(one.rateToOneShard),
    decimals(one.rateToPeer),
    decimals(one.rateToUniform),
    latencyMs.p50.toFixed(2),
    latencyMs.p99.toFixed(2),
    decimals(one.p50OverOneShardMs),
    coresText(figures),
    cost.records.toFixed(2),
    cost.walBytes.toFixed(0),
    `${thousands(Math.min(...rounds))} to ${thousands(Math.max(...rounds))}`,
    String(figures.failed + figures.unanswered),
  ]
}

function decimals(value: number | undefined): string {
  return value === undefined ? '' : value.toFixed(2)
}

function thousands(value: number): string {
  return `${(value / 1000).toFixed(1)}k`
}
