import { open, rename } from 'node:fs/promises'
import { dirname } from 'node:path'
import { digestChain } from '../journal/digest.js'
import { postgresStore } from '../journal/postgres-session.js'
import { type Anchor, anchorOf, readAnchor } from '../snapshots/anchor.js'
import { type VerifyResult, verifyJournal } from '../snapshots/verify-journal.js'
import { bookAccess } from './book-access.js'
import {
  type Command,
  type CommandContext,
  type CommandWords,
  ExitCode,
  UsageError,
} from './command.js'

export const verifyCommand: Command = {
  name: 'verify',
  summary: 'check the journal against tampering and damage',
  help: `daybook verify [--anchor <file>] [--write-anchor <file>] [--json]

Reads the whole journal and checks the digest chain of every stream, every record, and the messages
between the streams: a changed, missing, inserted or swapped row is found, and the first bad position
of each stream named. Only reads; a server may be writing. Ends with 4 if something is found.

  --anchor <file>         also against heads that were written to a file before: finds an end that
                          was cut off, or a journal that was written anew
  --write-anchor <file>   afterwards, if nothing was found, write the heads to a file. Keep it where
                          nobody who can change the database can change it
`,
  options: { anchor: { type: 'string' }, 'write-anchor': { type: 'string' } },
  run: runVerify,
}

async function runVerify(words: CommandWords, context: CommandContext): Promise<ExitCode> {
  if (words.positionals.length > 0) throw new UsageError('verify takes options only')
  const { anchor: anchorPath, 'write-anchor': newAnchorPath } = words.values
  const anchor = anchorPath === undefined ? undefined : await anchorIn(anchorPath)
  const { database } = await bookAccess(context)
  const startedAt = performance.now()
  const result = await verifyJournal({
    ...{ database, store: postgresStore(database), anchor },
    chain: digestChain(context.config.book.digestKey),
    onProgress: (done, total) => context.progress.report('records', done, total),
  })
  context.progress.end()
  const seconds = (performance.now() - startedAt) / 1000
  const isFine = result.findings.length === 0
  const heads = anchorOf(result.book, new Date())
  if (isFine && newAnchorPath !== undefined) await writeAnchor(newAnchorPath, heads)
  const { findings, records } = result
  context.print({ bookId: heads.bookId, records, seconds, heads: heads.heads, findings }, () =>
    inWords(result, seconds, anchor),
  )
  return isFine ? ExitCode.fine : ExitCode.damaged
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

function inWords(
  { book, records, findings }: VerifyResult,
  seconds: number,
  anchor: Anchor | undefined,
): string {
  const streams = book.streams.length
  const against = anchor === undefined ? '' : `, against heads of ${anchor.writtenAt}`
  const read = `${records} records of ${streams} stream${streams === 1 ? '' : 's'}${against}`
  const lines = findings.map(({ stream, seq, lastSeq, code, what }) => {
    const range = lastSeq > seq ? ` to ${stream}-${lastSeq}` : ''
    return `${stream}-${seq}${range}  ${code.replace('_', ' ')}: ${what}`
  })
  const verdict =
    findings.length === 0
      ? `book ${book.id} is whole: ${read} in ${seconds.toFixed(1)} s`
      : `book ${book.id} is DAMAGED (${read} in ${seconds.toFixed(1)} s); first bad position of each stream:`
  return `${[verdict, ...lines].join('\n')}\n`
}
