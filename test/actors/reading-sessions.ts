import type { StoredChunk } from '../../src/journal/replay.js'
import type { JournalSession, JournalStore } from '../../src/journal/session.js'

/**
 * Sessions that are only read from are used again, over restarts too, and what has been read of a
 * stream once is not asked for again: a test that restarts a thousand times spends most of its
 * time on connections. Whoever writes gets a session of its own, which ends with its process.
 */
export class ReadingSessions {
  readonly #idle: JournalSession[] = []
  readonly #chunks = new Map<string, StoredChunk[]>()

  /** Puts the shared sessions around a store. */
  around(store: JournalStore): JournalStore {
    return { open: async () => this.#session(store) }
  }

  /** The book is another one. */
  forget(): void {
    this.#chunks.clear()
  }

  close(): void {
    for (const session of this.#idle.splice(0)) session.close()
  }

  #session(store: JournalStore): JournalSession {
    let own: Promise<JournalSession> | undefined
    const writing = () => {
      own ??= store.open()
      return own
    }
    const readChunks = (stream: number, afterSeq: number, toSeq: number) =>
      this.#readChunks(store, { stream, afterSeq, toSeq })
    return {
      commit: async (batch) => (await writing()).commit(batch),
      settle: async (stream, owner) => (await writing()).settle(stream, owner),
      confirm: async (stream, epoch) => (await writing()).confirm(stream, epoch),
      ensurePartition: async (seq) => (await writing()).ensurePartition(seq),
      readHead: (stream) => this.#borrow(store, (session) => session.readHead(stream)),
      readChunks,
      close: () => {
        own?.then(
          (session) => session.close(),
          () => undefined,
        )
      },
    }
  }

  async *#readChunks(
    store: JournalStore,
    of: { stream: number; afterSeq: number; toSeq: number },
  ): AsyncIterable<StoredChunk> {
    const { stream, afterSeq, toSeq } = of
    if (toSeq <= afterSeq) return
    const name = `${stream} ${afterSeq} ${toSeq}`
    let chunks = this.#chunks.get(name)
    if (chunks === undefined) {
      const read: StoredChunk[] = []
      await this.#borrow(store, async (session) => {
        for await (const chunk of session.readChunks(stream, afterSeq, toSeq)) read.push(chunk)
      })
      chunks = read
      this.#chunks.set(name, chunks)
    }
    yield* chunks
  }

  async #borrow<T>(store: JournalStore, work: (session: JournalSession) => Promise<T>): Promise<T> {
    const session = this.#idle.pop() ?? (await store.open())
    const result = await work(session)
    this.#idle.push(session)
    return result
  }
}
