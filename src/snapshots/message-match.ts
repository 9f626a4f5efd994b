import type { Finding } from './finding.js'

/** An applied record, and the record that it says it follows. */
interface Applied {
  seq: number
  causeSeq: number
}

/**
 * The messages from one stream to another: the n-th that was sent must be the n-th that was
 * applied. Streams are read turn by turn in the order of time, so that only what is under way
 * between them waits here.
 */
export class MessageMatch {
  readonly #from: number
  readonly #to: number
  readonly #sent: number[] = []
  readonly #applied: Applied[] = []
  /** Of the first messages that have been compared and dropped. */
  #sentFrom = 0
  #appliedFrom = 0
  finding: Finding | undefined

  constructor(from: number, to: number) {
    this.#from = from
    this.#to = to
  }

  /** Messages that were sent and have not been applied. */
  get waiting(): number {
    return this.#sent.length - this.#sentFrom
  }

  send(seq: number): void {
    this.#sent.push(seq)
    this.#compare()
  }

  apply(applied: Applied): void {
    this.#applied.push(applied)
    this.#compare()
  }

  /** All has been read: nothing may have been applied that was never sent. */
  end(): void {
    const applied = this.#applied[this.#appliedFrom]
    if (applied === undefined) return
    this.#find(applied, `${this.#from}-${applied.causeSeq}, which sends no such message`)
  }

  #compare(): void {
    while (this.#sentFrom < this.#sent.length && this.#appliedFrom < this.#applied.length) {
      const sentSeq = this.#sent[this.#sentFrom++]
      const applied = this.#applied[this.#appliedFrom++]
      if (sentSeq !== applied.causeSeq) {
        const place = `${this.#from}-${applied.causeSeq}, and this message was sent by`
        this.#find(applied, `${place} ${this.#from}-${sentSeq}`)
      }
    }
    this.#sentFrom = dropped(this.#sent, this.#sentFrom)
    this.#appliedFrom = dropped(this.#applied, this.#appliedFrom)
  }

  #find({ seq }: Applied, what: string): void {
    this.finding ??= {
      ...{ stream: this.#to, seq, lastSeq: seq, code: 'message' },
      what: `the record says that it follows ${what}`,
    }
  }
}

const droppedMin = 1024

/** Frees what has been compared, now and then; returns where the rest begins. */
function dropped(queue: unknown[], from: number): number {
  if (from < droppedMin || from * 2 < queue.length) return from
  queue.splice(0, from)
  return 0
}
