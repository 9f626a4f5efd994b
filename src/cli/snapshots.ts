import { readLayout } from '../journal/take-over.js'
import { snapshotFault } from '../snapshots/choose-snapshot.js'
import { decodeManifest, type SnapshotManifest } from '../snapshots/manifest.js'
import type { StoredSnapshot } from '../snapshots/store.js'
import { bookAccess, journalOf, withConnection } from './book-access.js'
import { type Command, type CommandContext, ExitCode } from './command.js'
import { openSnapshots } from './snapshot-access.js'
import { table } from './table.js'

export const snapshotsCommand: Command = {
  name: 'snapshots',
  summary: 'list the snapshots of the book, newest first',
  help: `daybook snapshots [--json]

Lists the snapshots of the book in the store of DAYBOOK_SNAPSHOTS, and says which of them a start
would not use, and why. Blocks are not read here: daybook verify does that.
`,
  options: {},
  run: runSnapshots,
}

async function runSnapshots(_words: unknown, context: CommandContext): Promise<ExitCode> {
  const access = await bookAccess(context)
  const book = await withConnection(access, readLayout)
  const session = await journalOf(access, context).open()
  context.onEnd(async () => session.close())
  const list: Described[] = []
  for (const stored of await openSnapshots(context, access.connectionString).list(book.bookId)) {
    const fault = await snapshotFault(stored, book, session)
    list.push({ ...describe(stored), ...(fault === undefined ? {} : { fault }) })
  }
  context.print({ bookId: book.bookId, snapshots: list }, () => inWords(list))
  return ExitCode.fine
}

interface Described {
  id: string
  createdAt?: string
  generation?: number
  position?: string
  records?: number
  accounts?: number
  transactions?: number
  holds?: number
  bytes?: number
  /** Why a start passes it over. */
  fault?: string
}

function describe({ id, manifest }: StoredSnapshot): Described {
  const read = readable(manifest)
  if (read === undefined) return { id }
  const { createdAt, generation, records, streams, blocks } = read
  const sum = (of: 'accounts' | 'transactions' | 'holds') =>
    streams.reduce((total, stream) => total + stream[of], 0)
  return {
    id,
    createdAt: new Date(createdAt).toISOString(),
    generation,
    position: streams.map(({ stream, seq }) => `${stream}-${seq}`).join(),
    records,
    accounts: sum('accounts'),
    transactions: sum('transactions'),
    holds: sum('holds'),
    bytes: blocks.reduce((total, { bytes }) => total + bytes, 0),
  }
}

function readable(manifest: Buffer): SnapshotManifest | undefined {
  try {
    return decodeManifest(manifest)
  } catch {
    return undefined
  }
}

function inWords(list: readonly Described[]): string {
  if (list.length === 0) return 'there are no snapshots\n'
  const rows = list.map((each) => [
    each.id,
    each.createdAt ?? '',
    each.position ?? '',
    each.records ?? '',
    each.accounts ?? '',
    each.transactions ?? '',
    each.bytes === undefined ? '' : `${(each.bytes / 1e6).toFixed(1)} MB`,
    each.fault ?? 'usable',
  ])
  return table(
    ['snapshot', 'made at', 'position', 'records', 'accounts', 'transactions', 'size', 'state'],
    rows,
  )
}
