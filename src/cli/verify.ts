import { open, rename } from 'node:fs/promises'
import { dirname } from 'node:path'
import { stripedParts } from '../actors/slot-index.js'
import type { DigestChain } from '../journal/batch.js'
import { digestChain } from '../journal/digest.js'
import type { JournalStore } from '../journal/session.js'
import { readLayout } from '../journal/take-over.js'
import { type Anchor, anchorOf, readAnchor } from '../snapshots/anchor.js'
import { type VerifiedBook, verifyBook } from '../snapshots/verify-book.js'
import { type VerifyResult, verifyJournal } from '../snapshots/verify-journal.js'
import { type LiveFinding, verifyLive } from '../snapshots/verify-live.js'
import { type BookAccess, bookAccess, journalOf, withConnection } from './book-access.js'
import {
  type Command,
  type CommandContext,
  type CommandWords,
  ExitCode,
  UsageError,
} from './command.js'
import { openSnapshots } from './snapshot-access.js'

export const verifyCommand: Command = {
  name: 'verify',
  summary: 'check the journal against tampering and damage',
  help: `daybook verify [--anchor <file>] [--write-anchor <file>] [--server <url>] [--journal-only] [--json]

Reads the whole journal and checks the digest chain of every stream, every record, and the messages
between the streams: a changed, missing, inserted or swapped row is found, and the first bad position
of each stream named. Then rebuilds the book from the journal alone, and again from each snapshot and
what comes after it: all must come to the same. Only reads; a server may be writing. The rebuilt book
takes as much memory as a server's. Ends with 4 if something is found.

  --anchor <file>         also against heads that were written to a file before: finds an end that
                          was cut off, or a journal that was written anew
  --write-anchor <file>   afterwards, if nothing was found, write the heads to a file. Keep it where
                          nobody who can change the database can change it
  --server <url>          also against what the server at this address has in memory, slot by slot,
                          while it goes on: http://127.0.0.1:3000
  --journal-only          do not rebuild the book
`,
  options: {
    anchor: { type: 'string' },
    'write-anchor': { type: 'string' },
    server: { type: 'string' },
    'journal-only': { type: 'boolean' },
  },
  run: runVerify,
}

async function runVerify(words: CommandWords, context: CommandContext): Promise<ExitCode> {
  if (words.positionals.length > 0) throw new UsageError('verify takes options only')
  const { anchor: anchorPath, 'write-anchor': newAnchorPath } = words.values
  const anchor = anchorPath === undefined ? undefined : await anchorIn(anchorPath)
  const server = serverAddress(words)
  const access = await bookAccess(context)
  const { database } = access
  const store = journalOf(access, context)
  const chain = digestChain(context.config.book.digestKey)
  const startedAt = performance.now()
  const journal = await verifyJournal({
    ...{ database, store, anchor, chain },
    onProgress: (done, total) => context.progress.report('records', done, total),
  })
  const isReadable = journal.findings.length === 0 && !words.flags.has('journal-only')
  const rebuilt = isReadable
    ? await rebuild(context, access, journal, { store, chain, server })
    : undefined
  context.progress.end()
  const seconds = (performance.now() - startedAt) / 1000
  const verified = { journal, anchor, seconds, ...rebuilt }
  const isFine = journal.findings.length + wrongOf(verified).length === 0
  const heads = anchorOf(journal.book, new Date())
  if (isFine && newAnchorPath !== undefined) await writeAnchor(newAnchorPath, heads)
  context.print(
    {
      ...{ bookId: heads.bookId, records: journal.records, seconds, heads: heads.heads },
      findings: journal.findings,
      digest: rebuilt?.book.digest,
      snapshots: rebuilt?.book.snapshots,
      snapshotFindings: rebuilt?.book.findings,
      liveFindings: rebuilt?.live,
    },
    () => inWords(verified),
  )
  return isFine ? ExitCode.fine : ExitCode.damaged
}

/** What verifying has come to so far. */
interface Verified extends Partial<Rebuilt> {
  journal: VerifyResult
  anchor: Anchor | undefined
  seconds: number
}

interface Rebuilt {
  book: VerifiedBook
  /** Undefined: no server was asked. */
  live: LiveFinding[] | undefined
}

async function rebuild(
  context: CommandContext,
  access: BookAccess,
  { book: rows }: VerifyResult,
  of: { store: JournalStore; chain: DigestChain; server: string | undefined },
): Promise<Rebuilt> {
  const { store, chain, server } = of
  const layout = await withConnection(access, readLayout)
  if (layout.layout.generation !== rows.generation) {
    throw new Error('another generation has been opened meanwhile: run it again')
  }
  const ends = rows.streams.map(({ id, head, digest }) => ({ stream: id, seq: head, digest }))
  const at = { book: layout, ends }
  const isOff = context.config.process.snapshots === undefined
  const book = await verifyBook(
    {
      ...{ store, chain, random: Math.random },
      snapshots: isOff ? undefined : openSnapshots(context, access.connectionString),
      onProgress: ({ step, done, total }) =>
        context.progress.report(
          step === 'journal' ? 'records rebuilt' : 'rows loaded',
          done,
          total,
        ),
    },
    at,
  )
  if (server === undefined) return { book, live: undefined }
  const live = await verifyLive(
    {
      ...{ url: server, store, chain },
      onProgress: (done, total) => context.progress.report('slots of the server', done, total),
    },
    at,
    book.books,
  )
  return { book, live }
}

function serverAddress(words: CommandWords): string | undefined {
  const { server } = words.values
  if (server === undefined) return undefined
  if (words.flags.has('journal-only')) {
    throw new UsageError('--server needs the rebuilt book: leave --journal-only out')
  }
  if (!URL.canParse(server) || !/^https?:/.test(server)) {
    throw new UsageError('--server must be an address such as http://127.0.0.1:3000')
  }
  return new URL(server).origin
}

async function anchorIn(path: string): Promise<Anchor> {
  try {
    return await readAnchor(path)
  } catch (error) {
    throw new UsageError(`--anchor ${path} cannot be used: ${(error as Error).message}`)
  }
}

/** An anchor of before is replaced by a whole one or not at all. */
export async function writeAnchor(path: string, anchor: Anchor): Promise<void> {
  const part = `${path}.part`
  const file = await open(part, 'w')
  try {
    await file.writeFile(`${JSON.stringify(anchor, undefined, 2)}\n`)
    await file.sync()
  } finally {
    await file.close()
  }
  await rename(part, path)
  const folder = await open(dirname(path), 'r')
  await folder.sync().finally(() => folder.close())
}

/** What is wrong with snapshots, and with the server. */
function wrongOf({ book, live }: Verified): string[] {
  return [
    ...(book?.findings ?? []).map(({ snapshot, what }) => `snapshot ${snapshot}: ${what}`),
    ...(live ?? []).map(({ stream, slot, seq }) => {
      const what = slot === stripedParts ? 'parts of striped accounts' : `slot ${slot}`
      return `server: ${what} of stream ${stream}, after ${stream}-${seq}, is not what the journal says`
    }),
  ]
}

function inWords(verified: Verified): string {
  const { journal, anchor, seconds, book, live } = verified
  const { records, findings } = journal
  const streams = journal.book.streams.length
  const against = anchor === undefined ? '' : `, against heads of ${anchor.writtenAt}`
  const read = `${records} records of ${streams} stream${streams === 1 ? '' : 's'}${against}`
  const lines = findings.map(({ stream, seq, lastSeq, code, what }) => {
    const range = lastSeq > seq ? ` to ${stream}-${lastSeq}` : ''
    return `${stream}-${seq}${range}  ${code.replace('_', ' ')}: ${what}`
  })
  const wrong = wrongOf(verified)
  const { id } = journal.book
  const verdict =
    findings.length + wrong.length === 0
      ? `book ${id} is whole: ${read} in ${seconds.toFixed(1)} s`
      : `book ${id} is DAMAGED (${read} in ${seconds.toFixed(1)} s); first bad position of each stream:`
  const compared = [
    ...(book === undefined ? [] : [`rebuilt from the journal: digest ${book.digest}`]),
    ...(book === undefined ? [] : [`compared with ${book.snapshots.length} snapshots`]),
    ...(live === undefined ? [] : ['compared with the memory of the server, all slots']),
  ]
  return `${[verdict, ...lines, ...wrong, ...compared].join('\n')}\n`
}
