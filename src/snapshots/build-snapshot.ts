import { v7 } from 'uuid'
import type { Book, BookLimits } from '../actors/book.js'
import type { Clock } from '../clock.js'
import type { DigestChain } from '../journal/batch.js'
import type { Database } from '../journal/database.js'
import type { StreamCounts } from '../journal/message-counts.js'
import type { JournalStore } from '../journal/session.js'
import {
  type BookLayout,
  readLayout,
  readStreamEnds,
  type StreamEnd,
} from '../journal/take-over.js'
import { plansOf } from '../recovery.js'
import { usableSnapshots } from './choose-snapshot.js'
import { encodeBook } from './encode-book.js'
import {
  digestOf,
  encodeManifest,
  SnapshotFault,
  type SnapshotManifest,
  type SnapshotStream,
  snapshotVersion,
} from './manifest.js'
import { rebuiltBook } from './rebuilt-books.js'
import type { SnapshotSink, SnapshotStore } from './store.js'

export interface BuildParts {
  database: Database
  store: JournalStore
  snapshots: SnapshotStore
  clock: Clock
  random: () => number
  chain: DigestChain
  /** How far the read models have come, by stream; without it no transaction is let go. */
  projected?: () => Promise<[stream: number, seq: number][]>
  /** Transactions that the whole book keeps, as far as those beyond can be let go. */
  transactionsMax?: number
  /** As of a shard that is being tested. */
  letGo?: BookLimits['letGo']
  warn(message: string): void
  onProgress(progress: BuildProgress): void
}

export interface BuildProgress {
  step: 'snapshot' | 'journal' | 'storing'
  stream: number
  /** Rows or records of the step. */
  done: number
  total: number
}

/** A snapshot that is there, and whether it was made now. */
export interface Built {
  snapshot: SnapshotManifest
  isNew: boolean
}

/**
 * Makes a snapshot of the book position at which the journal is now, from the newest usable
 * snapshot and the journal after it; never from the memory of a server. One shard's book at a time
 * is in memory. A book that has not moved since its newest snapshot gets no other one.
 */
export async function buildSnapshot(parts: BuildParts): Promise<Built> {
  const { book, ends } = await readPosition(parts.database)
  const session = await parts.store.open()
  const usable = await usableSnapshots(parts.snapshots, book, session, parts.warn).finally(() =>
    session.close(),
  )
  if (usable.length > 0 && hasReached(usable[0], ends)) return { snapshot: usable[0], isNew: false }
  for (const previous of [...usable, undefined]) {
    try {
      return { snapshot: await build(parts, { book, ends, previous }), isNew: true }
    } catch (error) {
      if (!(error instanceof SnapshotFault) || error.code !== 'damaged_snapshot') throw error
      parts.warn(`snapshot ${previous?.id} is passed over: ${error.message}`)
    }
  }
  throw new Error('a snapshot could not be built from the journal alone')
}

/** The layout, and where every stream is at one moment: closed under messages. */
async function readPosition(database: Database): Promise<{ book: BookLayout; ends: StreamEnd[] }> {
  const connection = await database.connect({ name: 'daybook snapshot' })
  try {
    for (;;) {
      const book = await readLayout(connection)
      const ends = await readStreamEnds(connection)
      const known = [...book.closed.flat(), ...book.layout.streams]
      // Otherwise a generation has been opened in between.
      if (ends.length === known.length) return { book, ends }
    }
  } finally {
    await connection.end()
  }
}

/** Somebody else may have built one meanwhile, of a later position. */
function hasReached(snapshot: SnapshotManifest, ends: readonly StreamEnd[]): boolean {
  return ends.slice(-snapshot.streams.length).every(({ stream, seq }, index) => {
    const own = snapshot.streams[index]
    return own.stream === stream && own.seq >= seq
  })
}

async function build(
  parts: BuildParts,
  of: { book: BookLayout; ends: StreamEnd[]; previous: SnapshotManifest | undefined },
): Promise<SnapshotManifest> {
  const { bookId, layout, streamOfSlot } = of.book
  const { clock, random } = parts
  // Ids are in the order of their making, also if the clock is set back in between.
  const createdAt = Math.max(clock.now(), (of.previous?.createdAt ?? 0) + 1)
  const randomBytes = Uint8Array.from({ length: 16 }, () => Math.floor(random() * 256))
  const snapshot: SnapshotManifest = {
    version: versionWithoutLetGo,
    id: v7({ msecs: createdAt, random: randomBytes }),
    bookId,
    createdAt,
    generation: layout.generation,
    records: of.ends.reduce((sum, { seq }) => sum + seq, 0),
    streams: [],
    blocks: [],
  }
  const sink = await parts.snapshots.begin(snapshot)
  try {
    const counts: StreamCounts[] = []
    const plans = plansOf(of.book, layout.shards, of.previous)
    const projected = (await parts.projected?.()) ?? []
    const { transactionsMax: wholeMax = Number.POSITIVE_INFINITY } = parts
    const transactionsMax = Math.ceil(wholeMax / layout.shards)
    for (const plan of plans) {
      const stream = layout.streams[plan.place.shard]
      const end = of.ends.find((candidate) => candidate.stream === stream) as StreamEnd
      const { book, recovery } = await rebuiltBook(
        { ...parts, transactionsMax },
        { ...plan, projected, upTo: of.ends },
      )
      const own = recovery.counts().find((candidate) => candidate.stream === stream) as StreamCounts
      counts.push(own)
      snapshot.streams.push({
        ...end,
        slots: [...streamOfSlot.keys()].filter((slot) => streamOfSlot[slot] === stream),
        lastTimeMs: recovery.lastTimeMs,
        sent: own.sent,
        applied: own.applied,
        checkpoint: { afterSeq: 0, sent: own.sent.map(() => 0) },
        currencies: book.accounts.currencies.map(({ code, scale }) => ({ code, scale })),
        accounts: book.accounts.count,
        transactions: book.transactions.count,
        holds: book.holds.count,
        ...letGoOf(book),
      })
      await store(parts, snapshot, book, { stream, sink })
    }
    if (snapshot.streams.some(({ letGo }) => letGo !== undefined)) {
      snapshot.version = snapshotVersion
    }
    for (const own of snapshot.streams) own.checkpoint = checkpointOf(own, counts, layout.streams)
    await sink.finish(encodeManifest(snapshot))
    return snapshot
  } catch (error) {
    await sink.abandon().catch(() => undefined)
    throw error
  }
}

/** Readable by programs that do not know of transactions being let go. */
const versionWithoutLetGo = 1

function letGoOf({ letGo }: Book): Pick<SnapshotStream, 'letGo'> {
  if (letGo.isEmpty) return {}
  return {
    letGo: {
      transactions: letGo.filter.count,
      horizon: [...letGo.horizon],
      coverage: [...letGo.coverage],
      newestIdMs: Number.isFinite(letGo.newestIdMs) ? letGo.newestIdMs : null,
    },
  }
}

async function store(
  parts: BuildParts,
  snapshot: SnapshotManifest,
  book: Book,
  { stream, sink }: { stream: number; sink: SnapshotSink },
): Promise<void> {
  const total = book.accounts.count + book.transactions.count + book.holds.count
  let done = 0
  for (const { bytes, ...block } of encodeBook(book)) {
    await sink.put(snapshot.blocks.length, bytes)
    snapshot.blocks.push({ stream, ...block, bytes: bytes.length, digest: digestOf(bytes) })
    done += block.rows
    parts.onProgress({ step: 'storing', stream, done, total })
  }
}

/** The last place in the stream before which everything it had sent had been applied. */
function checkpointOf(
  { stream, checkpoint }: SnapshotStream,
  counts: readonly StreamCounts[],
  streams: readonly number[],
): SnapshotStream['checkpoint'] {
  const appliedBy = streams.map((receiver) => {
    const own = counts.find((candidate) => candidate.stream === receiver)
    return own?.applied.find(([from]) => from === stream)?.[1] ?? 0
  })
  const own = counts.find((candidate) => candidate.stream === stream)
  const settled = own?.checkpoints.findLast(({ sent }) =>
    sent.every((count, shard) => count <= appliedBy[shard]),
  )
  return settled ?? checkpoint
}
