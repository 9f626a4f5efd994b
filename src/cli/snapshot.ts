import type { BuildSummary } from '../snapshots/build-worker.js'
import { SnapshotBuilder } from '../snapshots/builder.js'
import { bookAccess } from './book-access.js'
import { type Command, type CommandContext, ExitCode } from './command.js'
import { snapshotsAt } from './snapshot-access.js'

const timeoutMs = 60_000
/** What a build leaves alone: only `daybook prune` and the server remove snapshots. */
const keepAll = Number.MAX_SAFE_INTEGER

export const snapshotCommand: Command = {
  name: 'snapshot',
  summary: 'make a snapshot of the book as the journal has it now',
  help: `daybook snapshot [--json]

Builds a snapshot from the newest one and the journal after it, in the store of DAYBOOK_SNAPSHOTS.
It needs the database only, so that another machine than the server's can do the work; the server
may run or not, and the next start goes on from it. A book that has not moved gets no other one.
`,
  options: {},
  run: runSnapshot,
}

async function runSnapshot(_words: unknown, context: CommandContext): Promise<ExitCode> {
  const { connectionString } = await bookAccess(context)
  const builder = new SnapshotBuilder({
    connectionString,
    timeoutMs,
    digestKey: context.config.book.digestKey,
    archiveDirectory: context.config.process.archiveDirectory,
    snapshots: snapshotsAt(context, connectionString),
    transactionsMax: context.config.process.transactionsMax,
    keep: keepAll,
    share: 1,
  })
  context.onEnd(() => builder.close())
  const startedAt = performance.now()
  const { last: _, ...built } = await builder.build({
    onProgress: ({ step, stream, done, total }) =>
      context.progress.report(`${stepNames[step]} ${stream}`, done, total),
    onWarning: context.log,
  })
  context.progress.end()
  const seconds = (performance.now() - startedAt) / 1000
  context.print({ ...built, seconds }, () => inWords(built, seconds))
  return ExitCode.fine
}

const stepNames = {
  snapshot: 'rows of stream',
  journal: 'records of stream',
  storing: 'rows stored of stream',
}

function inWords(built: Omit<BuildSummary, 'last'>, seconds: number): string {
  const { id, position, records, accounts, transactions, holds, bytes } = built
  const what =
    `${records} records, ${accounts} accounts, ${transactions} transactions, ${holds} holds, ` +
    `${(bytes / 1e6).toFixed(1)} MB`
  return built.isNew
    ? `snapshot ${id} of ${position.join(',')} in ${seconds.toFixed(1)} s\n${what}\n`
    : `the book has not moved since snapshot ${id} of ${position.join(',')}\n${what}\n`
}
