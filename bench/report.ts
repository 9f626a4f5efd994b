import type { Comparison } from './comparison.js'
import type { Disk } from './disk.js'
import type { Figures } from './figures.js'
import type { Machine } from './machine.js'
import type { MemoryFigures } from './memory.js'
import type { RunOptions } from './options.js'
import type { Target } from './targets.js'

/** What figures mean nothing without. */
export interface Setting {
  date: string
  options: RunOptions
  machine: Machine
  disk: Disk
  postgres: Record<string, string>
}

/** A whole run; it is written to results.json as it is. */
export interface Report extends Setting {
  comparisons: Comparison[]
  memory: MemoryFigures | undefined
  targets: Target[]
  /** What the correctness gate found; empty when books and acknowledgements agree. */
  faults: string[]
}

/** The report as Markdown, which reads well on a terminal too. */
export function renderReport(report: Report): string {
  const lines = [
    ...renderSetting('Benchmark results', report),
    ...renderComparisons(report.comparisons),
    ...renderMemory(report.memory),
    ...renderTargets(report.targets),
    ...renderCorrectness(report.faults, report.comparisons.length > 0 ? [AGREED] : []),
    '',
  ]
  return lines.join('\n')
}

/** The head of a report: title, commit, command, machine; `runs` says how much was run. */
export function renderSetting(
  title: string,
  { date, machine, disk, postgres, options }: Setting,
  runs = `${options.rounds} × ${options.seconds} s after ${options.warmupSeconds} s of warm-up; medians`,
): string[] {
  return [
    `# ${title}`,
    '',
    `Commit ${machine.commit}, ${date}, \`${options.command}\``,
    '',
    ...table(
      ['', ''],
      [
        ['CPU', `${machine.cpu}, ${machine.cores} cores, ${machine.memoryGiB} GiB`],
        ['System', `${machine.kernel}, Node ${machine.node}, Postgres ${postgres.server_version}`],
        [
          'Disk',
          `${disk.fileSystem}; 8 KB written and flushed in ${disk.flushMs.toFixed(2)} ms` +
            ` (median of 200, p95 ${disk.flushP95Ms.toFixed(2)} ms)`,
        ],
        ['Postgres settings', settingsText(postgres)],
        ['Runs', runs],
      ],
    ),
    '',
    'Generator, server and Postgres share the cores. Workloads: `bench/README.md`.',
    '',
  ]
}

/** What the gate has compared, and found equal. */
export const AGREED =
  'Books and acknowledgements agree after every run: number of transfers and their sum.'

/** The faults, or without any what was proved; nothing if nothing was looked at. */
export function renderCorrectness(faults: readonly string[], proved: readonly string[]): string[] {
  const lines = faults.length > 0 ? faults.map((fault) => `- WRONG: ${fault}`) : proved
  return lines.length > 0 ? ['## Correctness', '', ...lines] : []
}

function settingsText(settings: Record<string, string>): string {
  return Object.entries(settings)
    .filter(([name]) => name !== 'server_version')
    .map(([name, value]) => `${name} ${value}`)
    .join(', ')
}

function renderComparisons(comparisons: readonly Comparison[]): string[] {
  if (comparisons.length === 0) return []
  const rate = (figures: Figures): string =>
    Math.round(figures.transfersPerSecond).toLocaleString('en')
  const speed = comparisons.map(({ name, daybook, peer, ratio }) => [
    name,
    rate(daybook),
    rate(peer),
    ratio.toFixed(1),
    latencyText(daybook),
    latencyText(peer),
    failuresText(daybook, peer),
  ])
  const cores = comparisons.map(({ name, daybook, peer }) => [
    name,
    coresText(daybook),
    coresText(peer),
    String(daybook.connections),
    `${peer.connections} / ${peer.poolSize}`,
    spreadText(daybook),
    spreadText(peer),
  ])
  return [
    '## Transfers per second, and latency of a request',
    '',
    ...table(
      [
        'workload',
        'Daybook /s',
        'peer /s',
        'ratio',
        'Daybook p50 / p95 / p99 / max ms',
        'peer p50 / p95 / p99 / max ms',
        'failed',
      ],
      speed,
    ),
    '',
    '## Cores kept busy (server / its main thread / Postgres / generator), and how each was driven',
    '',
    ...table(
      [
        'workload',
        'Daybook cores',
        'peer cores',
        'connections',
        'peer connections / pool',
        'Daybook rounds',
        'peer rounds',
      ],
      cores,
    ),
    '',
  ]
}

function latencyText({ latencyMs }: Figures): string {
  return [latencyMs.p50, latencyMs.p95, latencyMs.p99, latencyMs.max]
    .map((value) => value.toFixed(1))
    .join(' / ')
}

/** As the column's head says. */
export function coresText({ cores }: Figures): string {
  return [cores.server, cores.mainThread, cores.postgres, cores.generator]
    .map((value) => value.toFixed(2))
    .join(' / ')
}

function spreadText({ rounds }: Figures): string {
  const thousands = (value: number): string => `${(value / 1000).toFixed(1)}k`
  return `${thousands(Math.min(...rounds))} to ${thousands(Math.max(...rounds))}`
}

function failuresText(...all: Figures[]): string {
  return all.map((figures) => figures.failed + figures.unanswered).join(' / ')
}

function renderMemory(memory: MemoryFigures | undefined): string[] {
  if (!memory) return []
  const { rows, accountBytes, accountBytesWorst, idBytes, idBytesWorst } = memory
  return [
    '## Memory',
    '',
    ...table(
      ['', `bytes each at ${rows.toLocaleString('en')}`, 'worst on the way there'],
      [
        ['plain account', accountBytes.toFixed(1), accountBytesWorst.toFixed(1)],
        ['remembered transaction id', idBytes.toFixed(1), idBytesWorst.toFixed(1)],
      ],
    ),
    '',
  ]
}

export function renderTargets(targets: readonly Target[]): string[] {
  if (targets.length === 0) return []
  return [
    '## Targets',
    '',
    ...table(
      ['target', 'wanted', 'measured', ''],
      targets.map(({ what, wanted, measured, reached }) => [
        what,
        wanted,
        measured,
        reached ? 'reached' : 'NOT reached',
      ]),
    ),
    '',
  ]
}

/** A Markdown table with columns as wide as their widest cell. */
export function table(head: string[], rows: string[][]): string[] {
  const widths = head.map((cell, column) =>
    Math.max(3, cell.length, ...rows.map((row) => row[column].length)),
  )
  const line = (cells: string[]): string =>
    `| ${cells.map((cell, column) => cell.padEnd(widths[column])).join(' | ')} |`
  return [line(head), line(widths.map((width) => '-'.repeat(width))), ...rows.map(line)]
}
