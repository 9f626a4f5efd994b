import { accountClasses, isDebitNormal } from '../../actors/accounts.js'
import {
  type Statement,
  type StatementAccount,
  StatementFault,
  type StatementLine,
} from './statement.js'

/** What a statement says of all its lines. Sums are minor units and may exceed 64 bits. */
export interface StatementTotals {
  debits: { count: number; sum: bigint }
  credits: { count: number; sum: bigint }
  /** After the last line, on the account's normal side. */
  closingBalance: bigint
}

/**
 * Counts lines as they go by, and does not let pass one that does not follow from those before:
 * a statement whose column of balances does not add up is worse than none.
 */
export class Tally {
  readonly #account: StatementAccount
  readonly #totals: StatementTotals

  constructor({ account, openingBalance }: Statement) {
    this.#account = account
    this.#totals = {
      debits: { count: 0, sum: 0n },
      credits: { count: 0, sum: 0n },
      closingBalance: openingBalance,
    }
  }

  /** Throws a StatementFault `balance_broken` if the line's balance is not what the lines give. */
  add(line: StatementLine): void {
    const totals = this.#totals
    const side = line.side === 'debit' ? totals.debits : totals.credits
    side.count += 1
    side.sum += line.amount
    totals.closingBalance += effectOf(line, this.#account)
    if (line.amount > 0n && totals.closingBalance === line.balanceAfter) return
    throw new StatementFault(
      'balance_broken',
      `the balance after ${line.position} of account ${this.#account.id} is ` +
        `${line.balanceAfter}, but the lines make it ${totals.closingBalance}`,
    )
  }

  get totals(): StatementTotals {
    return this.#totals
  }
}

/** Reads all lines once, for formats that say the sums first. */
export async function sumUp(statement: Statement): Promise<StatementTotals> {
  const tally = new Tally(statement)
  for await (const line of statement.lines()) tally.add(line)
  return tally.totals
}

/** What a line adds to the balance on the account's normal side. */
export function effectOf({ side, amount }: StatementLine, account: StatementAccount): bigint {
  return side === normalSideOf(account) ? amount : -amount
}

export function normalSideOf(account: StatementAccount): 'debit' | 'credit' {
  return isDebitNormal(accountClasses.indexOf(account.class)) ? 'debit' : 'credit'
}
