import type { Clock, Timer } from '../clock.js'
import { Word } from '../journal/record.js'
import { FrameWriter, frameHeaderWords, frameNumber } from './frame.js'
import { refusalNumber } from './refusals.js'
import { type Reply, readReply } from './reply.js'
import { StripedParts } from './striped-parts.js'
import { noIndex } from './transaction-decision.js'

/**
 * The router stands between the API and the shards: it numbers requests, gathers the commands of
 * one tick into a frame per shard, and hands each answer to the request that waits for it. It
 * bounds what is under way; nobody behind it refuses for lack of room. On the way it remembers
 * what the shards say of their parts of striped accounts.
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

/** Commands for one shard; `write` puts them into its frame under the request's number. */
export interface ShardCommands {
  shard: number
  /** How many commands count against what may be under way. */
  commands: number
  write(frame: FrameWriter, request: number): void
}

/** A request as it stands in the frame of its shard. */
interface WrittenRequest {
  request: number
  tenant: number
  commands: number
  bytes: number
  /** The frame before it. */
  frame: FrameWriter
  countBefore: number
  bytesBefore: number
}

interface PendingRequest {
  resolve(outcome: Outcome): void
  deadline: number
  tenant: number
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
  /** Streams of the current generation, ascending, by index of their shard. */
  readonly streams: readonly number[]
  readonly striped: StripedParts
  /** Requests under way by number; a Map iterates in the order of arrival, that is of deadline. */
  readonly #pending = new Map<number, PendingRequest>()
  #nextRequest = 1
  #inFlightCommands = 0
  #inFlightBytes = 0
  #flushScheduled = false
  #sweep: Timer | undefined
  #onIdle: (() => void) | undefined
  #closed = false

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
    this.streams = ports.map((port) => port.stream)
    this.striped = new StripedParts(this.streams)
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
    return this.streams[index]
  }

  /**
   * Sends commands to a shard; `write` puts them into the frame under the request's number.
   * Resolves with the answer, with `overloaded` (nothing was sent), or with `unanswered`.
   */
  submit(shard: number, commands: number, write: ShardCommands['write']): Promise<Outcome> {
    if (!this.#admits(commands)) return Promise.resolve({ kind: 'overloaded' })
    return this.#expect(this.#write({ shard, commands, write }))
  }

  /**
   * Sends commands to several shards, all in the same tick, and resolves with an outcome for each.
   * Either all of them are sent, or all are `overloaded`.
   */
  submitAll(parts: readonly ShardCommands[]): Promise<Outcome[]> {
    const commands = parts.reduce((total, part) => total + part.commands, 0)
    if (!this.#admits(commands)) {
      return Promise.resolve(parts.map(() => ({ kind: 'overloaded' })))
    }
    const written: WrittenRequest[] = []
    try {
      for (const part of parts) written.push(this.#write(part))
    } catch (error) {
      for (const { frame, countBefore, bytesBefore } of written.reverse()) {
        frame.rollBack(countBefore, bytesBefore)
      }
      throw error
    }
    return Promise.all(written.map((request) => this.#expect(request)))
  }

  /** Whether an answer may still be given: the lease that it was released under has not run out. */
  isValid(reply: Reply): boolean {
    return this.#clock.monotonic() < reply.validUntil
  }

  /** Takes a frame of answers from a shard. */
  receive(frame: ArrayBuffer): void {
    const validUntil = frameNumber(frame)
    // The process may have been frozen on the way: an answer past its lease is not given.
    const mayAnswer = this.#clock.monotonic() < validUntil
    const words = new Uint32Array(frame)
    let at = frameHeaderWords
    while (at < words.length && (words[at] & 0xff) !== 0) {
      const { reply, next } = readReply(words, at, validUntil)
      // A part is told once, and is durable whether the lease has run out or not.
      this.#learn(reply)
      if (mayAnswer) this.#finish(reply.request, reply)
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
    this.#closed = true
    this.#sweep?.cancel()
    for (const request of [...this.#pending.keys()]) this.#finish(request, { kind: 'unanswered' })
  }

  #admits(commands: number): boolean {
    return (
      this.#inFlightCommands + commands <= this.#limits.inFlightCommandsMax &&
      this.#inFlightBytes <= this.#limits.inFlightBytesMax
    )
  }

  #write({ shard, commands, write }: ShardCommands): WrittenRequest {
    const request = this.#nextRequest
    this.#nextRequest = request === 0xffffffff ? 1 : request + 1
    const frame = this.#frames[shard]
    const { count: countBefore, byteLength: bytesBefore } = frame
    try {
      write(frame, request)
    } catch (error) {
      // A batch cut off in the middle would swallow the commands of other requests.
      frame.rollBack(countBefore, bytesBefore)
      throw error
    }
    const bytes = frame.byteLength - bytesBefore
    const tenant = frame.words[bytesBefore / 4 + Word.tenant]
    return { request, tenant, commands, bytes, frame, countBefore, bytesBefore }
  }

  #expect({ request, tenant, commands, bytes }: WrittenRequest): Promise<Outcome> {
    if (this.#closed) return Promise.resolve({ kind: 'unanswered' })
    this.#inFlightCommands += commands
    this.#inFlightBytes += bytes
    this.#scheduleFlush()
    return new Promise((resolve) => {
      const deadline = this.#clock.monotonic() + this.#limits.requestTimeoutMs
      this.#pending.set(request, { resolve, deadline, tenant, commands, bytes })
    })
  }

  /** Remembers the parts of striped accounts that an answer shows. */
  #learn(reply: Reply): void {
    if (reply.kind === 'part') this.striped.learn(reply.tenant, reply.balance)
    if (reply.kind !== 'accepted' && reply.kind !== 'account') return
    const tenant = this.#pending.get(reply.request)?.tenant
    if (tenant === undefined) return
    if (reply.kind === 'account') this.striped.learn(tenant, reply.balance)
    else for (const balance of reply.balances) this.striped.learn(tenant, balance)
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
