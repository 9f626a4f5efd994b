import type { Clock, Timer } from '../clock.js'
import type { Batch, DigestChain } from './batch.js'
import { emptyDigest } from './digest.js'
import {
  JournalFault,
  type JournalSession,
  type JournalStore,
  type SealedBatch,
} from './session.js'

/**
 * The writer of one stream: group commit with one batch in flight, the fence, the lease, and the
 * settling of commits whose outcome is not known.
 *
 *     closed ──open──▶ settling ──▶ idle ──send──▶ committing ──▶ idle
 *                         ▲           │                 │
 *                         │           └──▶ confirming ──┤   (lease: epoch read again while idle)
 *                         └────────── outcome unknown ──┘
 *     any ──▶ stopped     (fenced, closed, or the stream is in a state that no batch explains)
 *
 * Settling is a take-over from oneself: a new session, the old backend ended, the epoch raised
 * under the row's lock. After that the head says whether the batch in question is in; if it is
 * not, it is sent again under the new epoch. A batch is never dropped: what it holds is already
 * applied in memory.
 */
export interface WriterListener {
  /** The batch that was sent is durable. */
  onCommitted(): void
  /** The writer is idle and takes a batch. */
  onIdle(): void
  /** The epoch has just been confirmed: the lease is fresh. */
  onConfirmed(): void
  /** Something failed that will be tried again. */
  onTrouble(error: Error): void
  /** The writer cannot go on, and neither can the process: nothing further may be answered. */
  onStopped(fault: Error): void
}

export interface WriterOptions {
  stream: number
  /** Names this process in the stream's row. */
  owner: string
  leaseMs: number
  /** A commit that takes longer is settled. */
  commitTimeoutMs: number
}

export interface WriterParts {
  store: JournalStore
  clock: Clock
  /** 0 to 1, for the jitter of retries. */
  random: () => number
  chain: DigestChain
  listener: WriterListener
}

type WriterState = 'closed' | 'settling' | 'idle' | 'committing' | 'confirming' | 'stopped'

/** What a writer has done, for metrics. */
export interface WriterCounts {
  commits: number
  records: number
  bytes: number
  settlements: number
  /** Milliseconds of the last commit. */
  commitMs: number
}

const retryDelayMsMin = 20
const retryDelayMsMax = 1000
/** A commit that took too long gets twice the time, up to this many times: it may just be large. */
const deadlineFactorMax = 64

export class JournalWriter {
  readonly counts: WriterCounts = { commits: 0, records: 0, bytes: 0, settlements: 0, commitMs: 0 }
  readonly #options: WriterOptions
  readonly #parts: WriterParts
  #state: WriterState = 'closed'
  #session: JournalSession | undefined
  #epoch = 0
  #head = 0
  #digest: Buffer = emptyDigest
  /** When the last statement that confirmed the epoch was sent, on the monotonic clock. */
  #confirmedAt = Number.NEGATIVE_INFINITY
  #partitionedTo = 0
  /** Attempts at the batch in flight that took too long; others say nothing about its size. */
  #deadlinesMissed = 0
  #heartbeat: Timer | undefined

  constructor(options: WriterOptions, parts: WriterParts) {
    this.#options = options
    this.#parts = parts
  }

  get state(): WriterState {
    return this.#state
  }

  /** Until when, on the monotonic clock, answers may leave. */
  get leaseUntil(): number {
    return this.#confirmedAt + this.#options.leaseMs
  }

  /**
   * Makes this process the writer of its stream, which it has taken over, and returns what the
   * stream's head then is. Retries until it succeeds; rejects if the stream belongs to another.
   */
  async open(): Promise<{ head: number; digest: Buffer }> {
    const state = await this.#settle()
    this.#head = state.head
    this.#digest = state.digest
    this.#scheduleHeartbeat()
    return { head: this.#head, digest: this.#digest }
  }

  /** Recovery has read everything up to the head: from here on batches are taken. */
  ready(): void {
    if (this.#stopped()) return
    this.#state = 'idle'
    this.#parts.listener.onIdle()
  }

  /** Sends a batch whose first record follows the head. Only in state `idle`. */
  send(batch: Batch): void {
    if (this.#state !== 'idle') throw new Error(`a batch was sent in state ${this.#state}`)
    if (batch.firstSeq !== this.#head + 1) {
      throw new Error(`a batch starts at ${batch.firstSeq} after head ${this.#head}`)
    }
    this.#state = 'committing'
    void this.#commit(batch)
  }

  /** Stops for good; a batch in flight may or may not become durable. */
  close(): void {
    this.#state = 'stopped'
    this.#heartbeat?.cancel()
    this.#session?.close()
  }

  async #commit(batch: Batch): Promise<void> {
    const { clock, listener, chain } = this.#parts
    const newHead = batch.nextSeq - 1
    const startedAt = clock.monotonic()
    this.#deadlinesMissed = 0
    for (let attempt = 0; ; attempt++) {
      if (attempt > 0) await this.#pause(attempt)
      if (this.#stopped()) return
      const { copy, digest } = batch.seal(this.#epoch, this.#digest, chain)
      const sealed: SealedBatch = {
        stream: this.#options.stream,
        epoch: this.#epoch,
        head: this.#head,
        digest: this.#digest,
        newHead,
        newDigest: digest,
        copy,
      }
      const committed = (await this.#tryCommit(sealed)) || (await this.#settleBatch(sealed))
      if (this.#stopped()) return
      if (!committed) continue
      this.#head = newHead
      this.#digest = digest
      this.counts.commits += 1
      this.counts.records += batch.records
      this.counts.bytes += copy.length
      this.counts.commitMs = clock.monotonic() - startedAt
      this.#state = 'idle'
      listener.onCommitted()
      // What the listener did may have sent the next batch already.
      if (this.isIdle()) listener.onIdle()
      return
    }
  }

  /** Whether a batch may be sent now. */
  isIdle(): boolean {
    return this.#state === 'idle'
  }

  /** True when the commit is durable; false when its outcome is not known. */
  async #tryCommit(sealed: SealedBatch): Promise<boolean> {
    const session = this.#session
    if (session === undefined) return false
    const sentAt = this.#parts.clock.monotonic()
    try {
      await this.#withDeadline(session, this.#deadlinesMissed, async () => {
        if (sealed.newHead > this.#partitionedTo) {
          this.#partitionedTo = await session.ensurePartition(sealed.newHead)
        }
        await session.commit(sealed)
      })
      this.#confirmed(sentAt)
      return true
    } catch (error) {
      if (error instanceof DeadlineError) this.#deadlinesMissed += 1
      if (isFinal(error)) this.#stop(error)
      else this.#parts.listener.onTrouble(error as Error)
      return false
    }
  }

  /** Settles a commit of unknown outcome: true if the batch is in, false if it must go again. */
  async #settleBatch(sealed: SealedBatch): Promise<boolean> {
    if (this.#stopped()) return false
    this.counts.settlements += 1
    try {
      const state = await this.#settle()
      if (this.#stopped()) return false
      this.#state = 'committing'
      if (state.head === sealed.newHead && state.digest.equals(sealed.newDigest)) return true
      if (state.head === sealed.head && state.digest.equals(sealed.digest)) return false
      this.#stop(
        new JournalFault(
          'broken_chain',
          `stream ${sealed.stream} is at ${state.head}, which no batch of its writer explains`,
        ),
      )
    } catch (error) {
      this.#stop(error as Error)
    }
    return false
  }

  /** Connects and settles, again and again until it is done; rejects only on a final fault. */
  async #settle(): Promise<{ head: number; digest: Buffer }> {
    const { store, clock } = this.#parts
    this.#state = 'settling'
    this.#session?.close()
    this.#session = undefined
    for (let attempt = 0; ; attempt++) {
      if (attempt > 0) await this.#pause(attempt)
      if (this.#stopped()) throw new Error('the writer is stopped')
      try {
        const session = await store.open()
        this.#session = session
        if (this.#stopped()) throw new Error('the writer is stopped')
        const sentAt = clock.monotonic()
        const state = await this.#withDeadline(session, Math.min(attempt, 2), () =>
          session.settle(this.#options.stream, this.#options.owner),
        )
        this.#epoch = state.epoch
        this.#confirmed(sentAt)
        return state
      } catch (error) {
        this.#session?.close()
        this.#session = undefined
        if (isFinal(error)) throw error
        this.#parts.listener.onTrouble(error as Error)
      }
    }
  }

  /** Waits before the next attempt: longer each time, and not all streams at once. */
  #pause(attempt: number): Promise<void> {
    const { clock, random } = this.#parts
    const delayMs = Math.min(retryDelayMsMin * 2 ** (attempt - 1), retryDelayMsMax)
    return new Promise((resolve) => {
      clock.schedule(delayMs * (0.5 + random() / 2), resolve)
    })
  }

  #stopped(): boolean {
    return this.#state === 'stopped'
  }

  /** Confirms the epoch while idle, so that the lease of a quiet stream does not run out. */
  #scheduleHeartbeat(): void {
    const { clock } = this.#parts
    const periodMs = this.#options.leaseMs / 4
    this.#heartbeat = clock.schedule(periodMs, () => {
      const due = this.#confirmedAt + periodMs
      if (this.#state === 'idle' && clock.monotonic() >= due) void this.#confirm()
      if (this.#state !== 'stopped') this.#scheduleHeartbeat()
    })
  }

  async #confirm(): Promise<void> {
    const session = this.#session
    this.#state = 'confirming'
    const sentAt = this.#parts.clock.monotonic()
    try {
      if (session === undefined) throw new Error('there is no session')
      await this.#withDeadline(session, 0, () => session.confirm(this.#options.stream, this.#epoch))
      this.#confirmed(sentAt)
    } catch (error) {
      if (isFinal(error)) {
        this.#stop(error)
        return
      }
      if (this.#stopped()) return
      this.#parts.listener.onTrouble(error as Error)
      await this.#settleIdle()
    }
    if (this.#stopped()) return
    this.#state = 'idle'
    this.#parts.listener.onIdle()
  }

  /** The session of an idle writer broke: nothing is in question, but the head must be ours. */
  async #settleIdle(): Promise<void> {
    this.counts.settlements += 1
    try {
      const state = await this.#settle()
      if (state.head !== this.#head || !state.digest.equals(this.#digest)) {
        throw new JournalFault('broken_chain', `stream ${this.#options.stream} moved without us`)
      }
    } catch (error) {
      this.#stop(error as Error)
    }
  }

  #confirmed(sentAt: number): void {
    this.#confirmedAt = sentAt
    this.#parts.listener.onConfirmed()
  }

  /** Runs `work`; after the deadline, doubled so often, the session is cut and it rejects. */
  async #withDeadline<T>(
    session: JournalSession,
    doubled: number,
    work: () => Promise<T>,
  ): Promise<T> {
    const deadlineMs = this.#options.commitTimeoutMs * Math.min(2 ** doubled, deadlineFactorMax)
    return await new Promise<T>((resolve, reject) => {
      const timer = this.#parts.clock.schedule(deadlineMs, () => {
        session.close()
        reject(new DeadlineError(deadlineMs))
      })
      work().then(
        (value) => {
          timer.cancel()
          resolve(value)
        },
        (error: Error) => {
          timer.cancel()
          reject(error)
        },
      )
    })
  }

  #stop(fault: Error): void {
    if (this.#state === 'stopped') return
    this.close()
    this.#parts.listener.onStopped(fault)
  }
}

class DeadlineError extends Error {
  constructor(deadlineMs: number) {
    super(`the journal did not answer for ${deadlineMs} ms`)
  }
}

/** A fault that trying again does not mend. */
function isFinal(error: unknown): error is JournalFault {
  return error instanceof JournalFault
}
