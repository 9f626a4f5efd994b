import type { Clock, Timer } from '../clock.js'
import { Batch, type DigestChain } from '../journal/batch.js'
import { emptyDigest } from '../journal/digest.js'
import { Word } from '../journal/record.js'
import { Replay } from '../journal/replay.js'
import type { JournalStore } from '../journal/session.js'
import { JournalWriter, type WriterListener } from '../journal/writer.js'
import { applyRecord, recordTime } from './apply.js'
import { Book, type BookLimits } from './book.js'
import { batchCountWord, CommandKind, commandBytes } from './command.js'
import { Executor } from './executor.js'
import { FrameWriter, frameHeaderWords, frameNumber } from './frame.js'
import { refusalNumber } from './refusals.js'
import { ReplyWriter } from './reply.js'
import { noIndex } from './transaction-decision.js'

/**
 * One shard: the actors of its slots, its mailbox, and its stream of the journal.
 *
 *     created ──warmUp──▶ warm ──serve──▶ serving ──stop──▶ stopped
 *
 * Commands come in frames and are carried out in order. What they wrote is the open batch; when
 * the writer is idle the batch goes out and the next one opens. Answers wait with the batch that
 * they rest on; nothing leaves before it is durable, nor while the lease has run out.
 *
 *     command ─▶ mailbox ─▶ execute ─▶ open batch ─▶ in flight ─▶ durable
 *                              └────▶ answers: open ─▶ in flight ─▶ released
 */
export interface ShardOptions {
  stream: number
  /** Names this process in the stream's row. */
  owner: string
  leaseMs: number
  commitTimeoutMs: number
  /** A command that has waited longer in the mailbox is refused: not accepted. */
  admissionTimeoutMs: number
  limits: BookLimits
}

export interface ShardParts {
  clock: Clock
  store: JournalStore
  random: () => number
  chain: DigestChain
  /** Sends a frame of answers to the router. */
  send(frame: ArrayBuffer): void
  /** The shard cannot go on; the process must stop. */
  onStopped(fault: Error): void
  onProgress(progress: RecoveryProgress): void
  /** Something failed that is being tried again. */
  onTrouble(error: Error): void
  observer: ShardObserver
}

export interface RecoveryProgress {
  recordsDone: number
  recordsTotal: number
}

/** Told what happens, for metrics. */
export interface ShardObserver {
  onBatch(records: number, bytes: number, commitMs: number): void
  onRefused(refusal: number): void
  onExpired(): void
  onStall(): void
}

/** Bounds of the open batch, and of answers that wait; beyond them commands stay in the mailbox. */
const openBatchRecordsMax = 16_384
const openBatchBytesMax = 4 << 20
const waitingAnswersBytesMax = 64 << 20

export class Shard implements WriterListener {
  readonly book: Book
  readonly #options: ShardOptions
  readonly #parts: ShardParts
  readonly #executor: Executor
  readonly #replies: ReplyWriter
  readonly #writer: JournalWriter
  readonly #replay: Replay
  #state: 'created' | 'warm' | 'serving' | 'stopped' = 'created'

  readonly #mailbox: MailboxFrame[] = []
  #mailboxCommands = 0
  #open: Batch
  #inFlight: Batch
  #durableSeq = 0
  #inFlightSeq = 0
  /** Greatest time given to a record: time never runs back within a stream. */
  #lastTimeMs = 0

  /** Answers by what they wait for: nothing, the batch in flight, the open batch, a fresh lease. */
  #ready = new FrameWriter()
  #waitingInFlight = new FrameWriter()
  #waitingOpen = new FrameWriter()
  #waitingLease = new FrameWriter()

  #expiryTimer: Timer | undefined
  #sweepTimer: Timer | undefined
  #onDrained: (() => void) | undefined

  constructor(options: ShardOptions, parts: ShardParts) {
    this.#options = options
    this.#parts = parts
    const seed = () => Math.floor(parts.random() * 2 ** 32)
    this.book = new Book([seed(), seed()], options.limits)
    this.#open = new Batch(options.stream)
    this.#inFlight = new Batch(options.stream)
    this.#replay = new Replay(options.stream, { seq: 0, digest: emptyDigest }, parts.chain)
    this.#replies = new ReplyWriter(this.book, options.stream)
    this.#writer = new JournalWriter(
      options,
      { ...parts, listener: this },
      { head: 0, digest: emptyDigest },
    )
    this.#executor = new Executor(this.book, options.stream, {
      openBatch: () => this.#open,
      answersResting: (restsOn) => this.#answersResting(restsOn),
      lastSeq: () => this.#open.nextSeq - 1,
      onRefused: (refusal) => parts.observer.onRefused(refusal),
    })
  }

  /** Commands that wait in the mailbox, records that wait for a commit, and the last of each seq. */
  get gauges(): {
    mailboxCommands: number
    openRecords: number
    waitingAnswersBytes: number
    durableSeq: number
    accounts: number
    transactions: number
    holds: number
    settlements: number
  } {
    return {
      mailboxCommands: this.#mailboxCommands,
      openRecords: this.#open.nextSeq - 1 - this.#durableSeq,
      waitingAnswersBytes: this.#waitingAnswersBytes(),
      durableSeq: this.#durableSeq,
      accounts: this.book.accounts.count,
      transactions: this.book.transactions.count,
      holds: this.book.holds.count,
      settlements: this.#writer.counts.settlements,
    }
  }

  /** Replays the journal as far as it is written now, while another process may still own it. */
  async warmUp(): Promise<void> {
    const session = await this.#parts.store.open()
    try {
      const { head, digest } = await session.readHead(this.#options.stream)
      await this.#readTo(session, head)
      // A damaged tail, or another digest key, shows before anything is taken over.
      this.#replay.assertEnd(head, digest)
    } finally {
      session.close()
    }
    this.#state = 'warm'
  }

  /** After the take-over: becomes the stream's writer, reads what is left, and takes commands. */
  async serve(): Promise<void> {
    const { head, digest } = await this.#writer.open()
    const session = await this.#parts.store.open()
    try {
      await this.#readTo(session, head)
    } finally {
      session.close()
    }
    this.#replay.assertEnd(head, digest)
    this.#durableSeq = head
    this.#inFlightSeq = head
    this.#open.restart(head + 1)
    this.#state = 'serving'
    this.#writer.ready()
    this.#scheduleSweep()
    this.#run()
  }

  async #readTo(session: Awaited<ReturnType<JournalStore['open']>>, head: number): Promise<void> {
    const total = head
    let reported = 0
    for await (const chunk of session.readChunks(this.#options.stream, this.#replay.seq, head)) {
      this.#replay.read(chunk, (words, at, seq) => {
        applyRecord(this.book, words, at, seq)
        this.#lastTimeMs = Math.max(this.#lastTimeMs, recordTime(words, at))
      })
      if (this.#replay.seq - reported >= 100_000) {
        reported = this.#replay.seq
        this.#parts.onProgress({ recordsDone: reported, recordsTotal: total })
      }
    }
    this.#parts.onProgress({ recordsDone: this.#replay.seq, recordsTotal: total })
  }

  /** Takes a frame of commands from the router. */
  receive(frame: ArrayBuffer): void {
    if (this.#state === 'stopped') return
    const words = new Uint32Array(frame)
    this.#mailboxCommands += frameNumber(frame)
    this.#mailbox.push({ words, at: frameHeaderWords, arrivedAt: this.#parts.clock.monotonic() })
    if (this.#state === 'serving') this.#run()
  }

  /** Finishes what is in the mailbox and the open batch, then closes the journal. */
  async stop(): Promise<void> {
    if (this.#state === 'serving') {
      await new Promise<void>((resolve) => {
        this.#onDrained = resolve
        this.#run()
      })
    }
    this.#end()
  }

  onCommitted(): void {
    const { observer } = this.#parts
    const batch = this.#inFlight
    observer.onBatch(batch.records, batch.byteLength, this.#writer.counts.commitMs)
    this.#durableSeq = this.#inFlightSeq
    this.#ready.append(this.#waitingInFlight)
    this.#run()
  }

  onIdle(): void {
    this.#run()
  }

  onConfirmed(): void {
    if (this.#waitingLease.isEmpty) return
    this.#ready.append(this.#waitingLease)
    this.#release()
  }

  onTrouble(error: Error): void {
    this.#parts.onTrouble(error)
  }

  onStopped(fault: Error): void {
    this.#end()
    this.#parts.onStopped(fault)
  }

  /** Carries out what waits in the mailbox, sends the open batch if the writer is idle, answers. */
  #run(): void {
    if (this.#state !== 'serving') return
    const timeMs = this.#advanceTime()
    this.#expireHolds(timeMs)
    while (this.#mailbox.length > 0 && !this.#isStalled()) this.#executeNext(timeMs)
    if (this.#writer.isIdle() && this.#open.records > 0) this.#sendBatch()
    this.#release()
    this.#scheduleExpiry()
    if (this.#onDrained !== undefined && this.#isDrained()) this.#onDrained()
  }

  #executeNext(timeMs: number): void {
    const frame = this.#mailbox[0]
    const isBatch = (frame.words[frame.at] & 0xff) === CommandKind.batch
    const commands = isBatch ? frame.words[frame.at + batchCountWord] + 1 : 1
    frame.at = this.#executor.execute(frame.words, frame.at, timeMs)
    this.#mailboxCommands -= commands
    if (isFinished(frame)) this.#mailbox.shift()
  }

  #sendBatch(): void {
    const batch = this.#open
    const answers = this.#waitingOpen
    this.#open = this.#inFlight
    this.#inFlight = batch
    this.#waitingOpen = this.#waitingInFlight
    this.#waitingInFlight = answers
    this.#inFlightSeq = batch.nextSeq - 1
    this.#open.restart(batch.nextSeq)
    this.#writer.send(batch)
  }

  #answersResting(restsOn: number): FrameWriter {
    if (restsOn <= this.#durableSeq) return this.#ready
    return restsOn <= this.#inFlightSeq ? this.#waitingInFlight : this.#waitingOpen
  }

  /** Sends the answers that are ready, unless the lease has run out; then they wait for it. */
  #release(): void {
    if (this.#ready.isEmpty) return
    const { leaseUntil } = this.#writer
    if (this.#parts.clock.monotonic() >= leaseUntil) {
      this.#waitingLease.append(this.#ready)
      return
    }
    this.#parts.send(this.#ready.take(leaseUntil))
  }

  #expireHolds(timeMs: number): void {
    for (;;) {
      const hold = this.book.holds.nextToExpire()
      if (hold === undefined || hold.expiresAt > timeMs || this.#isStalled()) return
      this.#executor.expire(hold, timeMs)
      this.#parts.observer.onExpired()
    }
  }

  #scheduleExpiry(): void {
    const hold = this.book.holds.nextToExpire()
    this.#expiryTimer?.cancel()
    this.#expiryTimer = undefined
    // While stalled the next commit runs the shard again.
    if (hold === undefined || this.#isStalled()) return
    const delayMs = Math.max(1, Math.min(hold.expiresAt - this.#parts.clock.now(), 60_000))
    this.#expiryTimer = this.#parts.clock.schedule(delayMs, () => this.#run())
  }

  #advanceTime(): number {
    this.#lastTimeMs = Math.max(this.#lastTimeMs, this.#parts.clock.now())
    return this.#lastTimeMs
  }

  #waitingAnswersBytes(): number {
    return (
      this.#waitingInFlight.byteLength +
      this.#waitingOpen.byteLength +
      this.#waitingLease.byteLength
    )
  }

  /** Whether commands must wait because nothing more may be held for the journal. */
  #isStalled(): boolean {
    return (
      this.#open.records >= openBatchRecordsMax ||
      this.#open.byteLength >= openBatchBytesMax ||
      this.#waitingAnswersBytes() >= waitingAnswersBytesMax
    )
  }

  #isDrained(): boolean {
    return (
      this.#mailbox.length === 0 &&
      this.#open.records === 0 &&
      this.#durableSeq === this.#inFlightSeq
    )
  }

  /** Refuses commands that have waited too long because the journal cannot be written. */
  #scheduleSweep(): void {
    const periodMs = this.#options.admissionTimeoutMs / 4
    this.#sweepTimer = this.#parts.clock.schedule(periodMs, () => {
      this.#refuseOverdue()
      if (this.#state === 'serving') this.#scheduleSweep()
    })
  }

  #refuseOverdue(): void {
    const { clock, observer } = this.#parts
    const deadline = clock.monotonic() - this.#options.admissionTimeoutMs
    const answers = new FrameWriter()
    while (this.#mailbox.length > 0 && this.#mailbox[0].arrivedAt <= deadline) {
      observer.onStall()
      const frame = this.#mailbox[0]
      while (!isFinished(frame)) this.#refuseNext(frame, answers)
      this.#mailbox.shift()
    }
    // These answers rest on no state at all, so no lease is needed.
    if (!answers.isEmpty) this.#parts.send(answers.take(Number.POSITIVE_INFINITY))
  }

  /**
   * Refuses the next command of an overdue frame. One whose id is known already is a repeat of a
   * command that may yet be committed: it gets no answer, and the router says that its outcome is
   * not known.
   */
  #refuseNext(frame: MailboxFrame, answers: FrameWriter): void {
    const { words, at } = frame
    const isBatch = (words[at] & 0xff) === CommandKind.batch
    const items = isBatch ? words[at + batchCountWord] : 0
    let known = false
    for (let index = 0; index <= items; index++) {
      known ||= this.#executor.knows(words, frame.at)
      frame.at += commandBytes(words, frame.at) / 4
    }
    this.#mailboxCommands -= items + 1
    if (known) return
    const refusal = refusalNumber.journal_unavailable
    this.#replies.refused(answers, words[at + Word.time], refusal, noIndex)
    this.#parts.observer.onRefused(refusal)
  }

  #end(): void {
    this.#state = 'stopped'
    this.#expiryTimer?.cancel()
    this.#sweepTimer?.cancel()
    this.#writer.close()
  }
}

interface MailboxFrame {
  words: Uint32Array
  /** Word of the next command. */
  at: number
  /** On the monotonic clock. */
  arrivedAt: number
}

function isFinished(frame: MailboxFrame): boolean {
  return frame.at >= frame.words.length || (frame.words[frame.at] & 0xff) === 0
}
