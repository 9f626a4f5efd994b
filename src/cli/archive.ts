import { type BookPosition, parseBookPosition } from '../journal/book-position.js'
import { readBookRows } from '../journal/book-rows.js'
import { digestChain } from '../journal/digest.js'
import { postgresStore } from '../journal/postgres-session.js'
import { readLayout } from '../journal/take-over.js'
import { isUuid } from '../key.js'
import { type ArchiveResult, archiveJournal } from '../snapshots/archive.js'
import { putArchiveBack } from '../snapshots/archive-back.js'
import { snapshotFault } from '../snapshots/choose-snapshot.js'
import { decodeManifest } from '../snapshots/manifest.js'
import { cutAtPosition } from '../snapshots/restore-cut.js'
import type { StoredSnapshot } from '../snapshots/store.js'
import { type BookAccess, bookAccess, withConnection } from './book-access.js'
import {
  type Command,
  type CommandContext,
  type CommandWords,
  ExitCode,
  UsageError,
} from './command.js'
import { openSnapshots } from './snapshot-access.js'

export const archiveCommand: Command = {
  name: 'archive',
  summary: 'move the older part of the journal to compressed files, and back',
  help: `daybook archive --before <snapshot|position> --to <directory> [--json]
daybook archive --back <directory> [--json]

Moves the journal before a snapshot, or up to a position such as 1-500,2-300, to compressed files
with manifests and checksums. Each file is read back and checked before its rows are deleted. A
server may be running. What starts from an older snapshot, or from none, then needs the files: set
DAYBOOK_ARCHIVE_DIR, for the server and for these commands.

  --before    id of a snapshot (daybook snapshots), or a position; streams of older generations go
              whole
  --to        the directory; the same for every archive of a book
  --back      put everything back into the journal, checked, and remove the files

Interrupted or failed, run it again: it goes on where it was.
`,
  options: { before: { type: 'string' }, to: { type: 'string' }, back: { type: 'string' } },
  run: runArchive,
}

async function runArchive(words: CommandWords, context: CommandContext): Promise<ExitCode> {
  const { before, to, back } = words.values
  const isMove = before !== undefined && to !== undefined && back === undefined
  const isBack = back !== undefined && before === undefined && to === undefined
  if (words.positionals.length > 0 || !(isMove || isBack)) {
    throw new UsageError('archive needs --before and --to, or --back; see daybook archive --help')
  }
  const access = await bookAccess(context)
  const options = {
    database: access.database,
    store: postgresStore(access.database),
    directory: back ?? to ?? '',
    chain: digestChain(context.config.book.digestKey),
    onProgress: (done: number, total: number) => context.progress.report('records', done, total),
  }
  if (isMove) {
    const cut = await cutOf(before, access, context)
    const result = await archiveJournal(cut, options)
    context.progress.end()
    context.print(result, () => inWords(result))
  } else {
    const result = await putArchiveBack(options)
    context.progress.end()
    context.print(result, () => `${result.records} records are back in the journal\n`)
  }
  return ExitCode.fine
}

/** The position of a snapshot, or the one that was given. */
async function cutOf(
  text: string,
  access: BookAccess,
  context: CommandContext,
): Promise<{ generation: number; position: BookPosition }> {
  const book = await withConnection(access, readBookRows)
  const position = parseBookPosition(text)
  if (position !== undefined) return cutAtPosition(book, position)
  if (!isUuid(text)) {
    throw new UsageError(
      `--before ${text} is neither a snapshot nor a position such as 1-500,2-300`,
    )
  }
  const list = await openSnapshots(context, access.connectionString).list(book.id)
  const stored = list.find(({ id }) => id === text)
  if (stored === undefined) throw new Error(`the book has no snapshot ${text}`)
  await assertUsable(stored, access)
  const { streams, generation } = decodeManifest(stored.manifest)
  // A start from the snapshot may have to read again what was sent and not applied by then.
  const kept = streams.map(({ stream, checkpoint }) => [stream, checkpoint.afterSeq] as const)
  return { generation, position: new Map(kept) }
}

/** What is archived for its sake is to be done without. */
async function assertUsable(stored: StoredSnapshot, access: BookAccess): Promise<void> {
  const layout = await withConnection(access, readLayout)
  const session = await postgresStore(access.database).open()
  const fault = await snapshotFault(stored, layout, session).finally(() => session.close())
  if (fault !== undefined) throw new Error(`snapshot ${stored.id} cannot be used: ${fault}`)
}

function inWords({ moved, dropped }: ArchiveResult): string {
  const lines = moved.map(
    ({ stream, firstSeq, lastSeq, file, bytes }) =>
      `${stream}-${firstSeq} to ${stream}-${lastSeq}: ${file}, ${(bytes / 1e6).toFixed(1)} MB`,
  )
  if (lines.length === 0) lines.push('nothing was left to move')
  lines.push(...dropped.map((name) => `dropped the empty partition ${name}`))
  return `${lines.join('\n')}\n`
}
