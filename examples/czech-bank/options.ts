import { parseArgs } from 'node:util'
import { SEEDED_MOVEMENTS } from './seeded-book.js'

export const HELP = `Posts a bank's year into Daybook over HTTP and compares every account with the
expected totals.

  npm run example                       a Daybook of its own, in data/example
  npm run example -- --url http://127.0.0.1:3000

  --data FOLDER     where czech-bank-1993.csv.gz and .expected.csv are
                    (default: ../shared/data beside the project, if it is there)
  --seeded          a made book of the same shape; also what is used without the files
  --seed N          which made book (default 1993)
  --movements N     how many movements the made book has (default ${SEEDED_MOVEMENTS})
  --url URL         use the Daybook that runs there instead of starting one
  --batch N         transactions a request, 1 to 8190 (default 1000)
  --prove           afterwards post everything again, kill -9 Daybook, start it
                    again, and compare again
  --help            this text

It can be stopped with Ctrl-C and run again at any time: nothing is posted twice.
DAYBOOK_DATA_DIR puts the data of the Daybook it starts elsewhere.
Exit code 0: all accounts match; 1: not so, or it failed; 2: wrong options.
`

export interface Options {
  readonly help: boolean
  readonly dataFolder: string | undefined
  readonly seeded: boolean
  readonly seed: number
  readonly movements: number
  readonly url: string | undefined
  readonly batchSize: number
  readonly prove: boolean
}

/** Options that do not go together, or that cannot be read. */
export class OptionsError extends Error {
  override readonly name = 'OptionsError'
}

/** Reads the command line; throws OptionsError with a sentence for the reader. */
export function readOptions(args: readonly string[]): Options {
  const values = parse(args)
  const made = values.seed !== undefined || values.movements !== undefined
  if (made && !values.seeded) throw new OptionsError('--seed and --movements go with --seeded')
  if (values.seeded && values.data !== undefined) {
    throw new OptionsError('--seeded and --data exclude each other')
  }
  if (values.prove && values.url !== undefined) {
    throw new OptionsError('--prove kills Daybook, so it must be one that the example started')
  }
  if (values.url !== undefined && !/^https?:\/\/./.test(values.url)) {
    throw new OptionsError('--url must begin with http://')
  }
  return {
    help: values.help,
    dataFolder: values.data,
    seeded: values.seeded,
    seed: readCount('seed', values.seed ?? '1993', { least: 0, most: 2 ** 32 - 1 }),
    movements: readCount('movements', values.movements ?? String(SEEDED_MOVEMENTS), {
      least: 1,
      most: 10_000_000,
    }),
    url: values.url,
    batchSize: readCount('batch', values.batch, { least: 1, most: 8_190 }),
    prove: values.prove,
  }
}

function parse(args: readonly string[]) {
  try {
    return parseArgs({
      args: [...args],
      options: {
        help: { type: 'boolean', short: 'h', default: false },
        data: { type: 'string' },
        seeded: { type: 'boolean', default: false },
        seed: { type: 'string' },
        movements: { type: 'string' },
        url: { type: 'string' },
        batch: { type: 'string', default: '1000' },
        prove: { type: 'boolean', default: false },
      },
    }).values
  } catch (error) {
    throw new OptionsError((error as Error).message, { cause: error })
  }
}

function readCount(name: string, text: string, bounds: { least: number; most: number }): number {
  const count = /^\d{1,10}$/.test(text) ? Number.parseInt(text, 10) : Number.NaN
  if (!(count >= bounds.least && count <= bounds.most)) {
    throw new OptionsError(`--${name} must be from ${bounds.least} to ${bounds.most}`)
  }
  return count
}
