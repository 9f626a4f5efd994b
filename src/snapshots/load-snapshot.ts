import type { Book } from '../actors/book.js'
import { BookLoader } from './load-book.js'
import { assertBlock, blockKinds, SnapshotFault, type SnapshotManifest } from './manifest.js'
import type { SnapshotStore } from './store.js'

/** Blocks that are fetched ahead of the one that is being put into the book. */
const blocksAhead = 3

/**
 * Puts a snapshot into an empty book: of `streams` only, or of all of them (load-book.ts says what
 * that means). Rejects with a {@link SnapshotFault} `damaged_snapshot` if a block cannot be had or
 * is not what the manifest says; the book is of no use then.
 */
export async function loadSnapshot(
  of: {
    snapshot: SnapshotManifest
    streams: readonly number[] | undefined
    book: Book
    store: Pick<SnapshotStore, 'readBlock'>
  },
  onProgress: (progress: { stream: number; done: number; total: number }) => void,
): Promise<void> {
  const { snapshot, streams, book, store } = of
  const blocks = blocksOf(snapshot, streams)
  const fetched: Promise<Buffer>[] = []
  const fetchTo = (end: number) => {
    while (fetched.length < Math.min(end, blocks.length)) {
      const bytes = fetchBlock(snapshot, blocks[fetched.length].number, store)
      // Whoever waits for it hears of a failure; until then nobody does.
      bytes.catch(() => undefined)
      fetched.push(bytes)
    }
  }
  const loaders = new Map(snapshot.streams.map((own) => [own.stream, new BookLoader(book, own)]))
  for (const [stream, loader] of loaders) {
    if (streams === undefined || streams.includes(stream)) loader.begin()
  }
  for (const kind of ['accounts', 'transactions'] as const) {
    const rows = blocks.reduce((sum, block) => sum + (block.kind === kind ? block.rows : 0), 0)
    // A shard of another layout takes its share of the rows.
    const share = streams === undefined ? book.place.shards : 1
    book[kind].keys.reserve(Math.ceil(rows / share))
  }
  const total = blocks.reduce((sum, { rows }) => sum + rows, 0)
  let done = 0
  for (const [index, { stream, kind, rows }] of blocks.entries()) {
    fetchTo(index + 1 + blocksAhead)
    const bytes = await fetched[index]
    fetched[index] = Promise.resolve(nothing)
    loaders.get(stream)?.load(kind, bytes)
    done += rows
    onProgress({ stream, done, total })
  }
}

/** The blocks of all streams, kind by kind: a hold needs the transaction that it is. */
function blocksOf(snapshot: SnapshotManifest, streams: readonly number[] | undefined) {
  const blocks = snapshot.blocks.map((block, number) => ({ ...block, number }))
  return blockKinds.flatMap((kind) =>
    blocks.filter(
      (block) => block.kind === kind && (streams === undefined || streams.includes(block.stream)),
    ),
  )
}

async function fetchBlock(
  snapshot: SnapshotManifest,
  number: number,
  store: Pick<SnapshotStore, 'readBlock'>,
): Promise<Buffer> {
  try {
    const bytes = await store.readBlock(snapshot, number)
    assertBlock(snapshot, number, bytes)
    return bytes
  } catch (error) {
    if (error instanceof SnapshotFault) throw error
    const message = `block ${number} of snapshot ${snapshot.id} cannot be read: ${(error as Error).message}`
    throw new SnapshotFault('damaged_snapshot', message, error)
  }
}

const nothing = Buffer.alloc(0)
