import { type Key, slotOf, slotOfWords } from '../key.js'
import { AccountTable } from './accounts.js'
import { HoldTable } from './holds.js'
import { LetGo } from './let-go.js'
import type { Rebuild } from './rebuild.js'
import { refusalNumber } from './refusals.js'
import { Reservations } from './reservations.js'
import { TransactionTable } from './transactions.js'

/** What one process will hold at most; beyond it, writes that need room are refused. */
export interface BookLimits {
  accountsMax: number
  transactionsMax: number
  /** Smaller ones are for tests. */
  letGo?: {
    /** Transactions beyond which the oldest are let go. */
    beyond: number
    /** How many at a time; a power of two. */
    rows: number
  }
}

/** Which part of the whole book a shard keeps: its number, and the shard of each slot. */
export interface Place {
  shard: number
  shards: number
  shardOfSlot: Uint8Array
}

/** A row that is not in this book because another shard has it. */
export const elsewhere = -2

/**
 * The state of one shard: its accounts and its parts of striped ones, the transactions it
 * remembers, and the pending holds.
 */
export class Book {
  readonly accounts: AccountTable
  readonly transactions: TransactionTable
  readonly holds = new HoldTable()
  /** Transactions that were remembered once. */
  readonly letGo = new LetGo()
  /** What undecided transactions hold of the accounts. Never journaled. */
  readonly reservations = new Reservations()
  /** Rows of transactions whose reversal is being decided together with other shards. */
  readonly reversing = new Set<number>()
  readonly limits: BookLimits
  readonly place: Place
  /** Stream whose records are being applied. */
  stream = 0
  /** Set while streams of earlier generations are read. */
  rebuild: Rebuild | undefined

  /** `seed` hides from outside which keys collide; it differs from process to process. */
  constructor(seed: [number, number], limits: BookLimits, place: Place) {
    this.accounts = new AccountTable(seed, place.shards)
    this.transactions = new TransactionTable(seed, limits.letGo?.rows)
    this.limits = limits
    this.place = place
  }

  /** Whether so many new ids can be remembered, beside those that other shards have claimed. */
  hasRoomFor(transactions: number): boolean {
    const { count, claimed } = this.transactions
    return count + claimed + transactions <= this.limits.transactionsMax
  }

  /** Why there is no room for another id. */
  get fullRefusal(): number {
    const mayLetGo = this.letGo.projected.size > 0
    return mayLetGo ? refusalNumber.projections_behind : refusalNumber.memory_limit_reached
  }

  owns(key: Key): boolean {
    return this.place.shardOfSlot[slotOf(key)] === this.place.shard
  }

  ownsWords(words: Uint32Array, at: number): boolean {
    return this.shardOfWords(words, at) === this.place.shard
  }

  /** Shard of the key at word `at`. */
  shardOfWords(words: Uint32Array, at: number): number {
    const slot = slotOfWords(words[at], words[at + 1], words[at + 2], words[at + 3])
    return this.place.shardOfSlot[slot]
  }

  /**
   * Row of the account whose key is at word `at`: -1 if there is none, {@link elsewhere} if
   * another shard must know.
   */
  locate(tenant: number, words: Uint32Array, at: number): number {
    const row = this.accounts.keys.find(
      tenant,
      words[at],
      words[at + 1],
      words[at + 2],
      words[at + 3],
    )
    return row >= 0 || this.ownsWords(words, at) ? row : elsewhere
  }
}
