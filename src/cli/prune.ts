import { readLayout } from '../journal/take-over.js'
import { pruneSnapshots } from '../snapshots/prune.js'
import { bookAccess, withConnection } from './book-access.js'
import {
  type Command,
  type CommandContext,
  type CommandWords,
  ExitCode,
  UsageError,
} from './command.js'
import { openSnapshots } from './snapshot-access.js'

export const pruneCommand: Command = {
  name: 'prune',
  summary: 'remove old snapshots, and what builds that broke off have left',
  help: `daybook prune [--keep <number>] [--json]

Removes all snapshots but the newest, and what nobody is building any more. The journal is not
touched: see daybook archive.

  --keep <number>   how many stay, at least 1; otherwise as many as DAYBOOK_SNAPSHOTS_KEPT says
`,
  options: { keep: { type: 'string' } },
  run: runPrune,
}

async function runPrune(words: CommandWords, context: CommandContext): Promise<ExitCode> {
  const { keep = String(context.config.process.snapshots?.kept ?? 1) } = words.values
  if (!/^[1-9]\d{0,5}$/.test(keep)) throw new UsageError('--keep must be a number from 1 on')
  const access = await bookAccess(context)
  const { bookId } = await withConnection(access, readLayout)
  const store = openSnapshots(context, access.connectionString)
  const { removed, swept } = await pruneSnapshots(store, bookId, Number(keep))
  context.print({ bookId, removed, swept }, () =>
    [
      ...removed.map((id) => `removed snapshot ${id}`),
      ...(swept === 0 ? [] : [`removed what ${swept} unfinished builds had left`]),
      ...(removed.length + swept === 0 ? ['there was nothing to remove'] : []),
      '',
    ].join('\n'),
  )
  return ExitCode.fine
}
