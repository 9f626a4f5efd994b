import type { DatabaseConnection } from '../journal/database.js'
import type { StoredChunk } from '../journal/replay.js'
import { ChunkRows } from './chunk-rows.js'

const copyText =
  'copy daybook.journal (stream, first_seq, part, n, epoch, prev, payload) from stdin (format binary)'

/**
 * Writes chunks into a journal, a statement for some megabytes of them. While one is on its way the
 * next is filled, and no more than these two are in memory.
 */
export class ChunkSink {
  readonly #connection: DatabaseConnection
  #filling = new ChunkRows()
  #other = new ChunkRows()
  #sent: Promise<string[]> = Promise.resolve(['COPY'])

  constructor(connection: DatabaseConnection) {
    this.#connection = connection
  }

  async add(chunk: StoredChunk): Promise<void> {
    this.#filling.add(chunk)
    if (this.#filling.isFull) await this.#send()
  }

  /** Resolves when the server has all rows. */
  async flush(): Promise<void> {
    if (!this.#filling.isEmpty) await this.#send()
    await this.#previous()
  }

  async #send(): Promise<void> {
    await this.#previous()
    const full = this.#filling
    this.#filling = this.#other
    this.#other = full
    this.#filling.clear()
    this.#sent = this.#connection.copyIn(copyText, full.finish())
    // It is looked at before the next one is sent.
    this.#sent.catch(() => undefined)
  }

  async #previous(): Promise<void> {
    const tags = await this.#sent
    if (tags.join() !== 'COPY') throw new Error(`a COPY answered ${tags.join()}`)
  }
}
