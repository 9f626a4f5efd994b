import type pg from 'pg'

/** Codes and lengths of the messages around the rows (PostgreSQL, chapter "Frontend/Backend Protocol"). */
const copyDataCode = 0x64
const copyDone = Buffer.from([0x63, 0, 0, 0, 4])

/**
 * A transaction in one simple query with a COPY in it, sent together with the rows of that COPY.
 * Nothing waits for the server's word that it expects them: a server that does not, because
 * something before them failed, drops them. That makes one round trip and one write of it.
 */
export class CopyCommit implements pg.Submittable {
  /** Command tags so far. */
  readonly #tags: string[] = []
  readonly #text: string
  readonly #rows: Buffer
  readonly #done: (error: Error | undefined, tags: string[]) => void

  /** `rows` is the whole binary COPY, which must not change before `done` is called. */
  constructor(
    { text, rows }: { text: string; rows: Buffer },
    done: (error: Error | undefined, tags: string[]) => void,
  ) {
    this.#text = text
    this.#rows = rows
    this.#done = done
  }

  submit(connection: pg.Connection): void {
    const { stream } = connection
    const head = Buffer.allocUnsafe(5)
    head[0] = copyDataCode
    head.writeUInt32BE(this.#rows.length + 4, 1)
    stream.cork()
    connection.query(this.#text)
    stream.write(head)
    stream.write(this.#rows)
    stream.write(copyDone)
    stream.uncork()
  }

  handleCopyInResponse(): void {}

  handleCommandComplete(message: { text: string }): void {
    this.#tags.push(message.text.split(' ', 1)[0])
  }

  handleReadyForQuery(): void {
    this.#done(undefined, this.#tags)
  }

  handleError(error: Error): void {
    this.#done(error, this.#tags)
  }
}
