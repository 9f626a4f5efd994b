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
 *     created ─▶ starting Postgres ─▶ connecting ─▶ migrating ─▶ warming up ─▶ taking over ─▶ reading the rest
 *             ─▶ serving ─▶ stopping ─▶ stopped
 *
 * Nothing is taken from a process that runs before `taking over`. A shard that cannot go on, above
 * all because another process has taken its stream, ends the whole node: see `onFault`.
 */
export type NodePhase =
  | 'created'
  | 'starting_postgres'
  | 'connecting'
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
  /** A shard cannot go on: nothing may be waited for, and nothing answered. */
  #faulted = false
  #tookOver = false
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
    return this.#phase === 'serving' && !this.#faulted ? this.#serving : undefined
  }

  /** Goes through the phases up to `serving`; rejects if one of them fails. */
  async start(): Promise<void> {
    const connectionString = await this.#startPostgres()
    this.#enter('connecting')
    const client = this.#newClient(connectionString)
    try {
      await client.connect()
      this.#enter('migrating')
      await migrate(client)
      this.#enter('warming_up')
      const layout = await readLayout(client)
      this.#shards = layout.layout.streams.map((stream) =>
        this.#startShard(stream, connectionString),
      )
      await Promise.all(this.#shards.map((shard) => shard.warmUp()))
      this.#enter('taking_over')
      await takeOver(client, this.#owner, layout, (message) => this.#log.warn(message))
      this.#tookOver = true
      this.#enter('reading_rest')
      await Promise.all(this.#shards.map((shard) => shard.serve()))
      this.#serving = this.#wire(layout, connectionString)
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
    if (wasServing && !this.#faulted) {
      await this.#serving?.router.drained()
      await Promise.all(this.#shards.map((shard) => shard.stop()))
    }
    await Promise.all(this.#shards.map((shard) => shard.terminate()))
    this.#serving?.router.close()
    await this.#serving?.journal.close().catch(() => undefined)
    await this.#stopPostgres()
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

  /** Stops the embedded Postgres, unless another process has taken the book over and uses it. */
  async #stopPostgres(): Promise<void> {
    if (this.#postgres === undefined) return
    const client = this.#newClient(this.#postgres.connectionString)
    try {
      await client.connect()
      const { rowCount } = await client.query(
        'select from daybook.stream where owner is not null and owner <> $1 and not closed',
        [this.#owner],
      )
      const othersOwn = rowCount !== null && rowCount > 0
      // Before the take-over the streams still name the process before us, which may be long gone.
      if (othersOwn && (this.#tookOver || this.#postgres.reused)) {
        this.#log.info('another process uses the embedded Postgres; it is left running')
        return
      }
    } catch {
      // Nobody can use what does not answer.
    } finally {
      await client.end().catch(() => undefined)
    }
    await this.#postgres.stop()
  }

  #newClient(connectionString: string): pg.Client {
    const client = new pg.Client({
      connectionString,
      application_name: 'daybook start',
      connectionTimeoutMillis: this.#config.process.commitTimeoutMs,
    })
    client.on('error', () => undefined)
    return client
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
        onProgress: (progress) => void this.#progress.set(stream, progress),
        onTrouble: (message) => this.#log.warn({ stream }, message),
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

  #fault(fault: ShardFault): void {
    this.#faulted = true
    if (this.#phase === 'stopping' || this.#phase === 'stopped') return
    this.#onFault(fault)
  }

  #enter(phase: NodePhase): void {
    this.#phase = phase
    this.#log.info({ ...this.status }, `node is ${phase.replaceAll('_', ' ')}`)
  }
}
