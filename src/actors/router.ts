import type { Clock, Timer } from '../clock.js'
import { FrameWriter, frameHeaderWords, frameNumber } from './frame.js'
import { refusalNumber } from './refusals.js'
import { type Reply, readReply } from './reply.js'
import { noIndex } from './transaction-decision.js'

/**
 * The router stands between the API and the shards: it numbers requests, gathers the commands of
 * one tick into a frame per shard, and hands each answer to the request that waits for it. It
 * bounds what is under way; nobody behind it refuses for lack of room.
 */
export interface RouterLimits {
  /** Commands under way at most; more are refused as overload. */
  inFlightCommandsMax: number
  inFlightBytesMax: number
  /** A request without an answer after this long is given up: its outcome is not known. */
  requestTimeoutMs: number
}

export interface ShardPort {
  stream: number
  send(frame: ArrayBuffer): void
}

/** What came of a request: a shard's reply, or none. */
export type Outcome = Reply | { kind: 'overloaded' } | { kind: 'unanswered' }

interface PendingRequest {
  resolve(outcome: Outcome): void
  deadline: number
  commands: number
  bytes: number
}

export class Router {
  readonly #clock: Clock
  readonly #limits: RouterLimits
  readonly #ports: readonly ShardPort[]
  readonly #frames: FrameWriter[]
  /** Index of the shard of each slot. */
  readonly #shardOfSlot: Int32Array
  /** Requests under way by number; a Map iterates in the order of arrival, that is of deadline. */
  readonly #pending = new Map<number, PendingRequest>()
  #nextRequest = 1
  #inFlightCommands = 0
  #inFlightBytes = 0
  #flushScheduled = false
  #sweep: Timer | undefined
  #onIdle: (() => void) | undefined

  constructor(
    clock: Clock,
    limits: RouterLimits,
    ports: readonly ShardPort[],
    shardOfSlot: Int32Array,
  ) {
    this.#clock = clock
    this.#limits = limits
    this.#ports = ports
    this.#frames = ports.map(() => new FrameWriter())
    this.#shardOfSlot = shardOfSlot
    this.#scheduleSweep()
  }

  get inFlightCommands(): number {
    return this.#inFlightCommands
  }

  /** Index of the shard that owns a slot. */
  shardOf(slot: number): number {
    return this.#shardOfSlot[slot]
  }

  /** Stream of the shard at `index`. */
  streamOf(index: number): number {
    return this.#ports[index].stream
  }

  /**
   * Sends commands to a shard; `write` puts them into the frame under the request's number.
   * Resolves with the answer, with `overloaded` (nothing was sent), or with `unanswered`.
   */
  submit(
    shard: number,
    commands: number,
    write: (frame: FrameWriter, request: number) => void,
  ): Promise<Outcome> {
    if (
      this.#inFlightCommands + commands > this.#limits.inFlightCommandsMax ||
      this.#inFlightBytes > this.#limits.inFlightBytesMax
    ) {
      return Promise.resolve({ kind: 'overloaded' })
    }
    const request = this.#nextRequest
    this.#nextRequest = request === 0xffffffff ? 1 : request + 1
    const frame = this.#frames[shard]
    const { count, byteLength: bytesBefore } = frame
    try {
      write(frame, request)
    } catch (error) {
      // A batch cut off in the middle would swallow the commands of other requests.
      frame.rollBack(count, bytesBefore)
      throw error
    }
    const bytes = frame.byteLength - bytesBefore
    this.#inFlightCommands += commands
    this.#inFlightBytes += bytes
    this.#scheduleFlush()
    return new Promise((resolve) => {
      const deadline = this.#clock.monotonic() + this.#limits.requestTimeoutMs
      this.#pending.set(request, { resolve, deadline, commands, bytes })
    })
  }

  /** Whether an answer may still be given: the lease that it was released under has not run out. */
  isValid(reply: Reply): boolean {
    return this.#clock.monotonic() < reply.validUntil
  }

  /** Takes a frame of answers from a shard. */
  receive(frame: ArrayBuffer): void {
    const validUntil = frameNumber(frame)
    // The process may have been frozen on the way: an answer past its lease is not given.
    if (this.#clock.monotonic() >= validUntil) return
    const words = new Uint32Array(frame)
    let at = frameHeaderWords
    while (at < words.length && (words[at] & 0xff) !== 0) {
      const { reply, next } = readReply(words, at, validUntil)
      this.#finish(reply.request, reply)
      at = next
    }
  }

  /** Resolves when nothing is under way any more. */
  drained(): Promise<void> {
    if (this.#pending.size === 0) return Promise.resolve()
    return new Promise((resolve) => {
      this.#onIdle = resolve
    })
  }

  close(): void {
    this.#sweep?.cancel()
    for (const request of [...this.#pending.keys()]) this.#finish(request, { kind: 'unanswered' })
  }

  #finish(request: number, outcome: Outcome): void {
    const pending = this.#pending.get(request)
    if (pending === undefined) return
    this.#pending.delete(request)
    this.#inFlightCommands -= pending.commands
    this.#inFlightBytes -= pending.bytes
    pending.resolve(outcome)
    if (this.#pending.size === 0) this.#onIdle?.()
  }

  #scheduleFlush(): void {
    if (this.#flushScheduled) return
    this.#flushScheduled = true
    this.#clock.nextTick(() => {
      this.#flushScheduled = false
      for (const [index, frame] of this.#frames.entries()) {
        if (!frame.isEmpty) this.#ports[index].send(frame.take(frame.count))
      }
    })
  }

  #scheduleSweep(): void {
    this.#sweep = this.#clock.schedule(this.#limits.requestTimeoutMs / 20, () => {
      const now = this.#clock.monotonic()
      for (const [request, pending] of this.#pending) {
        if (pending.deadline > now) break
        this.#finish(request, { kind: 'unanswered' })
      }
      this.#scheduleSweep()
    })
  }
}

/** The outcome that a read has when no answer came: nothing is unknown about a read. */
export const readUnanswered: Reply = {
  kind: 'refused',
  request: 0,
  stream: 0,
  seq: 0,
  validUntil: Number.POSITIVE_INFINITY,
  refusal: refusalNumber.journal_unavailable,
  index: noIndex,
}
