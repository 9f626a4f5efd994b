import type { Choices } from '../choices.js'
import type { Scheduler } from '../scheduler.js'
import { Backend } from './backend.js'
import { Conditions } from './conditions.js'
import { LockTable } from './locks.js'
import { Strikes } from './strikes.js'
import { type Commit, CommittedTables } from './tables.js'
import type { Wire } from './wire.js'

/** What the backends of one server have in common. */
export class Server {
  readonly scheduler: Scheduler
  readonly tables: CommittedTables
  readonly locks: LockTable
  readonly conditions: Conditions
  readonly strikes: Strikes
  readonly backends = new Map<number, Backend>()
  readonly random: () => number
  readonly onCommit: (commit: Commit) => void
  readonly #onHit: (fault: string) => void
  #lastPid = 1000

  constructor(parts: {
    scheduler: Scheduler
    choices: Choices
    onCommit: (commit: Commit) => void
    onHit: (fault: string) => void
  }) {
    const { scheduler, choices } = parts
    this.scheduler = scheduler
    this.random = choices.of('postgres server')
    this.tables = new CommittedTables(randomUuid(choices.of('postgres book')))
    this.locks = new LockTable(scheduler, choices.of('postgres locks'))
    this.conditions = new Conditions(scheduler, choices.of('postgres disk'), parts.onHit)
    this.strikes = new Strikes(parts.onHit)
    this.onCommit = parts.onCommit
    this.#onHit = parts.onHit
  }

  startBackend(name: string, wire: Wire): Backend {
    this.#lastPid += 1 + Math.floor(this.random() * 3)
    const startedAt = `${this.scheduler.nowMs} ms, ${this.#lastPid}`
    const backend = new Backend(this, { pid: this.#lastPid, name, startedAt, wire })
    this.backends.set(backend.pid, backend)
    return backend
  }

  /** As pg_stat_activity has it. */
  activity(): { pid: number; startedAt: string }[] {
    return [...this.backends.values()].map(({ pid, startedAt }) => ({ pid, startedAt }))
  }

  assertDiskHasRoom(): void {
    this.conditions.assertDiskHasRoom()
  }

  /** All at once, without a word: what is being written to the log may be there afterwards or not. */
  crash(): void {
    this.conditions.isUp = false
    for (const backend of [...this.backends.values()]) {
      const commits = backend.phase === 'committing' && this.random() < 0.5
      if (backend.phase === 'committing') {
        this.#onHit(`postgres crash, a commit ${commits ? 'is kept' : 'is lost'}`)
      } else if (backend.phase !== 'idle') this.#onHit('postgres crash')
      backend.crash(commits)
    }
    this.backends.clear()
    this.locks.clear()
  }
}

function randomUuid(random: () => number): string {
  const bytes = Array.from({ length: 16 }, () => Math.floor(random() * 256))
  bytes[6] = 0x40 | (bytes[6] & 0x0f)
  bytes[8] = 0x80 | (bytes[8] & 0x3f)
  const hex = Buffer.from(bytes).toString('hex')
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-')
}
