import { bookStatements } from './book-statements.js'
import { journalStatements } from './journal-statements.js'
import type { Session } from './session.js'
import { streamStatements } from './stream-statements.js'
import type { StatementKind } from './strikes.js'
import type { JournalRow } from './tables.js'
import { transactionStatements } from './transaction-statements.js'
import type { Steps } from './waits.js'

/**
 * Every statement that src sends, and nothing else: there is no SQL parser. A text that is not here
 * is refused, so that the simulated server cannot silently differ from what src asks of the real one.
 */
export interface Statement {
  /** The text, with one blank for each white space. */
  pattern: RegExp
  /** What it belongs to, if that does not depend on the transaction around it. */
  kind?: StatementKind
  /** What it belongs to outside a transaction. */
  aloneKind?: StatementKind
  run(
    session: Session,
    values: readonly unknown[],
    found: RegExpExecArray,
  ): Outcome | Steps<Outcome>
}

export interface Outcome {
  /** The command tag, such as UPDATE. */
  tag: string
  rows: object[]
  /** Rows that were changed. */
  count?: number
  /** Of COPY TO. */
  copied?: JournalRow[]
}

/** A statement of a program, with what its text had in the places that differ. */
export interface Step {
  statement: Statement
  found: RegExpExecArray
}

const dictionary: readonly Statement[] = [
  ...transactionStatements,
  ...journalStatements,
  ...streamStatements,
  ...bookStatements,
]

const known = new Map<string, readonly Step[]>()

/** The statements of a simple query; throws if one is not known. */
export function stepsOf(text: string): readonly Step[] {
  const before = known.get(text)
  if (before !== undefined) return before
  const steps = text
    .replace(/\s+/g, ' ')
    .split(';')
    .map((part) => stepOf(part.trim()))
  if (steps.length > 1 && steps[0].statement.pattern !== transactionStatements[0].pattern) {
    throw new Error(`the simulated Postgres knows several statements only after begin: ${text}`)
  }
  // Those of COPY have numbers in them, and are never the same again.
  if (!text.includes('copy ')) known.set(text, steps)
  return steps
}

function stepOf(text: string): Step {
  for (const statement of dictionary) {
    const found = statement.pattern.exec(text)
    if (found !== null) return { statement, found }
  }
  throw new Error(`the simulated Postgres does not know: ${text}`)
}

/** Carries a statement out, which may wait for something or not. */
export function* carryOut(
  { statement, found }: Step,
  session: Session,
  values: readonly unknown[],
): Steps<Outcome> {
  const result = statement.run(session, values, found)
  return 'next' in result ? yield* result : result
}
