import { AccountTable } from './accounts.js'
import { HoldTable } from './holds.js'
import { TransactionTable } from './transactions.js'

/** What one process will hold at most; beyond it, writes that need room are refused. */
export interface BookLimits {
  accountsMax: number
  transactionsMax: number
}

/** The state of one shard: its accounts, the transactions it remembers, and the pending holds. */
export class Book {
  readonly accounts: AccountTable
  readonly transactions: TransactionTable
  readonly holds = new HoldTable()
  readonly limits: BookLimits

  /** `seed` hides from outside which keys collide; it differs from process to process. */
  constructor(seed: [number, number], limits: BookLimits) {
    this.accounts = new AccountTable(seed)
    this.transactions = new TransactionTable(seed)
    this.limits = limits
  }
}
