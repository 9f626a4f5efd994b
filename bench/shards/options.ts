import { parseArgs } from 'node:util'
import { type Options, positive } from '../options.js'

/** What the command line of the benchmark of shards asks for, filled in. */
export interface ShardsOptions extends Options {
  /** Numbers of shards, ascending. */
  shards: readonly number[]
  /** Part of the name of the spreads that are run. */
  spread: string
}

/** Slots are grouped by their remainder modulo 4 (spread.ts), which says the shard of these only. */
const SHARDS = [1, 2, 4]
const SHARDS_OF_SHORT_RUN = [1, 2]

export const SHARDS_USAGE = `npm run bench:shards -- [options]
  --short            under a minute: one round of very short runs, cold; to see that it works
  --shards LIST      numbers of shards, of 1, 2 and 4 (default 1,2,4; short 1,2)
  --seconds N        measured seconds of each run (default 5)
  --rounds N         rounds; figures are their medians (default 3)
  --only PATTERN     only loads whose name contains PATTERN, e.g. singles-64, batches, striped
  --spread PATTERN   only spreads whose name contains PATTERN, e.g. "100 %"
  --connections N    connections to Daybook in batch loads (default 4)
  --profile PATH     let each Daybook write CPU profiles there, for dist/bench/profile.js
  --directory PATH   where the database is put (default ./data/bench)
  --write            write bench/shards-results.md and bench/shards-results.json
`

/** Throws on an unknown option or a number that is none. */
export function readShardsOptions(words: string[]): ShardsOptions {
  const { values } = parseArgs({
    args: words,
    options: {
      short: { type: 'boolean', default: false },
      shards: { type: 'string' },
      seconds: { type: 'string' },
      rounds: { type: 'string' },
      connections: { type: 'string' },
      only: { type: 'string', default: '' },
      spread: { type: 'string', default: '' },
      profile: { type: 'string' },
      directory: { type: 'string', default: 'data/bench' },
      write: { type: 'boolean', default: false },
    },
  })
  const { short } = values
  return Object.freeze({
    shards: readShards(values.shards) ?? (short ? SHARDS_OF_SHORT_RUN : SHARDS),
    seconds: positive('seconds', values.seconds, short ? 0.3 : 5),
    warmupSeconds: short ? 0.2 : 1.5,
    rounds: positive('rounds', values.rounds, short ? 1 : 3),
    sweepSeconds: 2,
    batchConnections: positive('connections', values.connections, 4),
    only: values.only,
    directory: values.directory,
    write: values.write,
    short,
    spread: values.spread,
    profile: values.profile,
    command: ['npm run bench:shards', ...(words.length > 0 ? ['--', ...words] : [])].join(' '),
  })
}

function readShards(text: string | undefined): number[] | undefined {
  if (text === undefined) return undefined
  const shards = [...new Set(text.split(',').map(Number))].sort((a, b) => a - b)
  if (shards.every((count) => SHARDS.includes(count))) return shards
  throw new Error(`--shards takes a list of ${SHARDS.join(', ')}, not "${text}"`)
}
