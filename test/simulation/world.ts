import type { Database } from '../../src/journal/database.js'
import { postgresStore } from '../../src/journal/postgres-session.js'
import { readLayout } from '../../src/journal/take-over.js'
import { digestOfJournal } from '../actors/journal-check.js'
import { below } from '../actors/random.js'
import { Choices } from './choices.js'
import type { ClientAnswer, Command } from './commands.js'
import { describeAct, describeAnswer, describeCommand } from './in-words.js'
import { Oracle } from './oracle/oracle.js'
import { expect, Violation } from './oracle/violation.js'
import { type Commit, SimulatedPostgres } from './postgres/simulated-postgres.js'
import { type ProcessParts, SimulatedProcess } from './process.js'
import { isDefinite, isDone, isRead, isTransient, type Request } from './request.js'
import { leftoversOf } from './rest.js'
import { Scheduler, Thread } from './scheduler.js'
import { type Act, beginningMs, type Script } from './script.js'
import { opening } from './workload.js'

/** After the last fault, everything must be answered and at rest within this. */
const restMsMax = 300_000
/** How long whoever watches over the process waits before starting it again. */
const restartMs = 200

export interface WorldOutcome {
  violation: Violation | undefined
  /** How often each fault struck. */
  hits: Map<string, number>
  /** What came of requests, by outcome. */
  answers: Map<string, number>
  steps: number
  simulatedMs: number
  /** What happened, line by line; only if it was asked for. */
  trace: string[]
}

/** One life of a book under a script: processes, clients, a Postgres, and an oracle that watches. */
export class World {
  readonly #script: Script
  readonly #scheduler = new Scheduler()
  readonly #choices: Choices
  readonly #postgres: SimulatedPostgres
  readonly #oracle: Oracle
  readonly #processes: SimulatedProcess[] = []
  readonly #requests: Request[] = []
  readonly #trace: string[] = []
  readonly #isTraced: boolean
  readonly #hits = new Map<string, number>()
  readonly #answers = new Map<string, number>()
  #shards: number
  #wallJumpMs = 0
  #violation: Violation | undefined
  #underWay = 0
  /** Nobody starts processes again: the world is about to end. */
  #isOver = false

  constructor(script: Script, options: { trace: boolean }) {
    this.#script = script
    this.#shards = script.shards
    this.#isTraced = options.trace
    this.#choices = new Choices(script.seed)
    this.#postgres = new SimulatedPostgres({
      scheduler: this.#scheduler,
      choices: this.#choices,
      onCommit: (commit) => this.#watched(() => this.#committed(commit)),
      onHit: (fault) => this.#hit(withoutStatement(fault)),
    })
    this.#oracle = new Oracle(() => this.#postgres.tables, script.settings.leaseMs)
  }

  async run(): Promise<WorldOutcome> {
    const onRejection = (reason: unknown) => this.#fail(reason as Error)
    process.on('unhandledRejection', onRejection)
    try {
      await this.#live()
    } catch (error) {
      this.#fail(error as Error)
    } finally {
      process.removeListener('unhandledRejection', onRejection)
      for (const each of this.#processes) each.kill()
    }
    return {
      violation: this.#violation,
      hits: this.#hits,
      answers: this.#answers,
      steps: this.#scheduler.steps,
      simulatedMs: this.#scheduler.nowMs,
      trace: this.#trace,
    }
  }

  async #live(): Promise<void> {
    this.#startProcess()
    await this.#until('it serves', () => this.#serving !== undefined)
    for (const command of opening) {
      const request = this.#send(command, this.#serving)
      await this.#until('the book is opened', () => request.answer !== undefined)
    }
    await this.#play()
    this.#heal()
    await this.#until('one process serves', () => this.#isAlone)
    await this.#until('every request has an answer', () => this.#underWay === 0)
    // Before the last restart, which hides what a long life has left behind.
    await this.#rest()
    await this.#compareDigests()
    await this.#restart()
    await this.#askAgain()
    await this.#rest()
    await this.#readAll()
    await this.#compareDigests()
    this.#isOver = true
    this.#watched(() => this.#finish())
  }

  /** Once more from the journal alone, mostly with another number of shards. */
  async #restart(): Promise<void> {
    this.#shards = this.#script.shardsAtLast
    for (const each of this.#alive) each.kill()
    await this.#until('one process serves', () => this.#isAlone)
  }

  /** Whatever is over leaves nothing behind. */
  async #rest(): Promise<void> {
    let left: string[] = []
    const isAtRest = () => {
      const serving = this.#serving
      if (serving === undefined || !this.#postgres.isIdle) return false
      left = leftoversOf(serving, this.#oracle.book, this.#wallMs)
      return left.length === 0
    }
    await this.#until(() => `nothing is left (${left.join(', ')})`, isAtRest)
  }

  /** After a while in which nobody asked for anything, all that is there can be read. */
  async #readAll(): Promise<void> {
    await this.#run(() => false, this.#scheduler.nowMs + this.#script.settings.leaseMs * 1.5)
    const { accounts, transactions } = this.#oracle.book
    const random = this.#choices.of('reads')
    const commands: Command[] = [
      ...[...accounts.keys()].map((id) => ({ does: 'read account', id }) as const),
      ...[...transactions.keys()]
        .filter(() => random() < 0.5)
        .map((id) => ({ does: 'read transaction', id }) as const),
    ]
    for (const command of commands) await this.#readIt(command)
  }

  /** A message may take longer than a request is given; but not again and again. */
  async #readIt(command: Command): Promise<void> {
    for (let attempt = 0; ; attempt++) {
      const request = this.#send(command, this.#serving)
      await this.#until('a read is answered', () => request.answer !== undefined)
      const { outcome } = request.answer ?? {}
      if (outcome === 'account' || outcome === 'read') return
      expect(attempt < 10, 10, () => `${describeCommand(command)} is never answered`)
    }
  }

  /** What is in memory is what any number of shards would read from the journal. */
  async #compareDigests(): Promise<void> {
    const random = this.#choices.of('digest')
    const shards = 1 + below(random, 4)
    const checker = new Thread(this.#scheduler, 'checker', (error) => this.#fail(error))
    const database = this.#postgres.databaseFor(checker, restMsMax)
    for (;;) {
      await this.#until('all is quiet', () => this.#isQuiet)
      const { commit } = this.#oracle
      let digest: bigint | undefined
      checker.after(0, () => {
        readDigest(database, shards).then(
          (read) => {
            digest = read
          },
          (error: Error) => this.#fail(error),
        )
      })
      await this.#until('the journal is read', () => digest !== undefined)
      await this.#until('all is quiet', () => this.#isQuiet)
      // A hold may have expired meanwhile.
      if (this.#oracle.commit !== commit) continue
      const [serving] = this.#alive
      const text = `${shards} shards read another digest than ${serving.shardCount} have in memory`
      expect(digest === serving.digest, 7, () => text)
      return
    }
  }

  async #play(): Promise<void> {
    let left = this.#script.steps.length
    let atMs = this.#scheduler.nowMs
    for (const step of this.#script.steps) {
      atMs += step.afterMs
      this.#scheduler.at(atMs, () => {
        left -= 1
        this.#watched(() => this.#act(step))
      })
    }
    await this.#run(() => left === 0, Number.POSITIVE_INFINITY)
  }

  #act(act: Act): void {
    if (act.act !== 'send') this.#say(describeAct(act))
    const serving = this.#serving
    switch (act.act) {
      case 'send':
        this.#send(act.command, act.toOlder ? this.#oldest : this.#newest)
        return
      case 'kill':
        this.#shards = act.shards
        this.#hit(this.#newest?.state === 'starting' ? 'kill at the start' : 'kill')
        this.#newest?.kill()
        return
      case 'stop':
        this.#shards = act.shards
        if (serving !== undefined) this.#hit('stop')
        serving?.stop()
        return
      case 'start':
        this.#shards = act.shards
        if (this.#alive.length >= 3) return
        this.#hit('second process')
        this.#startProcess()
        return
      case 'freeze':
        this.#freeze(act.forMs)
        return
      case 'set clock':
        this.#hit(act.byMs < 0 ? 'clock set back' : 'clock set forward')
        this.#wallJumpMs += act.byMs
        return
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

  #freeze(forMs: number): void {
    const frozen = this.#newest
    if (frozen === undefined || frozen.isFrozen) return
    this.#hit('freeze')
    frozen.freeze()
    this.#scheduler.after(forMs, () => {
      if (!frozen.isFrozen || !frozen.isAlive) return
      if (this.#oracle.wasTakenOver(frozen)) this.#hit('freeze past a take-over')
      this.#say(`${frozen.name} goes on`)
      frozen.thaw()
    })
  }

  #heal(): void {
    this.#say('No more faults from here on.')
    this.#postgres.heal()
    // A backend whose client fell silent would stay for ever.
    this.#postgres.terminateBackends(() => true)
    for (const each of this.#alive) if (each.isFrozen) each.thaw()
  }

  /** Sends what is not known again until it is, and some of what was done to see it repeated. */
  async #askAgain(): Promise<void> {
    const random = this.#choices.of('again')
    const open = this.#requests.filter(
      ({ command, answer }) =>
        !isRead(command) &&
        answer !== undefined &&
        (!isDefinite(answer) || isTransient(answer) || (isDone(answer) && random() < 0.3)),
    )
    for (const { command } of open) {
      for (let attempt = 0; ; attempt++) {
        await this.#until('a process serves', () => this.#serving !== undefined)
        const request = this.#send(command, this.#serving)
        await this.#until('an answer', () => request.answer !== undefined)
        const { answer } = request
        if (answer !== undefined && isDefinite(answer) && !isTransient(answer)) break
        const againAtMs = this.#scheduler.nowMs + 100
        await this.#run(() => false, againAtMs)
        expect(attempt < 50, 10, () => `${describeCommand(command)} is never answered`)
      }
    }
  }

  #finish(): void {
    const [serving] = this.#alive
    for (const { gauges, book } of serving.shards) {
      expect(gauges.coordinations === 0, 10, () => 'something is still being decided')
      expect(book.reservations.count === 0, 5, () => 'something is still reserved')
      expect(book.reversing.size === 0, 10, () => 'something is still being reversed')
    }
    this.#oracle.finish()
  }

  #send(command: Command, to: SimulatedProcess | undefined): Request {
    const request: Request = {
      number: this.#requests.length + 1,
      command,
      process: to,
      sentAtMs: this.#scheduler.nowMs,
      sentAtCommit: this.#oracle.commit,
    }
    this.#requests.push(request)
    this.#underWay += 1
    this.#say(`#${request.number} ${describeCommand(command)} to ${to?.name ?? 'nobody'}`)
    const random = this.#choices.of('clients')
    if (to === undefined) {
      this.#scheduler.after(1, () => this.#learn(request, { outcome: 'not ready' }))
    } else {
      to.main.after(0.05 + random() * 0.5, () => void this.#ask(request, to))
    }
    return request
  }

  /** What the API does with a request that has arrived. */
  async #ask(request: Request, to: SimulatedProcess): Promise<void> {
    const { client } = to
    const isReady = to.state === 'serving' && client !== undefined
    const answer: ClientAnswer = isReady
      ? await client.ask(request.command)
      : { outcome: 'not ready' }
    if (!to.isAlive || request.answer !== undefined) return
    this.#watched(() => this.#oracle.answered(request, answer, this.#scheduler.nowMs))
    this.#learn(request, answer)
  }

  #learn(request: Request, answer: ClientAnswer): void {
    if (request.answer !== undefined) return
    request.answer = answer
    this.#underWay -= 1
    const outcome = answer.outcome === 'refused' ? answer.code : answer.outcome
    this.#answers.set(outcome, (this.#answers.get(outcome) ?? 0) + 1)
    this.#say(`#${request.number} is answered: ${describeAnswer(answer)}`)
  }

  #startProcess(): void {
    const name = `process ${this.#processes.length + 1}`
    const started = new SimulatedProcess(this.#parts, name, this.#shards)
    this.#processes.push(started)
    this.#say(`${name} starts with ${this.#shards} shards`)
    started.start()
  }

  get #parts(): ProcessParts {
    const { slowShare, slowMsMax, settings } = this.#script
    return {
      scheduler: this.#scheduler,
      choices: this.#choices,
      postgres: this.#postgres,
      pace: { slowShare, slowMsMax, onSlow: () => this.#hit('slow message') },
      settings,
      wallMs: () => this.#wallMs,
      onServing: (process) => {
        const { generation } = this.#postgres.tables.book
        this.#say(`${process.name} serves generation ${generation}`)
      },
      onEnd: (process, fault) => this.#ended(process, fault),
    }
  }

  #ended(ended: SimulatedProcess, fault: Error | undefined): void {
    if (this.#isOver || this.#violation !== undefined) return
    this.#say(`${ended.name} has ended${fault === undefined ? '' : `: ${fault.message}`}`)
    if (fault !== undefined) this.#watched(() => this.#oracle.ended(ended, fault))
    for (const request of this.#requests) {
      if (request.process === ended && request.answer === undefined) {
        this.#scheduler.after(0.1, () => this.#learn(request, { outcome: 'lost' }))
      }
    }
    this.#scheduler.after(restartMs + below(this.#choices.of('supervisor'), 300), () => {
      if (this.#alive.length === 0 && !this.#isOver) this.#startProcess()
    })
  }

  #committed(commit: Commit): void {
    if (this.#isTraced) {
      const records = commit.chunks.reduce((sum, { n }) => sum + n, 0)
      const heads = commit.streams.map(
        ({ after }) => `stream ${after.id} at ${after.head}, epoch ${after.epoch}`,
      )
      this.#say(`${commit.backend.name} commits ${records} records: ${heads.join('; ')}`)
    }
    this.#oracle.committed(commit, this.#scheduler.nowMs)
  }

  get #wallMs(): number {
    return beginningMs + this.#scheduler.nowMs + this.#wallJumpMs
  }

  get #alive(): SimulatedProcess[] {
    return this.#processes.filter(({ isAlive }) => isAlive)
  }

  get #newest(): SimulatedProcess | undefined {
    return this.#alive.at(-1)
  }

  get #oldest(): SimulatedProcess | undefined {
    return this.#alive[0]
  }

  get #serving(): SimulatedProcess | undefined {
    return this.#alive.findLast(({ state }) => state === 'serving')
  }

  get #isAlone(): boolean {
    return this.#alive.length === 1 && this.#serving !== undefined
  }

  get #isQuiet(): boolean {
    const serving = this.#serving
    return (
      serving !== undefined &&
      this.#underWay === 0 &&
      this.#postgres.isIdle &&
      serving.shards.every(({ gauges }) => gauges.openRecords === 0 && gauges.coordinations === 0)
    )
  }

  async #until(what: string | (() => string), isDone: () => boolean): Promise<void> {
    const untilMs = this.#scheduler.nowMs + restMsMax
    const end = await this.#run(isDone, untilMs)
    if (this.#violation !== undefined) throw this.#violation
    const text = () => (typeof what === 'string' ? what : what())
    expect(end === 'done', 10, () => `it stalls: ${text()} never comes true (${end})`)
  }

  async #run(isDone: () => boolean, untilMs: number): Promise<'done' | 'idle' | 'time is up'> {
    const end = await this.#scheduler.run(() => this.#violation !== undefined || isDone(), untilMs)
    if (this.#violation !== undefined) throw this.#violation
    return end
  }

  #watched(work: () => void): void {
    try {
      work()
    } catch (error) {
      this.#fail(error as Error)
    }
  }

  #fail(error: Error): void {
    if (this.#violation !== undefined) return
    this.#violation =
      error instanceof Violation ? error : new Violation(0, error.stack ?? error.message)
    this.#say(`VIOLATION of promise ${this.#violation.promise}: ${this.#violation.message}`)
  }

  #hit(fault: string): void {
    this.#hits.set(fault, (this.#hits.get(fault) ?? 0) + 1)
  }

  #say(line: string): void {
    if (this.#isTraced)
      this.#trace.push(`${this.#scheduler.nowMs.toFixed(2).padStart(10)}  ${line}`)
  }
}

/** Strikes are counted by what they did and when, whatever statement they met. */
function withoutStatement(fault: string): string {
  return fault.replace(/ \(.*\)$/, '').replace(/, a commit is .*$/, ' while one commits')
}

async function readDigest(database: Database, shards: number): Promise<bigint> {
  const connection = await database.connect({ name: 'checker' })
  const book = await readLayout(connection)
  await connection.end()
  return await digestOfJournal(book, postgresStore(database), shards)
}
