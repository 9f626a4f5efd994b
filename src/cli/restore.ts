import { parseBookPosition } from '../journal/book-position.js'
import { digestChain } from '../journal/digest.js'
import { type RestoreResult, restore } from '../snapshots/restore.js'
import type { RestorePoint } from '../snapshots/restore-cut.js'
import { accessTo, bookAccess, journalOf } from './book-access.js'
import {
  type Command,
  type CommandContext,
  type CommandWords,
  ExitCode,
  UsageError,
} from './command.js'
import { openSnapshots } from './snapshot-access.js'

export const restoreCommand: Command = {
  name: 'restore',
  summary: 'copy the book as it was at a position or a moment into an empty database',
  help: `daybook restore --to <position|time> --into <database> [--from <database>] [--json]

Copies streams and journal as they were then into an empty database, where they become a book of
their own, with a new id: point DATABASE_URL of a server at it. The source is only read; it may be
in use.

  --to <position>     a seq in every stream of one generation: 1-500,2-300. It is refused, and the
                      record named, if it is not closed under messages between the streams
  --to <time>         ISO 8601, with a zone: 2026-03-31T23:59:59.999Z. What happened then is in
  --into <database>   connection string; the database must exist and be empty. One that a restore
                      was broken off in is started over
  --from <database>   connection string; otherwise the database of the settings

Until all is there, no server starts on the target. Interrupted or failed, run it again.
`,
  options: {
    to: { type: 'string' },
    into: { type: 'string' },
    from: { type: 'string' },
  },
  run: runRestore,
}

async function runRestore(words: CommandWords, context: CommandContext): Promise<ExitCode> {
  const { to, into, from } = words.values
  if (words.positionals.length > 0 || to === undefined || into === undefined) {
    throw new UsageError('restore needs --to and --into; see daybook restore --help')
  }
  const point = restorePoint(to)
  const target = databaseAddress('--into', into)
  const source =
    from === undefined ? await bookAccess(context) : accessTo(databaseAddress('--from', from))
  const startedAt = performance.now()
  const result = await restore({
    source: {
      database: source.database,
      store: journalOf(source, context),
      ...snapshotsOf(context, source.connectionString),
    },
    target: { connectionString: target, ...snapshotsOf(context, target) },
    to: point,
    chain: digestChain(context.config.book.digestKey),
    onProgress: (done, total) => context.progress.report('records', done, total),
    log: context.log,
  })
  context.progress.end()
  const seconds = (performance.now() - startedAt) / 1000
  context.print({ ...result, seconds }, () => inWords(result, seconds))
  return ExitCode.fine
}

/** Nothing if snapshots are off. */
function snapshotsOf(context: CommandContext, connectionString: string) {
  const isOff = context.config.process.snapshots === undefined
  return isOff ? {} : { snapshots: openSnapshots(context, connectionString) }
}

/** Reads what stands behind --to. */
function restorePoint(text: string): RestorePoint {
  const position = parseBookPosition(text)
  if (position !== undefined) return { position }
  const timeMs = momentPattern.test(text) ? Date.parse(text) : Number.NaN
  if (Number.isNaN(timeMs)) {
    throw new UsageError(
      `--to ${text} is neither a position such as 1-500,2-300 nor a time such as 2026-03-31T23:59:59Z`,
    )
  }
  return { timeMs }
}

/** A time without a zone would mean another moment on another machine. */
const momentPattern = /^\d{4}-\d\d-\d\dT\d\d:\d\d(?::\d\d(?:\.\d{1,3})?)?(?:Z|[+-]\d\d:\d\d)$/

function databaseAddress(option: string, text: string): string {
  if (/^postgres(?:ql)?:\/\//.test(text)) return text
  throw new UsageError(`${option} must be a connection string, postgres://…`)
}

function inWords(result: RestoreResult, seconds: number): string {
  const { leftOut, unapplied } = result
  const count = (n: number, what: string) => `${n} ${what}${n === 1 ? '' : 's'}`
  return [
    `book ${result.sourceBookId} at ${result.position} (generation ${result.generation})`,
    `is now book ${result.bookId}: ${count(result.records, 'record')} in ${seconds.toFixed(1)} s`,
    ...leftOut.map(
      ({ stream, records }) => `left out: ${count(records, 'record')} of stream ${stream}`,
    ),
    ...(leftOut.length === 0 ? ['left out: nothing'] : []),
    ...unapplied.map(
      ({ from, to, messages }) =>
        `${count(messages, 'message')} from stream ${from} to stream ${to} had not been applied: ` +
        'the first start applies them',
    ),
    result.snapshot === undefined
      ? 'no snapshot was copied: the first start reads the journal'
      : `snapshot ${result.snapshot} was copied`,
    '',
  ].join('\n')
}
