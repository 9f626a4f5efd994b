import { readdir, readFile } from 'node:fs/promises'
import type { StoredChunk } from '../../src/journal/replay.js'
import type { JournalStore, StreamState } from '../../src/journal/session.js'
import type { BookLayout } from '../../src/journal/take-over.js'
import { Layout } from '../../src/layout.js'
import type { SnapshotName, SnapshotStore, StoredSnapshot } from '../../src/snapshots/store.js'

/**
 * A small book as a version of the program has written it, kept for ever: its journal, a snapshot
 * of it, and the digest that both must come to. Bytes are base64.
 */
export interface GoldenJournal {
  recordVersion: number
  snapshotVersion: number
  bookId: string
  generation: number
  /** Stream of each slot. */
  slots: number[]
  streams: { id: number; generation: number; epoch: number; head: number; digest: string }[]
  chunks: {
    stream: number
    firstSeq: number
    part: number
    n: number
    epoch: number
    prev: string
    payload: string
  }[]
  snapshot: { id: string; manifest: string; blocks: string[] }
  /** Digest of the book, in hexadecimal digits. */
  digest: string
}

/** In the sources: nothing of it is compiled. */
export const goldenFolder = new URL('../../../test/journal/golden/', import.meta.url)

export async function goldenJournals(): Promise<GoldenJournal[]> {
  const names = (await readdir(goldenFolder)).filter((name) => name.endsWith('.json')).sort()
  return await Promise.all(
    names.map(async (name) => JSON.parse(await readFile(new URL(name, goldenFolder), 'utf8'))),
  )
}

export function layoutOfGolden(golden: GoldenJournal): BookLayout {
  const streamOfSlot = Int32Array.from(golden.slots)
  const closed = new Map<number, number[]>()
  for (const { id, generation } of golden.streams) {
    if (generation === golden.generation) continue
    closed.set(generation, [...(closed.get(generation) ?? []), id])
  }
  return {
    bookId: golden.bookId,
    layout: new Layout(golden.generation, streamOfSlot),
    streamOfSlot,
    closed: [...closed.values()],
  }
}

/** A journal that can be read and nothing else. */
export function storeOfGolden(golden: GoldenJournal): JournalStore {
  const readHead = async (stream: number): Promise<StreamState> => {
    const row = golden.streams.find(({ id }) => id === stream)
    if (row === undefined) throw new Error(`there is no stream ${stream}`)
    return { epoch: row.epoch, head: row.head, digest: Buffer.from(row.digest, 'base64') }
  }
  const unwritable = () => Promise.reject(new Error('a golden journal is only read'))
  return {
    open: async () => ({
      readHead,
      async *readChunks(stream, afterSeq, toSeq): AsyncIterable<StoredChunk> {
        for (const chunk of golden.chunks) {
          const isIn = chunk.firstSeq > afterSeq && chunk.firstSeq <= toSeq
          if (chunk.stream !== stream || !isIn) continue
          const prev = Buffer.from(chunk.prev, 'base64')
          yield { ...chunk, prev, payload: Buffer.from(chunk.payload, 'base64') }
        }
      },
      ...{ commit: unwritable, settle: unwritable, confirm: unwritable },
      ensurePartition: unwritable,
      close: () => undefined,
    }),
  }
}

/** The kept snapshot, as a store has it. */
export function snapshotsOfGolden({ bookId, snapshot }: GoldenJournal): SnapshotStore {
  const unwritable = () => Promise.reject(new Error('a golden snapshot is only read'))
  const stored: StoredSnapshot = {
    ...{ bookId, id: snapshot.id },
    manifest: Buffer.from(snapshot.manifest, 'base64'),
  }
  return {
    list: async () => [stored],
    readBlock: async (_name: SnapshotName, number: number) =>
      Buffer.from(snapshot.blocks[number], 'base64'),
    ...{ begin: unwritable, remove: unwritable, sweep: unwritable },
    close: async () => undefined,
  }
}
