import type { Timer } from '../clock.js'
import { Batch } from '../journal/batch.js'
import type { StreamCounts } from '../journal/message-counts.js'
import { Word } from '../journal/record.js'
import { JournalWriter, type WriterListener } from '../journal/writer.js'
import { Layout } from '../layout.js'
import { Book } from './book.js'
import { Executor } from './executor.js'
import { FrameWriter, frameHeaderWords } from './frame.js'
import { letGoOfOldest } from './let-go.js'
import { Mailbox } from './mailbox.js'
import { Outbox } from './outbox.js'
import { type FindTransactions, Recalls } from './recall.js'
import { refusalNumber } from './refusals.js'
import { type ShardBounds, shardBounds } from './shard-bounds.js'
import type { ShardGauges, ShardOptions, ShardParts } from './shard-parts.js'
import { ShardRecovery } from './shard-recovery.js'
import { type SlotDigest, SlotDigests } from './slot-digests.js'
import { noIndex } from './transaction-decision.js'
import { UnderWay } from './under-way.js'
import { Workbench } from './workbench.js'

/** An expiry that undecided transactions prevented is tried again after this. */
const expiryRetryMs = 100

/** The generation that a shard serves in; plain data. */
export interface Generation {
  generation: number
  streamOfSlot: Int32Array
}

/** What there is only once the shard serves: its stream, and who writes to it. */
interface Serving {
  bench: Workbench
  executor: Executor
  writer: JournalWriter
}

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
export class Shard implements WriterListener {
  readonly book: Book
  readonly #options: ShardOptions
  readonly #parts: ShardParts
  readonly #bounds: ShardBounds
  readonly #recovery: ShardRecovery
  #serving: Serving | undefined
  #state: 'created' | 'warm' | 'serving' | 'stopped' = 'created'

  readonly #mailbox = new Mailbox()
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

  readonly #digests: SlotDigests

  #expiryTimer: Timer | undefined
  #retryTimer: Timer | undefined
  #sweepTimer: Timer | undefined
  /** Holds do not expire any more, and somebody waits until nothing is under way. */
  #onDrained: (() => void) | undefined

  constructor(options: ShardOptions, parts: ShardParts) {
    this.#options = options
    this.#parts = parts
    this.#bounds = options.bounds ?? shardBounds
    const seed = () => Math.floor(parts.random() * 2 ** 32)
    const { plan } = options
    this.book = new Book([seed(), seed()], options.limits, plan.place)
    this.#recovery = new ShardRecovery(this.book, plan, parts, this.#bounds.checkpointRecords)
    this.#digests = new SlotDigests(this.book, parts.clock, {
      written: () => this.#open.nextSeq - 1,
      durable: () => this.#durableSeq,
    })
    this.#peers = Array.from({ length: plan.place.shards }, () => new Outbox())
  }

  get gauges(): ShardGauges {
    return {
      mailboxCommands: this.#mailbox.commands,
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
      letGo: this.book.letGo.filter.count,
      letGoBytes: this.book.letGo.filter.byteLength,
      oldIdsFound: 0,
      oldIdsUnused: 0,
      oldIdsFailed: 0,
      ...this.#serving?.bench.recalls.counts,
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
    const underWay = new UnderWay()
    this.book.letGo.underWay = underWay
    const bench = new Workbench(
      this.book,
      this.#recovery.finish(stream, layout),
      {
        openBatch: () => this.#open,
        answersResting: (restsOn) => this.#resting(this.#answers, restsOn),
        peerResting: (shard, restsOn) => this.#resting(this.#peers[shard], restsOn),
        lastSeq: () => this.#open.nextSeq - 1,
        nowMs: () => this.#advanceTime(),
        onRefused: (refusal) => this.#parts.observer.onRefused(refusal),
        onExpired: () => this.#parts.observer.onExpired(),
      },
      new Recalls(this.book, underWay, this.#findTransactions, () => this.#run()),
      underWay,
    )
    this.book.stream = stream
    // What a history that is no longer kept holds was of use while the journal was read.
    if (this.#options.isFollowed !== true) this.book.letGo.projected = new Map()
    const executor = new Executor(bench, this.#bounds.coordinatedItems)
    this.#serving = { bench, executor, writer }
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
    this.#mailbox.put(frame, this.#parts.clock.monotonic())
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

  /** The read models have come this far: what is older may be let go. */
  projected(positions: [stream: number, seq: number][]): void {
    this.book.letGo.projected = new Map(positions)
    letGoOfOldest(this.book)
  }

  /** Who waits is told that it failed; an operator hears why. */
  readonly #findTransactions: FindTransactions = async (asked, coverage) => {
    try {
      return await this.#parts.findTransactions(asked, coverage)
    } catch (error) {
      this.#parts.onTrouble(error as Error)
      throw error
    }
  }

  /** Digest of a slot's actors as they are now; undefined if too many are asked for at once. */
  async digestOf(slot: number): Promise<SlotDigest | undefined> {
    return await this.#digests.of(slot)
  }

  /** Ends the shard. What is under way may or may not become durable. */
  stop(): void {
    this.#end()
  }

  /** Ends a shard that has not served. */
  async discard(): Promise<void> {
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
    this.#digests.onDurable(this.#durableSeq)
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
    const execute = (words: Uint32Array, at: number) => executor.execute(words, at, timeMs)
    while (!this.#mailbox.isEmpty && !this.#isStalled()) this.#mailbox.next(execute)
    if (writer.isIdle() && this.#open.records > 0) this.#sendBatch(writer)
    this.#release()
    letGoOfOldest(this.book)
    this.#scheduleExpiry()
    if (this.#onDrained !== undefined && this.#isDrained()) this.#onDrained()
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
      if (hold === undefined || hold.expiresAt > timeMs || this.#isStalled()) return
      executor.expire(hold, timeMs)
    }
  }

  #scheduleExpiry(): void {
    if (this.book.holds.hasPostponed) this.#scheduleRetry()
    const hold = this.book.holds.nextToExpire()
    this.#expiryTimer?.cancel()
    this.#expiryTimer = undefined
    // While stalled the next commit runs the shard again.
    if (hold === undefined || this.#isStalled()) return
    const delayMs = Math.max(1, Math.min(hold.expiresAt - this.#parts.clock.now(), 60_000))
    this.#expiryTimer = this.#parts.clock.schedule(delayMs, () => this.#run())
  }

  #scheduleRetry(): void {
    this.#retryTimer ??= this.#parts.clock.schedule(expiryRetryMs, () => {
      this.#retryTimer = undefined
      this.book.holds.takeUpPostponed()
      this.#run()
    })
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
    const bounds = this.#bounds
    return (
      this.#open.records >= bounds.openBatchRecords ||
      this.#open.byteLength >= bounds.openBatchBytes ||
      this.#waitingAnswersBytes() >= bounds.waitingAnswersBytes ||
      this.#serving?.executor.coordinator.isFull === true ||
      (this.#serving?.bench.waitingCommands ?? 0) >= bounds.waitingCommands
    )
  }

  #isDrained(): boolean {
    return (
      this.#serving?.executor.coordinator.isIdle === true &&
      this.#serving.bench.recalls.isIdle &&
      this.#mailbox.isEmpty &&
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
    const answers = new FrameWriter()
    const arrivedBefore = clock.monotonic() - this.#options.admissionTimeoutMs
    const frames = this.#mailbox.takeOverdue(arrivedBefore, (words, at, items) =>
      this.#refuseCommand(answers, words, at, items),
    )
    for (let frame = 0; frame < frames; frame++) observer.onStall()
    // These answers rest on no state at all, so no lease is needed.
    if (!answers.isEmpty) this.#parts.send(answers.take(Number.POSITIVE_INFINITY))
  }

  /**
   * Refuses an overdue command. One whose id is known already is a repeat of a command that may
   * yet be committed: it gets no answer, and the router says that its outcome is not known.
   */
  #refuseCommand(
    answers: FrameWriter,
    words: Uint32Array,
    at: number,
    items: readonly number[],
  ): void {
    if (this.#serving === undefined) return
    const { executor, bench } = this.#serving
    if ([at, ...items].some((command) => executor.knows(words, command))) return
    const refusal = refusalNumber.journal_unavailable
    bench.replies.refused(answers, words[at + Word.time], refusal, noIndex)
    this.#parts.observer.onRefused(refusal)
  }

  #end(): void {
    this.#state = 'stopped'
    this.#expiryTimer?.cancel()
    this.#retryTimer?.cancel()
    this.#sweepTimer?.cancel()
    this.#serving?.writer.close()
  }
}
