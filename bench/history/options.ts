import { parseArgs } from 'node:util'
import { positive, type RunOptions } from '../options.js'
import type { Stage } from '../stage.js'

/** What each part has to work with. */
export interface HistoryBench extends Stage {
  options: HistoryOptions
}

/** The parts, in the order in which they run. */
const partNames = ['rebuild', 'catch-up', 'lag', 'singles', 'page', 'feed', 'old-ids'] as const
export type PartName = (typeof partNames)[number]

/** What the command line of the benchmark of the history asks for, filled in. */
export interface HistoryOptions extends RunOptions {
  only: readonly PartName[]
  short: boolean
  /** Is printed above the results. */
  note: string | undefined
  sizes: Sizes
}

/** How much of everything; the long form is what the targets are of. */
interface Sizes {
  accounts: number
  /** Records of the journal that is rebuilt, and that is there before a follower catches up. */
  records: number
  catchUpRecords: number
  singlesSeconds: number
  /** Entries of the account whose pages are read; as many others lie between them. */
  entries: number
  pages: number
  feedSeconds: number
  oldIds: number
  retries: number
  newIds: number
}

const longSizes: Sizes = {
  accounts: 100_000,
  records: 1_000_000,
  catchUpRecords: 300_000,
  singlesSeconds: 20,
  entries: 1_000_000,
  pages: 2000,
  feedSeconds: 30,
  oldIds: 1_000_000,
  retries: 2000,
  newIds: 100_000,
}

const shortSizes: Sizes = {
  accounts: 20_000,
  records: 150_000,
  catchUpRecords: 80_000,
  singlesSeconds: 6,
  entries: 50_000,
  pages: 250,
  feedSeconds: 6,
  oldIds: 80_000,
  retries: 300,
  newIds: 8000,
}

export const HISTORY_USAGE = `npm run bench:history -- [options]
  --short            under three minutes: small books, short runs; for a look, not for publishing
  --only LIST        only these of ${partNames.join(', ')}
  --seconds N        seconds of posting in lag (default 600; short 30)
  --pairs N          pairs of runs in singles (default 10; short 1)
  --note TEXT        is printed above the results
  --directory PATH   where the database is put (default ./data/bench)
  --write            write bench/history-results.md and bench/history-results.json
`

/** Throws on an unknown option, a part that is none, or a number that is none. */
export function readHistoryOptions(words: string[]): HistoryOptions {
  const { values } = parseArgs({
    args: words,
    options: {
      short: { type: 'boolean', default: false },
      only: { type: 'string' },
      seconds: { type: 'string' },
      pairs: { type: 'string' },
      note: { type: 'string' },
      directory: { type: 'string', default: 'data/bench' },
      write: { type: 'boolean', default: false },
    },
  })
  const { short, note, directory, write } = values
  return Object.freeze({
    ...{ short, note, directory, write },
    only: readParts(values.only),
    seconds: positive('seconds', values.seconds, short ? 30 : 600),
    warmupSeconds: short ? 2 : 5,
    rounds: positive('pairs', values.pairs, short ? 1 : 10),
    sizes: short ? shortSizes : longSizes,
    command: ['npm run bench:history', ...(words.length > 0 ? ['--', ...words] : [])].join(' '),
  })
}

function readParts(text: string | undefined): readonly PartName[] {
  if (text === undefined) return partNames
  const asked = text.split(',')
  const unknown = asked.find((name) => !partNames.includes(name as PartName))
  if (unknown !== undefined) {
    throw new Error(`--only takes a list of ${partNames.join(', ')}, not "${unknown}"`)
  }
  return partNames.filter((name) => asked.includes(name))
}
