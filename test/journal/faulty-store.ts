import type {
  JournalSession,
  JournalStore,
  SealedBatch,
  StreamState,
} from '../../src/journal/session.js'

/** What a test may put in the way of a call; each calls `next` to let it through, or does not. */
export interface Faults {
  open?(next: () => Promise<JournalSession>): Promise<JournalSession>
  commit?(next: () => Promise<void>, batch: SealedBatch): Promise<void>
  settle?(next: () => Promise<StreamState>): Promise<StreamState>
  confirm?(next: () => Promise<void>): Promise<void>
}

/** The real store, with faults where the test wants them. */
export class FaultyStore implements JournalStore {
  faults: Faults = {}
  /** How often each was called. */
  readonly calls = { open: 0, commit: 0, settle: 0, confirm: 0 }
  readonly #inner: JournalStore

  constructor(inner: JournalStore) {
    this.#inner = inner
  }

  async open(): Promise<JournalSession> {
    this.calls.open += 1
    const next = () => this.#inner.open()
    const session = await (this.faults.open?.(next) ?? next())
    return {
      commit: (batch) => {
        this.calls.commit += 1
        const next = () => session.commit(batch)
        return this.faults.commit?.(next, batch) ?? next()
      },
      settle: (stream, owner) => {
        this.calls.settle += 1
        const next = () => session.settle(stream, owner)
        return this.faults.settle?.(next) ?? next()
      },
      confirm: (stream, epoch) => {
        this.calls.confirm += 1
        const next = () => session.confirm(stream, epoch)
        return this.faults.confirm?.(next) ?? next()
      },
      ensurePartition: (seq) => session.ensurePartition(seq),
      readChunks: (stream, afterSeq, toSeq) => session.readChunks(stream, afterSeq, toSeq),
      readHead: (stream) => session.readHead(stream),
      close: () => session.close(),
    }
  }
}

/** A fault of the connection, as it would come from a socket. */
export function connectionLost(): Error {
  return Object.assign(new Error('read ECONNRESET'), { code: 'ECONNRESET' })
}

/** Holds whoever passes until it is opened. */
export class Gate {
  /** How many have come to the gate since it was made. */
  arrivals = 0
  #open: () => void = () => undefined
  readonly #opened = new Promise<void>((resolve) => {
    this.#open = resolve
  })

  async pass(): Promise<void> {
    this.arrivals += 1
    await this.#opened
  }

  open(): void {
    this.#open()
  }
}

/** Waits, with a deadline, until `condition` holds. */
export async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  const deadline = Date.now() + 60_000
  while (!(await condition())) {
    if (Date.now() > deadline) throw new Error(`it never came true: ${condition}`)
    await new Promise((resolve) => {
      setTimeout(resolve, 2)
    })
  }
}
