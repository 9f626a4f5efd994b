import { MessageChannel, type MessagePort, Worker } from 'node:worker_threads'
import type { StreamCounts } from '../journal/message-counts.js'
import { SnapshotFault } from '../snapshots/manifest.js'
import type { Generation } from './shard.js'
import type { FromShard, ShardWorkerData, ToShard } from './shard-protocol.js'
import type { RecoveryProgress } from './shard-recovery.js'
import type { SlotDigest } from './slot-digests.js'

export interface ShardThreadListener {
  onFrame(frame: ArrayBuffer): void
  onProgress(progress: RecoveryProgress): void
  /** Something failed that the shard is trying again. */
  onTrouble(message: string): void
  /** The shard has stopped for good and cannot be trusted any more. */
  onFault(fault: ShardFault): void
}

/** A shard that cannot go on; `code` says why (journal/session.ts, actors/apply.ts). */
export class ShardFault extends Error {
  readonly code: string

  constructor(code: string, message: string, cause?: unknown) {
    super(message, { cause })
    this.code = code
  }
}

/** A scraper that waits longer than its usual ten seconds gets nothing at all. */
const askedTimeoutMs = 5000

type Asked = Extract<FromShard, { type: 'metrics' | 'position' | 'digest' }>

/** A shard's worker thread, seen from the main thread. */
export class ShardThread {
  readonly #worker: Worker
  readonly #listener: ShardThreadListener
  /** Resolved by the message of that type. */
  readonly #awaited = new Map<
    string,
    { resolve(message: Exclude<FromShard, ArrayBuffer>): void; reject(fault: Error): void }
  >()
  /** Resolved by the message of that number. */
  readonly #asked = new Map<number, (message: Asked | undefined) => void>()
  #nextAsked = 1
  #stopped = false

  constructor(data: ShardWorkerData, listener: ShardThreadListener) {
    this.#listener = listener
    this.#worker = new Worker(new URL('./shard-worker.js', import.meta.url), {
      workerData: data,
      name: `shard ${data.options.plan.place.shard}`,
    })
    this.#worker.on('message', (message: FromShard) => this.#receive(message))
    this.#worker.on('error', (error: Error) => {
      this.#fail(new ShardFault('internal_error', `a shard failed: ${error.message}`, error))
    })
    this.#worker.on('exit', () => {
      if (!this.#stopped) this.#fail(new ShardFault('internal_error', 'a shard has ended'))
    })
  }

  /** Sends a frame of commands; the buffer changes hands. */
  send(frame: ArrayBuffer): void {
    this.#worker.postMessage(frame, [frame])
  }

  /**
   * Loads the plan's snapshot and replays the journal as far as it is written now. Rejects with
   * {@link SnapshotFault} if the snapshot cannot be used.
   */
  async warmUp(): Promise<void> {
    const answer = await this.#request({ type: 'warmUp' }, 'warm')
    if ('refused' in answer && answer.refused !== undefined) {
      throw new SnapshotFault('damaged_snapshot', answer.refused)
    }
  }

  /** Replays what has been written since; returns the messages of the streams that it reads. */
  async readRest(): Promise<StreamCounts[]> {
    const answer = await this.#request({ type: 'readRest' }, 'restRead')
    return 'counts' in answer ? answer.counts : []
  }

  /** Becomes the writer of its stream in that generation, and serves. */
  async serve(generation: Generation): Promise<void> {
    await this.#request({ type: 'serve', generation }, 'serving')
  }

  /** Resolves when nothing is under way in the shard any more. */
  async drain(): Promise<void> {
    await this.#request({ type: 'drain' }, 'drained')
  }

  /** Gives the shard a channel to the shard of that number. */
  connect(shard: number, port: MessagePort): void {
    const message: ToShard = { type: 'peer', shard, port }
    this.#worker.postMessage(message, [port])
  }

  /** Ends the shard and its thread; what is under way may or may not become durable. */
  async stop(): Promise<void> {
    await this.#request({ type: 'stop' }, 'stopped')
  }

  /** Ends a shard that has not served. */
  async discard(): Promise<void> {
    await this.terminate()
  }

  /** Ends the thread at once. */
  async terminate(): Promise<void> {
    this.#stopped = true
    await this.#worker.terminate()
  }

  /** The read models have come this far. */
  projected(positions: [stream: number, seq: number][]): void {
    if (!this.#stopped) this.#tell({ type: 'projected', positions })
  }

  /** The shard's metrics as plain data; an empty list if it does not answer in time. */
  async metrics(): Promise<object> {
    const answer = await this.#ask((id) => ({ type: 'metrics', id }))
    return answer?.type === 'metrics' ? answer.metrics : []
  }

  /** Seq of the last durable record; undefined if the shard does not answer in time. */
  async position(): Promise<number | undefined> {
    const answer = await this.#ask((id) => ({ type: 'position', id }))
    return answer?.type === 'position' ? answer.seq : undefined
  }

  /** Digest of a slot (see `Shard.digestOf`); undefined if the shard does not answer in time. */
  async digestOf(slot: number): Promise<SlotDigest | undefined> {
    const answer = await this.#ask((id) => ({ type: 'digest', id, slot }))
    return answer?.type === 'digest' ? answer.digest : undefined
  }

  #ask(message: (id: number) => ToShard): Promise<Asked | undefined> {
    const id = this.#nextAsked
    this.#nextAsked += 1
    return new Promise((resolve) => {
      const timer = setTimeout(() => this.#takeAsked(id, undefined), askedTimeoutMs)
      this.#asked.set(id, (answer) => {
        clearTimeout(timer)
        resolve(answer)
      })
      this.#tell(message(id))
    })
  }

  #tell(message: ToShard): void {
    this.#worker.postMessage(message)
  }

  #request(message: ToShard, answer: string): Promise<Exclude<FromShard, ArrayBuffer>> {
    return new Promise((resolve, reject) => {
      this.#awaited.set(answer, { resolve, reject })
      this.#tell(message)
    })
  }

  #receive(message: FromShard): void {
    if (message instanceof ArrayBuffer) {
      this.#listener.onFrame(message)
      return
    }
    switch (message.type) {
      case 'progress':
        this.#listener.onProgress(message.progress)
        break
      case 'trouble':
        this.#listener.onTrouble(message.message)
        break
      case 'metrics':
      case 'position':
      case 'digest':
        this.#takeAsked(message.id, message)
        break
      case 'fault':
        this.#fail(new ShardFault(message.code, message.message))
        break
      default:
        if (message.type === 'stopped') this.#stopped = true
        this.#awaited.get(message.type)?.resolve(message)
        this.#awaited.delete(message.type)
    }
  }

  #takeAsked(id: number, answer: Asked | undefined): void {
    this.#asked.get(id)?.(answer)
    this.#asked.delete(id)
  }

  #fail(fault: ShardFault): void {
    for (const { reject } of this.#awaited.values()) reject(fault)
    this.#awaited.clear()
    this.#listener.onFault(fault)
  }
}

/** Gives each pair of shards a channel of its own, so that frames between them stay in order. */
export function connectPeers(shards: readonly ShardThread[]): void {
  for (const [one, shard] of shards.entries()) {
    for (let other = one + 1; other < shards.length; other++) {
      const { port1, port2 } = new MessageChannel()
      shard.connect(other, port1)
      shards[other].connect(one, port2)
    }
  }
}
