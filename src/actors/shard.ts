import type { Clock, Timer } from '../clock.js'
import { Batch, type DigestChain } from '../journal/batch.js'
import type { StreamCounts } from '../journal/message-counts.js'
import { Word } from '../journal/record.js'
import type { JournalStore } from '../journal/session.js'
import { JournalWriter, type WriterListener } from '../journal/writer.js'
import { Layout } from '../layout.js'
import { Book, type BookLimits } from './book.js'
import { batchCountWord, CommandKind, commandBytes } from './command.js'
import { Executor } from './executor.js'
import { FrameWriter, frameHeaderWords, frameNumber } from './frame.js'
import { Outbox } from './outbox.js'
import { refusalNumber } from './refusals.js'
import { type RecoveryPlan, type RecoveryProgress, ShardRecovery } from './shard-recovery.js'
import { noIndex } from './transaction-decision.js'
import { Workbench } from './workbench.js'

/**
 * One shard: the actors of its slots, its mailbox, and its stream of the journal.
 *
 *     created ──warmUp──▶ warm ──readRest──▶ warm ──serve──▶ serving ──stop──▶ stopped
 *
 * Commands come in frames and are carried out in order. What they wrote is the open batch; when
 * the writer is idle the batch goes out and the next one opens. Answers wait with the batch that
 * they rest on; nothing leaves before it is durable, nor while the lease has run out.
 *
 *     command ─▶ mailbox ─▶ execute ─▶ open batch ─▶ in flight ─▶ durable
 *                              └────▶ answers: open ─▶ in flight ─▶ released
 *
 * Frames of other shards are carried out at once, also while commands have to wait: what they ask
 * for has been admitted at the edge, and nothing that was decided may be refused or held up.
 */
export interface ShardOptions {
  plan: RecoveryPlan
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
  /** Sends a frame to another shard; frames to one shard arrive in order. */
  sendToPeer(shard: number, frame: ArrayBuffer): void
  /** The shard cannot go on; the process must stop. */
  onStopped(fault: Error): void
  onProgress(progress: RecoveryProgress): void
  /** Something failed that is being tried again. */
  onTrouble(error: Error): void
  observer: ShardObserver
}

/** Told what happens, for metrics. */
export interface ShardObserver {
  onBatch(records: number, bytes: number, commitMs: number): void
  onRefused(refusal: number): void
  onExpired(): void
  onStall(): void
}

/** The generation that a shard serves in; plain data. */
export interface Generation {
  generation: number
  streamOfSlot: Int32Array
}

/** Bounds of the open batch, and of answers that wait; beyond them commands stay in the mailbox. */
const openBatchRecordsMax = 16_384
const openBatchBytesMax = 4 << 20
const waitingAnswersBytesMax = 64 << 20
/** Commands that wait until other shards have decided what they need. */
const waitingCommandsMax = 16_384

/** What there is only once the shard serves: its stream, and who writes to it. */
interface Serving {
  bench: Workbench
  executor: Executor
  writer: JournalWriter
}

export class Shard implements WriterListener {
  readonly book: Book
  readonly #options: ShardOptions
  readonly #parts: ShardParts
  readonly #recovery: ShardRecovery
  #serving: Serving | undefined
  #state: 'created' | 'warm' | 'serving' | 'stopped' = 'created'

  readonly #mailbox: MailboxFrame[] = []
  #mailboxCommands = 0
  /** Frames of shards that serve already. */
  readonly #early: ArrayBuffer[] = []
  #open = new Batch(0)
  #inFlight = new Batch(0)
  #durableSeq = 0
  #inFlightSeq = 0
  /** Greatest time given to a record: time never runs back within a stream. */
  #lastTimeMs = 0

  /** Answers to the router, messages to each other shard, and answers that wait for a lease. */
  readonly #answers = new Outbox()
  readonly #peers: Outbox[]
  #waitingLease = new FrameWriter()

  #expiryTimer: Timer | undefined
  #sweepTimer: Timer | undefined
  /** Holds do not expire any more, and somebody waits until nothing is under way. */
  #onDrained: (() => void) | undefined

  constructor(options: ShardOptions, parts: ShardParts) {
    this.#options = options
    this.#parts = parts
    const seed = () => Math.floor(parts.random() * 2 ** 32)
    const { plan } = options
    this.book = new Book([seed(), seed()], options.limits, plan.place)
    this.#recovery = new ShardRecovery(this.book, plan, parts)
    this.#peers = Array.from({ length: plan.place.shards }, () => new Outbox())
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
    coordinations: number
    reservedAccounts: number
    waitingCommands: number
  } {
    return {
      mailboxCommands: this.#mailboxCommands,
      openRecords: this.#open.nextSeq - 1 - this.#durableSeq,
      waitingAnswersBytes: this.#waitingAnswersBytes(),
      durableSeq: this.#durableSeq,
      accounts: this.book.accounts.count,
      transactions: this.book.transactions.count,
      holds: this.book.holds.count,
      settlements: this.#serving?.writer.counts.settlements ?? 0,
      coordinations: this.#serving?.executor.coordinator.count ?? 0,
      reservedAccounts: this.book.reservations.count,
      waitingCommands: this.#serving?.bench.waitingCommands ?? 0,
    }
  }

  /** Replays the journal as far as it is written now, while another process may still own it. */
  async warmUp(): Promise<void> {
    await this.#recovery.warmUp()
    this.#state = 'warm'
  }

  /** Reads what has been written since; returns the messages of the streams that it has read. */
  async readRest(): Promise<StreamCounts[]> {
    await this.#recovery.readRest()
    return this.#recovery.counts()
  }

  /**
   * After the take-over, and when no message between the streams is missing: becomes the writer of
   * its stream in `generation`, and takes commands.
   */
  async serve({ generation, streamOfSlot }: Generation): Promise<void> {
    const layout = new Layout(generation, streamOfSlot)
    const stream = layout.streams[this.book.place.shard]
    const writer = new JournalWriter(
      { ...this.#options, stream },
      { ...this.#parts, listener: this },
    )
    const { head } = await writer.open()
    await this.#recovery.readRest()
    this.#lastTimeMs = this.#recovery.lastTimeMs
    const bench = new Workbench(this.book, this.#recovery.finish(stream, layout), {
      openBatch: () => this.#open,
      answersResting: (restsOn) => this.#resting(this.#answers, restsOn),
      peerResting: (shard, restsOn) => this.#resting(this.#peers[shard], restsOn),
      lastSeq: () => this.#open.nextSeq - 1,
      nowMs: () => this.#advanceTime(),
      onRefused: (refusal) => this.#parts.observer.onRefused(refusal),
      onExpired: () => this.#parts.observer.onExpired(),
    })
    this.book.stream = stream
    this.#serving = { bench, executor: new Executor(bench), writer }
    this.#open = new Batch(stream)
    this.#inFlight = new Batch(stream)
    this.#durableSeq = head
    this.#inFlightSeq = head
    this.#open.restart(head + 1)
    this.#state = 'serving'
    this.book.accounts.changedParts.clear()
    for (const row of this.book.accounts.stripedRows) {
      bench.replies.part(this.#answers.ready, row)
    }
    writer.ready()
    this.#scheduleSweep()
    for (const frame of this.#early.splice(0)) this.receiveFromPeer(frame)
    this.#run()
  }

  /** Takes a frame of commands from the router. */
  receive(frame: ArrayBuffer): void {
    if (this.#state === 'stopped') return
    const words = new Uint32Array(frame)
    this.#mailboxCommands += frameNumber(frame)
    this.#mailbox.push({ words, at: frameHeaderWords, arrivedAt: this.#parts.clock.monotonic() })
    if (this.#state === 'serving') this.#run()
  }

  /** Takes a frame of messages from another shard. */
  receiveFromPeer(frame: ArrayBuffer): void {
    if (this.#state === 'stopped') return
    if (this.#serving === undefined) {
      this.#early.push(frame)
      return
    }
    const words = new Uint32Array(frame)
    const timeMs = this.#advanceTime()
    const { coordinator } = this.#serving.executor
    let at = frameHeaderWords
    while (at < words.length && (words[at] & 0xff) !== 0) {
      at = coordinator.receive(words, at, timeMs)
    }
    this.#run()
  }

  /**
   * Resolves when nothing is under way here any more; holds expire no longer. The shard goes on to
   * serve the others, who may still need it.
   */
  async drain(): Promise<void> {
    if (this.#state !== 'serving') return
    await new Promise<void>((resolve) => {
      this.#onDrained = resolve
      this.#run()
    })
  }

  /** Ends the shard. What is under way may or may not become durable. */
  stop(): void {
    this.#end()
  }

  onCommitted(): void {
    const { observer } = this.#parts
    const batch = this.#inFlight
    if (this.#serving !== undefined) {
      observer.onBatch(batch.records, batch.byteLength, this.#serving.writer.counts.commitMs)
    }
    this.#durableSeq = this.#inFlightSeq
    this.#answers.batchCommitted()
    for (const peer of this.#peers) peer.batchCommitted()
    this.#serving?.executor.coordinator.onDurable(this.#durableSeq)
    this.#run()
  }

  onIdle(): void {
    this.#run()
  }

  onConfirmed(): void {
    if (this.#waitingLease.isEmpty) return
    this.#answers.ready.append(this.#waitingLease)
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
    if (this.#serving === undefined || this.#state !== 'serving') return
    const { executor, writer } = this.#serving
    const timeMs = this.#advanceTime()
    this.#expireHolds(executor, timeMs)
    while (this.#mailbox.length > 0 && !this.#isStalled()) this.#executeNext(executor, timeMs)
    if (writer.isIdle() && this.#open.records > 0) this.#sendBatch(writer)
    this.#release()
    this.#scheduleExpiry()
    if (this.#onDrained !== undefined && this.#isDrained()) this.#onDrained()
  }

  #executeNext(executor: Executor, timeMs: number): void {
    const frame = this.#mailbox[0]
    const isBatch = (frame.words[frame.at] & 0xff) === CommandKind.batch
    const commands = isBatch ? frame.words[frame.at + batchCountWord] + 1 : 1
    frame.at = executor.execute(frame.words, frame.at, timeMs)
    this.#mailboxCommands -= commands
    if (isFinished(frame)) this.#mailbox.shift()
  }

  #sendBatch(writer: JournalWriter): void {
    this.#writeChangedParts()
    const batch = this.#open
    this.#open = this.#inFlight
    this.#inFlight = batch
    this.#answers.batchSent()
    for (const peer of this.#peers) peer.batchSent()
    this.#inFlightSeq = batch.nextSeq - 1
    this.#open.restart(batch.nextSeq)
    writer.send(batch)
  }

  /** With the batch goes what it has made of this shard's parts of striped accounts. */
  #writeChangedParts(): void {
    const { changedParts } = this.book.accounts
    if (changedParts.size === 0) return
    for (const row of changedParts) this.#serving?.bench.replies.part(this.#answers.open, row)
    changedParts.clear()
  }

  #resting(outbox: Outbox, restsOn: number): FrameWriter {
    if (restsOn <= this.#durableSeq) return outbox.ready
    return restsOn <= this.#inFlightSeq ? outbox.inFlight : outbox.open
  }

  /**
   * Sends the messages to other shards, and the answers that are ready, unless the lease has run
   * out; then those wait for it.
   */
  #release(): void {
    for (const [shard, { ready }] of this.#peers.entries()) {
      if (!ready.isEmpty) this.#parts.sendToPeer(shard, ready.take(ready.count))
    }
    const { ready } = this.#answers
    if (ready.isEmpty || this.#serving === undefined) return
    const { leaseUntil } = this.#serving.writer
    if (this.#parts.clock.monotonic() >= leaseUntil) {
      this.#waitingLease.append(ready)
      return
    }
    this.#parts.send(ready.take(leaseUntil))
  }

  #expireHolds(executor: Executor, timeMs: number): void {
    if (this.#onDrained !== undefined) return
    for (;;) {
      const hold = this.book.holds.nextToExpire()
      if (hold === undefined || hold.dueAt > timeMs || this.#isStalled()) return
      executor.expire(hold, timeMs)
    }
  }

  #scheduleExpiry(): void {
    const hold = this.book.holds.nextToExpire()
    this.#expiryTimer?.cancel()
    this.#expiryTimer = undefined
    // While stalled the next commit runs the shard again.
    if (hold === undefined || this.#isStalled()) return
    const delayMs = Math.max(1, Math.min(hold.dueAt - this.#parts.clock.now(), 60_000))
    this.#expiryTimer = this.#parts.clock.schedule(delayMs, () => this.#run())
  }

  #advanceTime(): number {
    const written = this.#serving?.bench.records.lastTimeMs ?? 0
    this.#lastTimeMs = Math.max(this.#lastTimeMs, written, this.#parts.clock.now())
    return this.#lastTimeMs
  }

  #waitingAnswersBytes(): number {
    return this.#answers.waitingBytes + this.#waitingLease.byteLength
  }

  /** Whether commands must wait because nothing more may be held for the journal. */
  #isStalled(): boolean {
    return (
      this.#open.records >= openBatchRecordsMax ||
      this.#open.byteLength >= openBatchBytesMax ||
      this.#waitingAnswersBytes() >= waitingAnswersBytesMax ||
      this.#serving?.executor.coordinator.isFull === true ||
      (this.#serving?.bench.waitingCommands ?? 0) >= waitingCommandsMax
    )
  }

  #isDrained(): boolean {
    return (
      this.#serving?.executor.coordinator.isIdle === true &&
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
      known ||= this.#serving?.executor.knows(words, frame.at) === true
      frame.at += commandBytes(words, frame.at) / 4
    }
    this.#mailboxCommands -= items + 1
    if (known) return
    const refusal = refusalNumber.journal_unavailable
    this.#serving?.bench.replies.refused(answers, words[at + Word.time], refusal, noIndex)
    this.#parts.observer.onRefused(refusal)
  }

  #end(): void {
    this.#state = 'stopped'
    this.#expiryTimer?.cancel()
    this.#sweepTimer?.cancel()
    this.#serving?.writer.close()
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
