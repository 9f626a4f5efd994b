import type { Step } from './statements.js'
import type { StatementKind } from './strikes.js'

/** Names of kinds for a whole connection's transactions, as long as none is known yet. */
const unknownPurpose: readonly StatementKind[] = ['take-over', 'open generation']

/**
 * What the statements of one connection are for. A take-over and the opening of a generation begin
 * with the same statements, which count as both.
 */
export class Purpose {
  readonly #settles: boolean
  #inTransaction = false
  #known: StatementKind | undefined

  constructor(connectionName: string) {
    this.#settles = connectionName === 'daybook journal'
  }

  /** Of the message that is sent next. */
  kindsOf(steps: readonly Step[]): readonly StatementKind[] {
    const first = steps[0].statement
    const last = steps[steps.length - 1].found[0]
    if (steps[0].found[0] === 'begin') {
      this.#inTransaction = true
      this.#known = undefined
    }
    const kinds = this.#kindsOf(steps, first.aloneKind)
    if (last === 'commit' || last === 'rollback') this.#inTransaction = false
    return kinds
  }

  #kindsOf(steps: readonly Step[], aloneKind: StatementKind | undefined): readonly StatementKind[] {
    const own = steps.find(({ statement }) => statement.kind !== undefined)?.statement.kind
    if (own !== undefined) {
      if (unknownPurpose.includes(own)) this.#known = own
      return [own]
    }
    if (this.#settles && (this.#inTransaction || aloneKind === undefined)) return ['settle']
    if (!this.#inTransaction) return aloneKind === undefined ? unknownPurpose : [aloneKind]
    // Of the two, only a take-over ends backends.
    if (aloneKind === 'settle') this.#known = 'take-over'
    return this.#known === undefined ? unknownPurpose : [this.#known]
  }
}
