import { Choices } from './choices.js'
import { Chronicle } from './chronicle.js'
import { Clients } from './clients.js'
import { Ending } from './ending.js'
import { describeAct } from './in-words.js'
import { Oracle } from './oracle/oracle.js'
import type { Violation } from './oracle/violation.js'
import { type Commit, SimulatedPostgres } from './postgres/simulated-postgres.js'
import { Processes } from './processes.js'
import { ReadModels } from './read-models.js'
import { Scheduler } from './scheduler.js'
import type { Act, Script } from './script.js'
import { SnapshotShelf } from './snapshot-shelf.js'
import { opening } from './workload.js'

export interface WorldOutcome extends Pick<Chronicle, 'hits' | 'answers' | 'trace'> {
  violation: Violation | undefined
  /** Events. */
  steps: number
  simulatedMs: number
}

/**
 * One life of a book under a script: processes, clients, a Postgres, and an oracle that watches.
 *
 *     opening the book ─▶ the script's steps ─▶ no more faults: rest, restart, rest (ending.ts)
 */
export class World {
  readonly #script: Script
  readonly #scheduler = new Scheduler()
  readonly #chronicle: Chronicle
  readonly #postgres: SimulatedPostgres
  readonly #shelf: SnapshotShelf
  readonly #oracle: Oracle
  readonly #readModels: ReadModels
  readonly #processes: Processes
  readonly #clients: Clients
  readonly #ending: Ending

  constructor(script: Script, options: { trace: boolean }) {
    const scheduler = this.#scheduler
    const choices = new Choices(script.seed)
    this.#script = script
    this.#chronicle = new Chronicle(options.trace, () => scheduler.nowMs)
    this.#postgres = new SimulatedPostgres({
      scheduler,
      choices,
      onCommit: (commit) => this.#chronicle.watch(() => this.#committed(commit)),
      onHit: (fault) => this.#chronicle.hit(withoutStatement(fault)),
    })
    this.#oracle = new Oracle(() => this.#postgres.tables, script.settings.leaseMs)
    this.#shelf = new SnapshotShelf(scheduler, choices.of('shelf'))
    this.#readModels = new ReadModels(
      () => this.#postgres.tables,
      () => this.#processes?.tellProjected(this.#readModels.positions),
    )
    const parts = {
      readModels: this.#readModels,
      ...{ script, scheduler, choices, shelf: this.#shelf },
      ...{ postgres: this.#postgres, oracle: this.#oracle, chronicle: this.#chronicle },
    }
    this.#clients = new Clients(parts)
    this.#processes = new Processes({
      ...parts,
      onEnded: (process) => this.#clients.lose(process),
    })
    this.#ending = new Ending({ ...parts, processes: this.#processes, clients: this.#clients })
  }

  async run(): Promise<WorldOutcome> {
    const chronicle = this.#chronicle
    const onRejection = (reason: unknown) => chronicle.fail(reason as Error)
    process.on('unhandledRejection', onRejection)
    try {
      await this.#open()
      await this.#play()
      await this.#ending.play()
    } catch (error) {
      chronicle.fail(error as Error)
    } finally {
      process.removeListener('unhandledRejection', onRejection)
      this.#processes.isOver = true
      this.#processes.killAll()
    }
    const { violation, hits, answers, trace } = chronicle
    const { steps, nowMs: simulatedMs } = this.#scheduler
    return { violation, hits, answers, trace, steps, simulatedMs }
  }

  async #open(): Promise<void> {
    this.#processes.start()
    await this.#ending.until('it serves', () => this.#processes.serving !== undefined)
    for (const command of opening) {
      const request = this.#clients.send(command, this.#processes.serving)
      await this.#ending.until('the book is opened', () => request.answer !== undefined)
    }
  }

  async #play(): Promise<void> {
    const chronicle = this.#chronicle
    let left = this.#script.steps.length
    let atMs = this.#scheduler.nowMs
    for (const step of this.#script.steps) {
      atMs += step.afterMs
      this.#scheduler.at(atMs, () => {
        left -= 1
        chronicle.watch(() => this.#act(step))
      })
    }
    const isDone = () => left === 0 || chronicle.violation !== undefined
    await this.#scheduler.run(isDone, Number.POSITIVE_INFINITY)
    if (chronicle.violation !== undefined) throw chronicle.violation
  }

  #act(act: Act): void {
    if (act.act !== 'send') this.#chronicle.say(describeAct(act))
    const processes = this.#processes
    if ('shards' in act) processes.shards = act.shards
    switch (act.act) {
      case 'send':
        this.#clients.send(act.command, act.toOlder ? processes.oldest : processes.newest)
        return
      case 'kill':
        processes.killNewest()
        return
      case 'stop':
        processes.stopServing()
        return
      case 'start':
        processes.startAnother()
        return
      case 'freeze':
        processes.freezeNewest(act.forMs)
        return
      case 'set clock':
        this.#chronicle.hit(act.byMs < 0 ? 'clock set back' : 'clock set forward')
        processes.wallJumpMs += act.byMs
        return
      case 'build snapshot':
        processes.buildSnapshot(act.keep)
        return
      case 'damage snapshot':
        if (this.#shelf.damage() !== undefined) this.#chronicle.hit('snapshot damaged')
        return
      case 'snapshots out of reach':
        this.#chronicle.hit(act.act)
        this.#shelf.away(act.forMs)
        return
      case 'read models follow':
        this.#readModels.follow(Math.ceil(this.#readModels.late * act.share))
        return
      case 'read models out of reach':
        this.#chronicle.hit(act.act)
        this.#readModels.isThere = false
        this.#scheduler.after(act.forMs, () => {
          this.#readModels.isThere = true
        })
        return
      default:
        this.#troublePostgres(act)
    }
  }

  #troublePostgres(act: PostgresAct): void {
    switch (act.act) {
      case 'strike':
        for (const strike of act.strikes) this.#postgres.strike(strike)
        return
      case 'crash postgres':
        this.#postgres.crash(act.forMs)
        return
      case 'refuse connects':
        this.#postgres.refuseConnects(act.forMs)
        return
      case 'hang connects':
        this.#postgres.hangConnects(act.forMs)
        return
      case 'slow disk':
        this.#postgres.slowDisk(act.forMs)
        return
      case 'full disk':
        this.#postgres.fullDisk(act.forMs)
        return
      case 'terminate backends':
        this.#postgres.terminateBackends(() => true)
    }
  }

  #committed(commit: Commit): void {
    if (this.#chronicle.isTraced) {
      const records = commit.chunks.reduce((sum, { n }) => sum + n, 0)
      const heads = commit.streams.map(
        ({ after }) => `stream ${after.id} at ${after.head}, epoch ${after.epoch}`,
      )
      this.#chronicle.say(`${commit.backend.name} commits ${records} records: ${heads.join('; ')}`)
    }
    this.#oracle.committed(commit, this.#scheduler.nowMs)
    this.#readModels.committed(commit)
  }
}

type PostgresAct = Exclude<
  Act,
  {
    act:
      | 'send'
      | 'kill'
      | 'stop'
      | 'start'
      | 'freeze'
      | 'set clock'
      | 'build snapshot'
      | 'damage snapshot'
      | 'snapshots out of reach'
      | 'read models follow'
      | 'read models out of reach'
  }
>

/** Strikes are counted by what they did and when, whatever statement they met. */
function withoutStatement(fault: string): string {
  return fault.replace(/ \(.*\)$/, '').replace(/, a commit is .*$/, ' while one commits')
}
