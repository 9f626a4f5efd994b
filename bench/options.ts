import { parseArgs } from 'node:util'

/** What every benchmark asks its command line for, filled in. */
export interface RunOptions {
  /** Measured seconds of each run, and seconds before them that are not measured. */
  seconds: number
  warmupSeconds: number
  rounds: number
  /** Where the cluster is made; a temporary folder inside it is removed afterwards. */
  directory: string
  /** Write the results into bench/. */
  write: boolean
  /** The command as it was given, for the results. */
  command: string
}

/** What those ask for that put load on servers. */
export interface Options extends RunOptions {
  /** Seconds for each pool size when the peer's best is looked for. */
  sweepSeconds: number
  /** Connections to Daybook in batch workloads. */
  batchConnections: number
  /** Only workloads whose name contains this. */
  only: string
  short: boolean
  /** Where Daybook leaves CPU profiles; it then is a little slower. */
  profile: string | undefined
}

/**
 * With four a batch can be read while one is decided, one is committed and one is answered; more
 * only wait for each other.
 */
const BATCH_CONNECTIONS = 4

export const USAGE = `npm run bench -- [options]
  --short            about two minutes: one round, short runs; for a look, not for publishing
  --seconds N        measured seconds of each run (default 8)
  --rounds N         rounds of each workload; figures are their medians (default 3)
  --only PATTERN     only workloads whose name contains PATTERN, e.g. singles-64, binary, memory
  --connections N    connections to Daybook in batch workloads (default 4)
  --directory PATH   where the database is put (default ./data/bench)
  --profile PATH     let Daybook write CPU profiles there, for dist/bench/profile.js
  --write            write bench/results.md and bench/results.json
`

/** Throws on an unknown option or a number that is none. */
export function readOptions(words: string[]): Options {
  const { values } = parseArgs({
    args: words,
    options: {
      short: { type: 'boolean', default: false },
      seconds: { type: 'string' },
      rounds: { type: 'string' },
      connections: { type: 'string' },
      only: { type: 'string', default: '' },
      directory: { type: 'string', default: 'data/bench' },
      profile: { type: 'string' },
      write: { type: 'boolean', default: false },
    },
  })
  const { short } = values
  return Object.freeze({
    seconds: positive('seconds', values.seconds, short ? 1.5 : 8),
    warmupSeconds: short ? 1 : 2,
    rounds: positive('rounds', values.rounds, short ? 1 : 3),
    sweepSeconds: short ? 0.7 : 2,
    batchConnections: positive('connections', values.connections, BATCH_CONNECTIONS),
    only: values.only,
    directory: values.directory,
    write: values.write,
    short,
    profile: values.profile,
    command: ['npm run bench', ...(words.length > 0 ? ['--', ...words] : [])].join(' '),
  })
}

/** The number that `text` says, above zero. */
export function positive(name: string, text: string | undefined, otherwise: number): number {
  if (text === undefined) return otherwise
  const value = Number(text)
  if (!(value > 0)) throw new Error(`--${name} takes a number above zero, not "${text}"`)
  return value
}
