import { BookError } from '../../src/actors/book-error.js'
import { JournalFault } from '../../src/journal/session.js'
import type { Built } from '../../src/snapshots/build-snapshot.js'
import { below } from '../actors/random.js'
import type { Choices } from './choices.js'
import type { Chronicle } from './chronicle.js'
import type { Oracle } from './oracle/oracle.js'
import { expect } from './oracle/violation.js'
import type { SimulatedPostgres } from './postgres/simulated-postgres.js'
import { type ProcessParts, SimulatedProcess } from './process.js'
import type { ReadModels } from './read-models.js'
import type { Scheduler } from './scheduler.js'
import { beginningMs, type Script } from './script.js'
import type { SnapshotShelf } from './snapshot-shelf.js'

/** How long whoever watches over the process waits before starting it again. */
const restartMs = 200
const aliveMax = 3

export interface ProcessesParts {
  script: Script
  scheduler: Scheduler
  choices: Choices
  postgres: SimulatedPostgres
  shelf: SnapshotShelf
  readModels: ReadModels
  oracle: Oracle
  chronicle: Chronicle
  /** Nobody answers any more for what was asked of this process. */
  onEnded(process: SimulatedProcess): void
}

/** The processes of a world, and whoever starts one when there is none. */
export class Processes {
  /** With so many shards the next one starts. */
  shards: number
  /** Somebody has set the machine's clock by so much. */
  wallJumpMs = 0
  /** There are no more faults: who is frozen stays so for ever, and is not waited for. */
  isHealed = false
  /** Nobody starts processes again: the world is about to end. */
  isOver = false
  readonly #parts: ProcessesParts
  readonly #all: SimulatedProcess[] = []
  /** In a row. */
  #failedStarts = 0

  constructor(parts: ProcessesParts) {
    this.#parts = parts
    this.shards = parts.script.shards
  }

  get alive(): SimulatedProcess[] {
    return this.#all.filter(({ isAlive }) => isAlive)
  }

  get newest(): SimulatedProcess | undefined {
    return this.alive.at(-1)
  }

  get oldest(): SimulatedProcess | undefined {
    return this.alive[0]
  }

  get serving(): SimulatedProcess | undefined {
    return this.alive.findLast(({ state }) => state === 'serving')
  }

  /** One process serves, and no other does anything. */
  get isOneServing(): boolean {
    const active = this.alive.filter(({ isFrozen }) => !isFrozen)
    return active.length === 1 && active[0].state === 'serving'
  }

  get wallMs(): number {
    return beginningMs + this.#parts.scheduler.nowMs + this.wallJumpMs
  }

  start(): void {
    const name = `process ${this.#all.length + 1}`
    const started = new SimulatedProcess(this.#processParts, name, this.shards)
    this.#all.push(started)
    this.#parts.chronicle.say(`${name} starts with ${this.shards} shards`)
    started.start()
  }

  /** Beside those that are there, if they are not too many. */
  startAnother(): void {
    if (this.alive.length >= aliveMax) return
    this.#parts.chronicle.hit('second process')
    this.start()
  }

  killNewest(): void {
    const { newest } = this
    this.#parts.chronicle.hit(newest?.state === 'starting' ? 'kill at the start' : 'kill')
    newest?.kill()
  }

  stopServing(): void {
    const { serving } = this
    if (serving === undefined) return
    this.#parts.chronicle.hit('stop')
    serving.stop()
  }

  killAll(): void {
    for (const each of this.alive) each.kill()
  }

  freezeNewest(forMs: number): void {
    const { scheduler, oracle, chronicle } = this.#parts
    const frozen = this.newest
    if (frozen === undefined || frozen.isFrozen) return
    chronicle.hit('freeze')
    frozen.freeze()
    scheduler.after(forMs, () => {
      if (!frozen.isFrozen || !frozen.isAlive || this.isHealed) return
      if (oracle.wasTakenOver(frozen)) chronicle.hit('freeze past a take-over')
      chronicle.say(`${frozen.name} goes on`)
      frozen.thaw()
    })
  }

  /** No more faults: frozen ones go on, but those that stay so for ever, and are not missed. */
  heal(staysFrozen: (frozen: SimulatedProcess) => boolean): void {
    this.isHealed = true
    for (const each of this.alive) if (each.isFrozen && !staysFrozen(each)) each.thaw()
    this.#startIfNeeded()
  }

  get #processParts(): ProcessParts {
    const { script, chronicle, postgres, scheduler, choices, shelf, readModels } = this.#parts
    const { slowShare, slowMsMax, settings } = script
    return {
      ...{ scheduler, choices, postgres, settings, shelf, readModels },
      pace: { slowShare, slowMsMax, onSlow: () => chronicle.hit('slow message') },
      wallMs: () => this.wallMs,
      onServing: ({ name }) => {
        chronicle.say(`${name} serves generation ${postgres.tables.book.generation}`)
      },
      onTrouble: (thread, error) => chronicle.say(`${thread} tries again: ${error.message}`),
      onPassedOver: (message) => {
        chronicle.hit('snapshot passed over')
        chronicle.say(message)
      },
      onSnapshot: (process, outcome) => this.#snapshotBuilt(process, outcome),
      onEnd: (process, fault) => this.#ended(process, fault),
    }
  }

  tellProjected(positions: [stream: number, seq: number][]): void {
    for (const each of this.alive) each.tellProjected(positions)
  }

  buildSnapshot(keep: number): void {
    this.serving?.buildSnapshot(keep)
  }

  /** A build may fail because something is out of reach, but not because of what it reads. */
  #snapshotBuilt({ name }: SimulatedProcess, outcome: Built | Error): void {
    const { chronicle } = this.#parts
    if (!(outcome instanceof Error)) {
      if (outcome.isNew) chronicle.hit('snapshot built')
      const { streams, id } = outcome.snapshot
      const position = streams.map(({ stream, seq }) => `${stream}-${seq}`).join()
      chronicle.say(`${name} has built snapshot ${id} of ${position}`)
      return
    }
    chronicle.say(`${name} could not build a snapshot: ${outcome.message}`)
    const isBroken = outcome instanceof BookError || outcome instanceof JournalFault
    chronicle.watch(() =>
      expect(!isBroken, 7, () => `a snapshot cannot be built: ${outcome.message}`),
    )
  }

  #ended(ended: SimulatedProcess, fault: Error | undefined): void {
    const { chronicle, oracle, onEnded, scheduler, choices } = this.#parts
    if (this.isOver || chronicle.violation !== undefined) return
    chronicle.say(`${ended.name} has ended${fault === undefined ? '' : `: ${fault.message}`}`)
    if (fault !== undefined) chronicle.watch(() => oracle.ended(ended, fault))
    onEnded(ended)
    this.#failedStarts = ended.hasServed ? 0 : this.#failedStarts + 1
    // Who watches over a process that never comes to serve loses patience, and so would the reader.
    const pauseMs = restartMs * 2 ** Math.max(0, Math.min(this.#failedStarts - 5, 6))
    scheduler.after(pauseMs + below(choices.of('supervisor'), 300), () => {
      this.#startIfNeeded()
    })
  }

  /** One that is frozen may go on, as long as there are faults. */
  #startIfNeeded(): void {
    const isNeeded = this.alive.every(({ isFrozen }) => isFrozen && this.isHealed)
    if (isNeeded && !this.isOver) this.start()
  }
}
