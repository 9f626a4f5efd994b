import type { AccountClass } from '../../actors/accounts.js'

/**
 * An account's statement: what a bank sends its customer for a month. It is a description of where
 * lines come from, not the lines themselves, so that a million of them are never in memory.
 *
 * Amounts are bigint minor units of the account's currency. What is not known is left out.
 */
export interface Statement {
  /**
   * Name of this statement, unique for the servicer: 1 to 35 characters, as camt.053 allows no
   * more. A UUID is written without its dashes there.
   */
  id: string
  /** Running number of the account's statements, from 1 on. */
  sequenceNumber?: number
  /** Who keeps the account: the bank. */
  servicer: { name: string; bic?: string }
  account: StatementAccount
  /** First and last day, `YYYY-MM-DD`, both included. Lines belong to a day by when they were recorded. */
  from: string
  to: string
  /** When the statement was made, milliseconds since 1970. Formats never ask a clock. */
  createdAtMs: number
  /** Before the first line, on the account's normal side; negative if it is on the other. */
  openingBalance: bigint
  /**
   * The lines from the beginning, in the order in which `balanceAfter` runs. camt.053 calls it
   * twice, because its sums stand before its entries; both must give the same lines, so whoever
   * reads them from a book that goes on stops at a position taken once.
   */
  lines: () => AsyncIterable<StatementLine>
}

export interface StatementAccount {
  /** UUID. */
  id: string
  name?: string
  /** Its number on paper: an IBAN, with or without blanks, or any other. */
  number?: string
  /** Name of the account holder. */
  owner?: string
  currency: string
  /** Decimals of the currency, 0 to 8. */
  scale: number
  class: AccountClass
}

/** One posting, seen from one of its two accounts. */
export interface StatementLine {
  /** Stream and seq of the record, such as `1-17`. Two postings of one transaction share it. */
  position: string
  /** UUID. */
  transaction: string
  /** On which side of this account the posting stands. */
  side: 'debit' | 'credit'
  /** Greater than zero. */
  amount: bigint
  /** Of this account after this line, on its normal side; negative if it is on the other. */
  balanceAfter: bigint
  /** `YYYY-MM-DD`. */
  effectiveDate: string
  /** When the record was made, milliseconds since 1970. */
  recordedAtMs: number
  /** UUID of the account on the other side of the posting. */
  counterAccount: string
  /** What the API calls the type of a transaction: `transaction`, `post`, `reversal`. */
  type?: string
  reference?: string
  description?: string
  category?: string
  /** Number of the transaction on paper. */
  number?: string
  code?: number
}

/**
 * Writes a statement piece by piece: nothing is read from `statement.lines` before somebody asks
 * for the next piece, and at most a few hundred lines ahead of what was taken. To stop asking ends
 * the reading of lines, too.
 *
 * Throws a {@link StatementFault}, mostly after the first pieces have gone out: a statement is
 * whole only if the iteration ends without an error.
 */
export type StatementWriter = (statement: Statement) => AsyncIterable<Buffer | string>

export type StatementFaultCode =
  /** The lines do not add up: one is missing, there twice, or in the wrong place. */
  | 'balance_broken'
  /** The lines were others when they were read for the second time. */
  | 'lines_changed'
  /** The format has no room for a value, such as a currency that is not of three letters. */
  | 'not_expressible'

/** A statement that would be wrong; it is better not to have it. */
export class StatementFault extends Error {
  readonly code: StatementFaultCode

  constructor(code: StatementFaultCode, message: string) {
    super(message)
    this.code = code
  }
}
