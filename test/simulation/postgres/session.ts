import type { Server } from './server.js'
import type { ServerError } from './server-error.js'
import type { Outcome, Step } from './statements.js'
import type { StatementKind } from './strikes.js'
import type { JournalRow } from './tables.js'
import type { Transaction } from './transaction.js'
import type { Steps } from './waits.js'

/** What a statement has to do with: the backend that carries it out. */
export interface Session {
  readonly server: Server
  readonly pid: number
  readonly startedAt: string
  readonly transaction: Transaction
  /** The message that is being worked on. */
  readonly message: Message
  begin(): void
  commit(): Steps<Outcome>
  rollback(): Outcome
  notice(code: string): void
  /** Whatever happens between the rows of a batch and its fence. */
  beforeTheFence(): Steps<void>
}

/** What a client sends at once, and the server answers at once. */
export interface Message {
  readonly steps: readonly Step[]
  readonly values: readonly unknown[]
  readonly kinds: readonly StatementKind[]
  /** Of COPY FROM. */
  readonly rows: readonly JournalRow[]
  /** How many of the rows have arrived. */
  arrived: number
  /** The disk is full when the rows that there are have been written. */
  failsAfterItsRows: boolean
  /** A strike lets it fail as soon as it arrives. */
  failure: ServerError | undefined
  /** A commit that was written to the log belongs to it. */
  hasCommitted: boolean
}

export interface Answer {
  outcomes: readonly Outcome[]
  error?: ServerError
}
