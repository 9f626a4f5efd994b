import type { JournalRow } from './tables.js'

/** Rows on their way to somebody who reads them one by one, as a client gets them from the server. */
export class ReceivedRows implements AsyncIterable<JournalRow> {
  #pieces: (readonly JournalRow[])[] = []
  #end: { error: Error | undefined } | undefined
  #wake: () => void = () => undefined

  add(piece: readonly JournalRow[]): void {
    this.#pieces.push(piece)
    this.#wake()
  }

  end(error: Error | undefined): void {
    this.#end = { error }
    this.#wake()
  }

  async *[Symbol.asyncIterator](): AsyncIterator<JournalRow> {
    for (;;) {
      for (const piece of this.#pieces.splice(0)) yield* piece
      if (this.#pieces.length > 0) continue
      if (this.#end?.error !== undefined) throw this.#end.error
      if (this.#end !== undefined) return
      await new Promise<void>((resolve) => {
        this.#wake = resolve
      })
    }
  }
}
