import type { Scheduled } from '../scheduler.js'
import type { Server } from './server.js'
import { ServerError, terminated } from './server-error.js'
import type { Answer, Message, Session } from './session.js'
import { carryOut, type Outcome, type Step } from './statements.js'
import { lateMs, type StrikeEffect } from './strikes.js'
import { Transaction } from './transaction.js'
import { type BackendPhase, Pause, type Steps, type Task, type Wait } from './waits.js'
import type { Wire } from './wire.js'

/**
 * One process of the server: works through what its client has sent, one message after the other,
 * whether the client still lives or not. That its client is gone it learns only when it wants to
 * read, and then it ends, with its open transaction.
 */
export class Backend implements Session, Task {
  readonly server: Server
  readonly pid: number
  readonly name: string
  readonly startedAt: string
  isGone = false
  message!: Message
  readonly #wire: Wire
  readonly #inbox: (Message | 'end of file')[] = []
  #transaction: Transaction | undefined
  #work: Steps<Answer> | undefined
  #wait: Wait | undefined
  /** Terminated, at a moment when it cannot die yet. */
  #isDying = false
  #silence: Scheduled | undefined

  constructor(server: Server, of: { pid: number; name: string; startedAt: string; wire: Wire }) {
    this.server = server
    this.pid = of.pid
    this.name = of.name
    this.startedAt = of.startedAt
    this.#wire = of.wire
  }

  get phase(): BackendPhase {
    if (this.#wait !== undefined) return this.#wait.phase
    if (this.#work !== undefined) return 'active'
    return this.#transaction === undefined ? 'idle' : 'idle in transaction'
  }

  get transaction(): Transaction {
    if (this.#transaction === undefined) throw new Error('there is no transaction')
    return this.#transaction
  }

  /** A message has arrived. */
  receive(message: Message): void {
    if (this.isGone) return
    this.#inbox.push(message)
    if (this.#work === undefined) this.#readNext()
  }

  /** The rest of the rows of a message has arrived. */
  receiveRest(message: Message): void {
    message.arrived = message.rows.length
    if (!this.isGone && this.message === message && this.phase === 'waiting for its client') {
      this.resume()
    }
  }

  /** The client has closed the connection, or is dead; all that it sent has arrived before. */
  receiveEnd(): void {
    if (this.isGone) return
    this.#inbox.push('end of file')
    if (this.#work === undefined || this.phase === 'waiting for its client') this.end()
  }

  /** Of pg_terminate_backend. */
  terminate(): void {
    if (this.isGone) return
    if (this.#wait !== undefined && !this.#wait.interruptible) this.#isDying = true
    else this.end(terminated())
  }

  /** Rolls back what is open and goes; with `fatal` it tells the client why. */
  end(fatal?: ServerError): void {
    this.#leave()
    this.server.backends.delete(this.pid)
    this.#wire.hangUpByServer(fatal)
  }

  /** The whole server dies. */
  crash(commits: boolean): void {
    if (commits) this.#publish(this.transaction)
    this.#leave()
    this.#wire.resetByServer()
  }

  begin(): void {
    if (this.#transaction?.explicit) this.notice('25001')
    else this.#transaction = new Transaction(this.server.tables, true)
  }

  *commit(): Steps<Outcome> {
    if (!this.transaction.explicit) this.notice('25P01')
    else if (this.transaction.failed) return this.rollback()
    else yield* this.#makeDurable(this.transaction)
    return { tag: 'COMMIT', rows: [] }
  }

  rollback(): Outcome {
    if (this.transaction.explicit) this.#forget(this.transaction)
    else this.notice('25P01')
    return { tag: 'ROLLBACK', rows: [] }
  }

  notice(code: string): void {
    this.#wire.notice(code)
  }

  *beforeTheFence(): Steps<void> {
    const strike = this.#strikeAt('before the fence', (effect) => effect !== 'standby cancelled')
    if (strike === 'error')
      throw new ServerError('57014', 'canceling statement due to user request')
    if (strike === 'terminate') this.#isDying = true
    const isLate = strike === 'late'
    const ms = isLate ? lateMs(this.server.random) : this.#wire.workMs()
    // One that waits for a page of a sick disk does not die either.
    const interruptible = !isLate || this.server.random() < 0.5
    yield new Pause(this.server.scheduler, { ms, phase: 'active', interruptible })
  }

  resume(value?: unknown): void {
    const committing = this.#wait?.phase === 'committing'
    this.#wait = undefined
    if (this.#isDying && !committing) this.end(terminated())
    else this.#advance(() => this.#work!.next(value))
  }

  fail(error: ServerError): void {
    this.#wait = undefined
    this.#advance(() => this.#work!.throw(error))
  }

  #advance(next: () => IteratorResult<Wait, Answer>): void {
    const result = next()
    if (result.done) {
      this.#work = undefined
      this.#finish(result.value)
      return
    }
    this.#wait = result.value
    if (this.#isDying && result.value.interruptible) this.end(terminated())
    else if (result.value.phase === 'waiting for its client' && this.#inbox[0] === 'end of file') {
      this.end()
    } else result.value.begin(this)
  }

  #readNext(): void {
    const next = this.#inbox.shift()
    if (next === undefined) {
      this.#becomeIdle()
      return
    }
    if (next === 'end of file') {
      this.end()
      return
    }
    this.#silence?.cancel()
    this.message = next
    this.#work = this.#perform(next)
    this.#advance(() => this.#work!.next())
  }

  #becomeIdle(): void {
    const timeoutMs = this.#transaction?.idleTimeoutMs ?? 0
    if (timeoutMs === 0) return
    this.#silence = this.server.scheduler.after(timeoutMs, () => {
      this.end(
        new ServerError('25P03', 'terminating connection due to idle-in-transaction timeout'),
      )
    })
  }

  *#perform(message: Message): Steps<Answer> {
    const outcomes: Outcome[] = []
    try {
      if (message.failure !== undefined) throw message.failure
      for (const step of message.steps) {
        this.#prepareFor(step)
        outcomes.push(yield* carryOut(step, this, message.values))
      }
      const transaction = this.#transaction
      if (transaction !== undefined && !transaction.explicit) yield* this.#makeDurable(transaction)
      return { outcomes }
    } catch (error) {
      if (!(error instanceof ServerError)) throw error
      this.#failTransaction()
      return { outcomes, error }
    }
  }

  #prepareFor({ found: [text] }: Step): void {
    if (this.#transaction === undefined) {
      this.#transaction = new Transaction(this.server.tables, false)
    } else if (this.#transaction.failed && text !== 'commit' && text !== 'rollback') {
      throw new ServerError('25P02', 'current transaction is aborted')
    }
  }

  /** What failed is undone at once, though an explicit transaction goes on until it is ended. */
  #failTransaction(): void {
    const transaction = this.#transaction
    if (transaction === undefined) return
    transaction.fail()
    this.server.locks.releaseAll(transaction)
    if (!transaction.explicit) this.#transaction = undefined
  }

  *#makeDurable(transaction: Transaction): Steps<void> {
    if (transaction.isLogged) {
      try {
        yield* this.#flush()
      } catch (error) {
        this.#forget(transaction)
        throw error
      }
      this.#publish(transaction)
    }
    this.#forget(transaction)
  }

  *#flush(): Steps<void> {
    const { conditions, scheduler, random } = this.server
    conditions.assertDiskHasRoom()
    const strike = this.#strikeAt('while it commits', (effect) => effect !== 'standby cancelled')
    if (strike === 'terminate') this.#isDying = true
    const ms = conditions.flushMs() + (strike === 'late' ? lateMs(random) : 0)
    yield new Pause(scheduler, { ms, phase: 'committing', interruptible: false })
    if (strike === 'error') throw new ServerError('53100', 'could not write to the log')
  }

  #publish(transaction: Transaction): void {
    const commit = transaction.publish({ pid: this.pid, name: this.name })
    this.message.hasCommitted = true
    this.server.onCommit(commit)
  }

  #forget(transaction: Transaction): void {
    this.server.locks.releaseAll(transaction)
    this.#transaction = undefined
  }

  #finish(answer: Answer): void {
    const { hasCommitted } = this.message
    const strike = this.#strikeAt('before the answer', (effect) => {
      if (effect === 'error') return !hasCommitted && answer.error === undefined
      return effect !== 'standby cancelled' || hasCommitted
    })
    if (strike === 'standby cancelled') this.notice('01000')
    if (strike === 'terminate') this.#isDying = true
    // Told to die while it could not, it may come to its answer first.
    if (this.#isDying && (strike === 'terminate' || this.server.random() < 0.5)) {
      this.end(terminated())
      return
    }
    let answered = answer
    if (strike === 'error') {
      this.#failTransaction()
      answered = { outcomes: [], error: new ServerError('57014', 'canceling statement') }
    }
    if (strike === 'cut') this.#wire.breakOff(answered)
    else this.#wire.answer(answered, strike === 'late' ? lateMs(this.server.random) : 0)
    if (this.#isDying) this.end(terminated())
    else this.#readNext()
  }

  /** What strikes here; what it does to the wire is done. */
  #strikeAt(
    phase: 'before the fence' | 'while it commits' | 'before the answer',
    possible: (effect: StrikeEffect) => boolean,
  ): StrikeEffect | undefined {
    const strike = this.server.strikes.at(this.message.kinds, phase, possible)
    if (strike === 'cut' && phase !== 'before the answer') this.#wire.cut()
    if (strike === 'half-open') this.#wire.fallSilent()
    return strike
  }

  /** Gives up everything. */
  #leave(): void {
    this.isGone = true
    this.#silence?.cancel()
    this.#wait?.abandon()
    this.#wait = undefined
    this.#work = undefined
    if (this.#transaction !== undefined) this.#forget(this.#transaction)
    this.#inbox.length = 0
  }
}
