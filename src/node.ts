import { randomUUID } from 'node:crypto'
import { join } from 'node:path'
import pg from 'pg'
import type { Logger } from 'pino'
import { Router } from './actors/router.js'
import { type ShardFault, ShardThread } from './actors/shard-thread.js'
import type { ServingParts } from './api/context.js'
import { type Clock, systemClock } from './clock.js'
import type { Config } from './config.js'
import { type EmbeddedPostgres, startEmbeddedPostgres } from './journal/embedded.js'
import { migrate } from './journal/migrate.js'
import { postgresReader } from './journal/reader.js'
import { type BookLayout, readLayout, takeOver } from './journal/take-over.js'

/**
 * One Daybook process: Postgres, the shards, the router between them and the API.
 *
 *     created ─▶ starting Postgres ─▶ migrating ─▶ warming up ─▶ taking over ─▶ reading the rest
 *             ─▶ serving ─▶ stopping ─▶ stopped
 *
 * Nothing is taken from a process that runs before `taking over`. A shard that cannot go on, above
 * all because another process has taken its stream, ends the whole node: see `onFault`.
 */
export type NodePhase =
  | 'created'
  | 'starting_postgres'
  | 'migrating'
  | 'warming_up'
  | 'taking_over'
  | 'reading_rest'
  | 'serving'
  | 'stopping'
  | 'stopped'

export interface NodeStatus {
  phase: NodePhase
  /** Of the streams together, while the journal is replayed. */
  recordsDone: number
  recordsTotal: number
}

export class DaybookNode {
  readonly clock: Clock = systemClock
  readonly #config: Config
  readonly #log: Logger
  readonly #onFault: (fault: ShardFault) => void
  readonly #owner = randomUUID()
  readonly #progress = new Map<number, { recordsDone: number; recordsTotal: number }>()
  #phase: NodePhase = 'created'
  #postgres: EmbeddedPostgres | undefined
  #shards: ShardThread[] = []
  #serving: ServingParts | undefined
  /** Another process has taken over: its Postgres, if it is ours, must go on. */
  #fenced = false
  readonly #abort = new AbortController()

  /** `onFault` is called when the node cannot go on; the process must then end. */
  constructor(config: Config, log: Logger, onFault: (fault: ShardFault) => void) {
    this.#config = config
    this.#log = log
    this.#onFault = onFault
  }

  get status(): NodeStatus {
    const status = { phase: this.#phase, recordsDone: 0, recordsTotal: 0 }
    for (const { recordsDone, recordsTotal } of this.#progress.values()) {
      status.recordsDone += recordsDone
      status.recordsTotal += recordsTotal
    }
    return status
  }

  /** Router and journal while the node serves; undefined otherwise. */
  get serving(): ServingParts | undefined {
    return this.#phase === 'serving' ? this.#serving : undefined
  }

  /** Goes through the phases up to `serving`; rejects if one of them fails. */
  async start(): Promise<void> {
    const connectionString = await this.#startPostgres()
    const client = new pg.Client({ connectionString, application_name: 'daybook start' })
    client.on('error', () => undefined)
    await client.connect()
    try {
      this.#enter('migrating')
      await migrate(client)
      this.#enter('warming_up')
      const layout = await readLayout(client)
      this.#shards = layout.streams.map((stream) => this.#startShard(stream, connectionString))
      await Promise.all(this.#shards.map((shard) => shard.warmUp()))
      this.#enter('taking_over')
      const taken = await takeOver(client, this.#owner, (message) => this.#log.warn(message))
      this.#assertSameLayout(layout, taken)
      this.#enter('reading_rest')
      await Promise.all(this.#shards.map((shard) => shard.serve()))
      this.#serving = this.#wire(taken, connectionString)
      this.#enter('serving')
    } finally {
      await client.end().catch(() => undefined)
    }
  }

  /** Finishes what has been accepted, then stops the shards and Postgres. */
  async stop(): Promise<void> {
    if (this.#phase === 'stopped') return
    const wasServing = this.#phase === 'serving'
    this.#enter('stopping')
    this.#abort.abort()
    if (wasServing && !this.#fenced) {
      await this.#serving?.router.drained()
      await Promise.all(this.#shards.map((shard) => shard.stop()))
    }
    await Promise.all(this.#shards.map((shard) => shard.terminate()))
    this.#serving?.router.close()
    await this.#serving?.journal.close().catch(() => undefined)
    if (!this.#fenced) await this.#postgres?.stop()
    this.#enter('stopped')
  }

  /** The metrics of every shard, as plain data. */
  shardMetrics(): Promise<object[]> {
    if (this.#phase !== 'serving') return Promise.resolve([])
    return Promise.all(this.#shards.map((shard) => shard.metrics()))
  }

  async #startPostgres(): Promise<string> {
    const { databaseUrl, dataDirectory } = this.#config.process
    if (databaseUrl !== undefined) return databaseUrl
    this.#enter('starting_postgres')
    this.#postgres = await startEmbeddedPostgres({
      directory: join(dataDirectory, 'postgres'),
      log: (line) => this.#log.info(line),
      signal: this.#abort.signal,
    })
    return this.#postgres.connectionString
  }

  #startShard(stream: number, connectionString: string): ShardThread {
    const { process, book } = this.#config
    return new ShardThread(
      {
        options: {
          stream,
          owner: this.#owner,
          leaseMs: process.leaseMs,
          commitTimeoutMs: process.commitTimeoutMs,
          admissionTimeoutMs: process.admissionTimeoutMs,
          limits: {
            accountsMax: process.accountsMax,
            transactionsMax: process.transactionsMax,
          },
        },
        connectionString,
        digestKey: book.digestKey,
      },
      {
        onFrame: (frame) => this.#serving?.router.receive(frame),
        onProgress: (progress) => this.#progress.set(stream, progress),
        onFault: (fault) => this.#fault(fault),
      },
    )
  }

  /** The one place that knows that all shards are in this process. */
  #wire(layout: BookLayout, connectionString: string): ServingParts {
    const { process } = this.#config
    const shardOfSlot = layout.streamOfSlot.map((stream) =>
      this.#shards.findIndex((shard) => shard.stream === stream),
    )
    const limits = {
      inFlightCommandsMax: process.inFlightCommandsMax,
      inFlightBytesMax: process.inFlightCommandsMax * 4096,
      requestTimeoutMs: process.requestTimeoutMs,
    }
    return {
      router: new Router(this.clock, limits, this.#shards, shardOfSlot),
      journal: postgresReader(connectionString, {
        timeoutMs: process.commitTimeoutMs,
        onError: (error) => this.#log.warn({ err: error }, 'a connection for reading broke'),
      }),
    }
  }

  #assertSameLayout(warm: BookLayout, taken: BookLayout): void {
    if (warm.generation !== taken.generation || warm.bookId !== taken.bookId) {
      throw new Error('the book changed its layout while this process warmed up; start again')
    }
  }

  #fault(fault: ShardFault): void {
    if (this.#phase === 'stopping' || this.#phase === 'stopped') return
    this.#fenced ||= fault.code === 'fenced'
    this.#onFault(fault)
  }

  #enter(phase: NodePhase): void {
    this.#phase = phase
    this.#log.info({ ...this.status }, `node is ${phase.replaceAll('_', ' ')}`)
  }
}
