import type { Choices } from './choices.js'
import type { Chronicle } from './chronicle.js'
import type { ClientAnswer, Command } from './commands.js'
import { describeAnswer, describeCommand } from './in-words.js'
import type { Oracle } from './oracle/oracle.js'
import type { SimulatedProcess } from './process.js'
import type { Request } from './request.js'
import type { Scheduler } from './scheduler.js'

/** Those who send commands to processes, and all that they have learned. */
export class Clients {
  readonly requests: Request[] = []
  readonly #scheduler: Scheduler
  readonly #oracle: Oracle
  readonly #chronicle: Chronicle
  readonly #random: () => number

  constructor(parts: {
    scheduler: Scheduler
    oracle: Oracle
    chronicle: Chronicle
    choices: Choices
  }) {
    this.#scheduler = parts.scheduler
    this.#oracle = parts.oracle
    this.#chronicle = parts.chronicle
    this.#random = parts.choices.of('clients')
  }

  send(command: Command, to: SimulatedProcess | undefined): Request {
    const request: Request = {
      number: this.requests.length + 1,
      command,
      process: to,
      sentAtMs: this.#scheduler.nowMs,
      sentAtCommit: this.#oracle.commit,
    }
    this.requests.push(request)
    this.#chronicle.say(`#${request.number} ${describeCommand(command)} to ${to?.name ?? 'nobody'}`)
    if (to === undefined) {
      this.#scheduler.after(1, () => this.#learn(request, { outcome: 'not ready' }))
    } else {
      to.main.after(0.05 + this.#random() * 0.5, () => void this.#ask(request, to))
    }
    return request
  }

  /** The process is dead: what it has not answered it never will. */
  lose(process: SimulatedProcess): void {
    for (const request of this.requests) {
      if (request.process === process && request.answer === undefined) {
        this.#scheduler.after(0.1, () => this.#learn(request, { outcome: 'lost' }))
      }
    }
  }

  /** What the API does with a request that has arrived. */
  async #ask(request: Request, to: SimulatedProcess): Promise<void> {
    const { client } = to
    const isReady = to.state === 'serving' && client !== undefined
    const answer: ClientAnswer = isReady
      ? await client.ask(request.command)
      : { outcome: 'not ready' }
    if (!to.isAlive || request.answer !== undefined) return
    this.#chronicle.watch(() => this.#oracle.answered(request, answer, this.#scheduler.nowMs))
    this.#learn(request, answer)
  }

  #learn(request: Request, answer: ClientAnswer): void {
    if (request.answer !== undefined) return
    request.answer = answer
    this.#chronicle.answered(answer.outcome === 'refused' ? answer.code : answer.outcome)
    this.#chronicle.say(`#${request.number} is answered: ${describeAnswer(answer)}`)
  }
}
