import { type AccountQuery, accountRecords } from '../journal/account-records.js'
import { archivedReader } from '../journal/archived-store.js'
import {
  type PartitionOverview,
  partitionsOverview,
  type StreamOverview,
  streamOverview,
} from '../journal/book-overview.js'
import { parseBookPosition } from '../journal/book-position.js'
import { type BookRows, readBookRows, streamsOf } from '../journal/book-rows.js'
import { digestChain } from '../journal/digest.js'
import { plainReader } from '../journal/reader.js'
import { recordInWords, recordJson } from '../journal/record-json.js'
import type { JournalSession } from '../journal/session.js'
import { keyOf } from '../key.js'
import { anchorOf } from '../snapshots/anchor.js'
import { bookAccess, journalOf, withConnection } from './book-access.js'
import {
  type Command,
  type CommandContext,
  type CommandWords,
  ExitCode,
  UsageError,
} from './command.js'
import { table } from './table.js'

const limitByDefault = 100

export const inspectCommand: Command = {
  name: 'inspect',
  summary: 'show the book, a record, or the records of an account',
  help: `daybook inspect [--heads] [--json]
daybook inspect record <stream>-<seq> [--json]
daybook inspect account <id> [--tenant N] [--limit N] [--json]

Shows the book with its streams and partitions; one record, decoded; or the records that touched an
account, in order. Only reads, locks nothing, and may be used while a server runs.

  --heads      only the heads of the streams, as verify --anchor takes them
  --tenant N   tenant of the account (1)
  --limit N    the newest N records of the account (${limitByDefault})
`,
  options: { heads: { type: 'boolean' }, tenant: { type: 'string' }, limit: { type: 'string' } },
  async run(words, context) {
    const [what, id, ...rest] = words.positionals
    if (rest.length > 0) throw new UsageError(`what is ${JSON.stringify(rest[0])}?`)
    if (what === undefined) return await inspectBook(words, context)
    if (what === 'record' && id !== undefined) return await inspectRecord(id, context)
    if (what === 'account' && id !== undefined) return await inspectAccount(id, words, context)
    throw new UsageError('inspect takes nothing, record <stream>-<seq>, or account <id>')
  },
}

async function inspectBook(words: CommandWords, context: CommandContext): Promise<ExitCode> {
  const access = await bookAccess(context)
  const { book, partitions } = await withConnection(access, async (connection) => ({
    book: await readBookRows(connection),
    partitions: await partitionsOverview(connection),
  }))
  if (words.flags.has('heads')) {
    const anchor = anchorOf(book, new Date())
    context.print(anchor, () => `${JSON.stringify(anchor, undefined, 2)}\n`)
    return ExitCode.fine
  }
  const session = await journalOf(access, context).open()
  const streams = await overviews(session, book).finally(() => session.close())
  const { id, createdAt, generation, recordVersion } = book
  const shards = streamsOf(book, generation).length
  const shown = { id, createdAt: createdAt.toISOString(), generation, recordVersion, shards }
  context.print({ book: shown, streams, partitions }, () => bookInWords(shown, streams, partitions))
  return ExitCode.fine
}

async function overviews(session: JournalSession, book: BookRows): Promise<StreamOverview[]> {
  const nowMs = Date.now()
  const streams: StreamOverview[] = []
  for (const stream of book.streams) streams.push(await streamOverview(session, stream, nowMs))
  return streams
}

async function inspectRecord(text: string, context: CommandContext): Promise<ExitCode> {
  const [place, ...others] = parseBookPosition(text) ?? []
  if (place === undefined || others.length > 0 || place[1] < 1) {
    throw new UsageError(`${text} is not the position of a record, such as 1-17`)
  }
  const [stream, seq] = place
  const access = await bookAccess(context)
  const reader = archivedReader(plainReader(access.database), journalOf(access, context))
  const words = await reader.readRecord(stream, seq)
  const record = recordJson(words, 0, { stream, seq })
  context.print(record, () => `${recordInWords(record)}\n${JSON.stringify(record, undefined, 2)}\n`)
  return ExitCode.fine
}

async function inspectAccount(
  text: string,
  { values }: CommandWords,
  context: CommandContext,
): Promise<ExitCode> {
  const tenant = count('--tenant', values.tenant, 1)
  const key = keyOf(tenant, text)
  if (key === undefined) throw new UsageError(`${JSON.stringify(text)} is not the id of an account`)
  const query: AccountQuery = { tenant, key, limit: count('--limit', values.limit, limitByDefault) }
  const access = await bookAccess(context)
  const book = await withConnection(access, readBookRows)
  const session = await journalOf(access, context).open()
  const records = await accountRecords(session, book, query, {
    chain: digestChain(context.config.book.digestKey),
    onProgress: (done, total) => context.progress.report('records', done, total),
  }).finally(() => session.close())
  context.progress.end()
  context.print({ account: text, tenant, records }, () =>
    records.length === 0
      ? `no record touches ${text} of tenant ${tenant}\n`
      : `${records.map(recordInWords).join('\n')}\n`,
  )
  return ExitCode.fine
}

function count(option: string, text: string | undefined, otherwise: number): number {
  if (text === undefined) return otherwise
  if (/^[1-9]\d{0,8}$/.test(text)) return Number(text)
  throw new UsageError(`${option} must be a whole number above zero, not ${text}`)
}

function bookInWords(
  book: {
    id: string
    createdAt: string
    generation: number
    recordVersion: number
    shards: number
  },
  streams: readonly StreamOverview[],
  partitions: readonly PartitionOverview[],
): string {
  const megabytes = (bytes: number) => `${(bytes / 1e6).toFixed(1)} MB`
  const streamRows = streams.map((row) => [
    ...[row.stream, row.generation, row.closed ? 'closed' : 'open', row.epoch, row.head],
    ...[row.bytesEstimated === null ? '' : megabytes(row.bytesEstimated)],
    ...[row.recordsLastMinute ?? '', row.lastRecordAt ?? '', row.digest.slice(0, 16)],
    row.owner ?? '',
  ])
  const headings = ['stream', 'generation', 'state', 'epoch', 'head', 'about']
  return [
    `book ${book.id} of ${book.createdAt}, generation ${book.generation}, ` +
      `${book.shards} shard${book.shards === 1 ? '' : 's'}, records of version ${book.recordVersion}\n`,
    table([...headings, 'last minute', 'last record', 'digest', 'owner'], streamRows),
    table(
      ['partition', 'size', 'chunks'],
      partitions.map((row) => [row.partition, megabytes(row.bytes), `about ${row.rowsEstimated}`]),
    ),
  ].join('\n')
}
