import { renderCorrectness, renderSetting, type Setting, table } from '../report.js'
import type { Figure } from './figure.js'
import type { HistoryOptions } from './options.js'

/** A whole run; it is written to history-results.json as it is. */
export interface HistoryReport extends Setting {
  figures: Figure[]
  /** What does not agree; empty when all that was acknowledged is there. */
  faults: string[]
}

const proved =
  'After each part the journal held what was acknowledged, neither more nor less, and the read ' +
  'models held a transaction and two entries for each, with the same sum.'

/** The report as Markdown, which reads well on a terminal too. */
export function renderHistoryReport(report: HistoryReport): string {
  const { note, short, sizes, seconds, rounds } = report.options as HistoryOptions
  const runs = `${Object.entries({ seconds, pairs: rounds, ...sizes })
    .map(([name, value]) => `${name} ${value.toLocaleString('en')}`)
    .join(', ')}`
  return [
    ...renderSetting('Benchmark results: history', report, runs),
    ...(short ? ['**Short form: small books and short runs, cold.**', ''] : []),
    ...(note === undefined ? [] : [`**${note}**`, '']),
    ...table(
      ['part', 'figure', 'measured', 'target', '', 'beside it'],
      report.figures.map(({ part, what, measured, wanted = '', reached, beside = '' }) => [
        ...[part, what, measured, wanted],
        reached === undefined ? '' : reachedText(reached),
        beside,
      ]),
    ),
    '',
    ...renderCorrectness(report.faults, report.figures.length > 0 ? [proved] : []),
    '',
  ].join('\n')
}

/** A line about a figure, for the terminal. */
export function lineOf({ what, measured, wanted, reached, beside }: Omit<Figure, 'part'>): string {
  return [
    `${what}: ${measured}`,
    ...(wanted === undefined || reached === undefined
      ? []
      : [`(${wanted}: ${reachedText(reached)})`]),
    ...(beside === undefined ? [] : [`beside it ${beside}`]),
  ].join(' ')
}

function reachedText(reached: boolean): string {
  return reached ? 'reached' : 'NOT reached'
}
