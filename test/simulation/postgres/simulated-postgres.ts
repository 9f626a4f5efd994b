import type { Database } from '../../../src/journal/database.js'
import type { Choices } from '../choices.js'
import type { Scheduler, Thread } from '../scheduler.js'
import { SimulatedConnection, SimulatedDatabase } from './connection.js'
import { Server } from './server.js'
import type { Strike } from './strikes.js'
import type { Commit, Tables } from './tables.js'

export type { Strike, StrikeEffect, StrikePhase } from './strikes.js'
export type { Commit, Tables } from './tables.js'

/**
 * Postgres as the statements of src can tell it from anything else: READ COMMITTED, row locks, keys
 * that are not committed yet, commits that take their time, backends that outlive their clients. It
 * stands behind the port of src/journal/database.ts, below every SQL statement.
 */
export class SimulatedPostgres {
  readonly #scheduler: Scheduler
  readonly #choices: Choices
  readonly #server: Server
  readonly #connections = new Set<SimulatedConnection>()
  #connects = 0
  /** Crashes so far: a restart belongs to one of them. */
  #crashes = 0

  constructor(parts: {
    scheduler: Scheduler
    choices: Choices
    onCommit?: (commit: Commit) => void
    onHit?: (fault: string) => void
  }) {
    this.#scheduler = parts.scheduler
    this.#choices = parts.choices
    this.#server = new Server({
      scheduler: parts.scheduler,
      choices: parts.choices,
      onCommit: parts.onCommit ?? (() => undefined),
      onHit: parts.onHit ?? (() => undefined),
    })
  }

  /** Committed state, to be looked at only. */
  get tables(): Tables {
    return this.#server.tables
  }

  /** The server as one thread of a process reaches it. */
  databaseFor(thread: Thread, connectTimeoutMs: number): Database {
    return new SimulatedDatabase(thread, connectTimeoutMs, (owner, name) => {
      this.#forgetWhatIsOver()
      this.#connects += 1
      const random = this.#choices.of(`postgres connection ${this.#connects}`)
      const connection = new SimulatedConnection(this.#server, owner, name, random)
      this.#connections.add(connection)
      return connection
    })
  }

  /** The process of these threads is dead: its sockets close; what was sent still arrives. */
  disconnect(threads: readonly Thread[]): void {
    for (const { thread, wire } of this.#connections) if (threads.includes(thread)) wire.close()
  }

  /** Strikes once, at the next statement that fits after `skip` others that fit. */
  strike(strike: Strike): void {
    this.#server.strikes.add(strike)
  }

  /** Forgets strikes that have not struck, ends what ails the disk and the door, starts the server. */
  heal(): void {
    this.#server.strikes.clear()
    this.#server.conditions.heal()
  }

  /** Kills the server with all its backends; it is up again after `downMs`. */
  crash(downMs: number): void {
    this.#crashes += 1
    const crash = this.#crashes
    this.#server.crash()
    this.#scheduler.after(downMs, () => {
      if (crash === this.#crashes) this.#server.conditions.isUp = true
    })
  }

  refuseConnects(forMs: number): void {
    this.#server.conditions.refuseConnects(forMs)
  }

  hangConnects(forMs: number): void {
    this.#server.conditions.hangConnects(forMs)
  }

  slowDisk(forMs: number): void {
    this.#server.conditions.slowDisk(forMs)
  }

  fullDisk(forMs: number): void {
    this.#server.conditions.fullDisk(forMs)
  }

  /** What pg_stat_activity would show. */
  get backends(): readonly { pid: number; name: string; phase: string }[] {
    return [...this.#server.backends.values()]
  }

  /** An operator ends backends. */
  terminateBackends(
    pick: (backend: { pid: number; name: string; phase: string }) => boolean,
  ): void {
    for (const backend of [...this.#server.backends.values()]) {
      if (pick(backend)) backend.terminate()
    }
  }

  /** No statement is under way, no transaction is open, nobody waits. */
  get isIdle(): boolean {
    for (const { wire } of this.#connections) if (!wire.isIdle) return false
    return true
  }

  #forgetWhatIsOver(): void {
    for (const connection of this.#connections) {
      if (connection.wire.isOver) this.#connections.delete(connection)
    }
  }
}
