import type { DigestChain } from '../journal/batch.js'
import { formatBookPosition } from '../journal/book-position.js'
import { type BookRows, layoutOf, readBookRows, type StreamRow } from '../journal/book-rows.js'
import type { Database } from '../journal/database.js'
import { MessageCounts } from '../journal/message-counts.js'
import { JournalFault, type JournalSession, type JournalStore } from '../journal/session.js'
import type { Layout } from '../layout.js'
import { ChunkSink } from './chunk-sink.js'
import { findCut, type RestoreCut, type RestorePoint } from './restore-cut.js'
import { RestoreTarget } from './restore-target.js'
import { copySnapshot } from './snapshot-copy.js'
import type { SnapshotStore } from './store.js'
import { copyStream } from './stream-copy.js'

export interface RestoreOptions {
  source: { database: Database; store: JournalStore; snapshots?: SnapshotStore }
  target: { connectionString: string; snapshots?: SnapshotStore }
  to: RestorePoint
  chain: DigestChain
  /** Records copied, and to copy in all. */
  onProgress(done: number, total: number): void
  log(message: string): void
}

export interface RestoreResult {
  /** Id of the new book, and of the one that was read. */
  bookId: string
  sourceBookId: string
  generation: number
  /** Of that generation, as `stream-seq,…`. */
  position: string
  records: number
  /** Records that the source has and the copy has not, by stream. */
  leftOut: { stream: number; records: number }[]
  /** Messages whose cause is in the copy and which had not been applied yet: a start applies them. */
  unapplied: { from: number; to: number; messages: number }[]
  /** Id of the snapshot that was copied. */
  snapshot: string | undefined
}

/**
 * Copies a book as it was at a book position or a moment into an empty database, where it becomes a
 * book of its own. The source may be written meanwhile; nothing in it is changed or locked.
 *
 *     find the cut ─▶ mark the target ─▶ copy stream by stream ─▶ copy a snapshot ─▶ finish
 *
 * Rejects with `restore_refused`, having written nothing, if the target or the position will not do,
 * and with `broken_chain` if the source is damaged. Broken off anywhere, it can be run again.
 */
export async function restore(options: RestoreOptions): Promise<RestoreResult> {
  const { source, to, chain } = options
  const target = await RestoreTarget.open(options.target.connectionString)
  try {
    const book = await readSource(source.database)
    await target.assertUsable(book.id)
    const session = await source.store.open()
    try {
      const cut = await findCut(session, book, to, chain)
      return await copyBook(options, { book, cut, session, target })
    } finally {
      session.close()
    }
  } finally {
    target.close()
  }
}

interface Copying {
  book: BookRows
  cut: RestoreCut
  session: JournalSession
  target: RestoreTarget
}

async function copyBook(options: RestoreOptions, copying: Copying): Promise<RestoreResult> {
  const { book, cut, session, target } = copying
  const position = formatBookPosition(cut.position)
  const bookId = await target.mark(book.id, {
    bookId: book.id,
    position,
    timeMs: 'timeMs' in options.to ? options.to.timeMs : undefined,
  })
  const wanted = book.streams.filter((stream) => stream.generation <= cut.generation)
  const seqs = wanted.map((stream) => cut.position.get(stream.id) ?? stream.head)
  const total = seqs.reduce((sum, seq) => sum + seq, 0)
  await target.prepare(Math.max(...seqs))
  const layout = layoutOf(book, cut.generation)
  const counts = new Map<number, MessageCounts>()
  const sink = new ChunkSink(target.connection)
  const streams: StreamRow[] = []
  let done = 0
  for (const [index, stream] of wanted.entries()) {
    const own = countsOf(layout, stream)
    if (own !== undefined) counts.set(stream.id, own)
    const digest = await copyStream(stream, seqs[index], {
      ...{ session, sink, chain: options.chain, counts: own },
      onRecords: (records) => {
        done += records
        options.onProgress(done, total)
      },
    })
    streams.push({ ...stream, head: seqs[index], digest })
  }
  await sink.flush()
  const unapplied = unappliedOf(layout, counts)
  const snapshot = await copyFittingSnapshot(options, copying, { bookId, streams })
  await target.finish(book, { streams, layout })
  return {
    ...{ bookId, sourceBookId: book.id, generation: cut.generation, position, records: total },
    leftOut: leftOutOf(book, streams),
    ...{ unapplied, snapshot },
  }
}

async function readSource(database: Database): Promise<BookRows> {
  const connection = await database.connect({ name: 'daybook restore' })
  return await readBookRows(connection).finally(() => connection.end())
}

/** The messages of the newest streams are counted: of those before, all have been applied. */
function countsOf(layout: Layout, stream: StreamRow): MessageCounts | undefined {
  if (stream.generation < layout.generation || layout.shards === 1) return undefined
  return new MessageCounts(stream.id, layout, Number.POSITIVE_INFINITY)
}

function unappliedOf(
  layout: Layout,
  counts: ReadonlyMap<number, MessageCounts>,
): RestoreResult['unapplied'] {
  const unapplied: RestoreResult['unapplied'] = []
  for (const [from, { sent }] of counts) {
    for (const [shard, to] of layout.streams.entries()) {
      const messages = sent[shard] - (counts.get(to)?.applied.get(from) ?? 0)
      if (messages < 0) {
        throw new JournalFault(
          'broken_chain',
          `stream ${to} applies ${-messages} messages that stream ${from} has not sent`,
        )
      }
      if (messages > 0) unapplied.push({ from, to, messages })
    }
  }
  return unapplied
}

async function copyFittingSnapshot(
  { source, target: { snapshots }, log }: RestoreOptions,
  { book, cut, target }: Copying,
  { bookId, streams }: { bookId: string; streams: readonly StreamRow[] },
): Promise<string | undefined> {
  if (source.snapshots === undefined || snapshots === undefined) return undefined
  const ends = new Map(streams.map(({ id, head, digest }) => [id, { seq: head, digest }]))
  const journal = { sourceId: book.id, bookId, generation: cut.generation, ends }
  const { connection } = target
  return await copySnapshot(source.snapshots, snapshots, { ...journal, connection }, log)
}

function leftOutOf(book: BookRows, copied: readonly StreamRow[]): RestoreResult['leftOut'] {
  const heads = new Map(copied.map(({ id, head }) => [id, head]))
  return book.streams
    .map(({ id, head }) => ({ stream: id, records: head - (heads.get(id) ?? 0) }))
    .filter(({ records }) => records > 0)
}
