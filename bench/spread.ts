import { keyFromBytes, slotOf } from '../src/key.js'
import { uuidBytes } from './ids.js'

/**
 * Who pays whom:
 * - `uniform`: any two customers;
 * - `hot`: one hot account and any customer, either way;
 * - `striped`: the striped account pays any customer;
 * - `across`: two customers, of which that share are on two shards, whether there are 2 or 4, and
 *   the rest on one. With one shard the same pairs meet, so that the workload is the same.
 */
export type Spread = 'uniform' | 'hot' | 'striped' | { across: number }

/** The accounts that a workload moves money between. */
export interface AccountSet {
  /** UUIDs as text; the first is the hot account, which only hot and striped workloads touch. */
  readonly ids: readonly string[]
  /** Whether the hot account is striped. */
  readonly striped: boolean
}

export interface Pick {
  /** Indexes into the set. */
  debit: number
  credit: number
  /** The slot for the transaction's id: the debit account's, or the credit's if that is striped. */
  slot: number
}

/** With N shards a slot belongs to shard slot % N, so slot % 4 tells the shard for 1, 2 and 4. */
const GROUPS = 4

/** Draws the accounts of one transfer after the other. */
export class Draw {
  private readonly slots: Uint16Array
  /** Indexes of customers by slot % 4. */
  private readonly groups: number[][]
  private readonly customers: number

  constructor(
    set: AccountSet,
    private readonly spread: Spread,
  ) {
    this.customers = set.ids.length - 1
    this.slots = Uint16Array.from(set.ids, (id) => slotOf(keyFromBytes(uuidBytes(id), 0)))
    this.groups = Array.from({ length: GROUPS }, () => [])
    for (let index = 1; index <= this.customers; index++) {
      this.groups[this.slots[index] % GROUPS].push(index)
    }
    if (spread === 'striped' && !set.striped) throw new Error('no account of the set is striped')
    if (typeof spread === 'object' && this.groups.some((group) => group.length < 2)) {
      throw new Error(`${this.customers} customers do not fill every shard`)
    }
  }

  next(pick: Pick): void {
    const { spread } = this
    const one = 1 + below(this.customers)
    if (spread === 'hot') {
      const paysIn = Math.random() < 0.5
      pick.debit = paysIn ? one : 0
      pick.credit = paysIn ? 0 : one
    } else if (spread === 'striped') {
      pick.debit = 0
      pick.credit = one
    } else {
      pick.debit = one
      pick.credit = spread === 'uniform' ? this.anyOther(one) : this.partner(one, spread.across)
    }
    pick.slot = this.slots[spread === 'striped' ? pick.credit : pick.debit]
  }

  private anyOther(one: number): number {
    return 1 + ((one + below(this.customers - 1)) % this.customers)
  }

  /**
   * A group one or three further on is on another shard of 2 and of 4 alike; groups two apart,
   * which two shards do not keep apart, never meet.
   */
  private partner(one: number, across: number): number {
    const own = this.slots[one] % GROUPS
    if (Math.random() < across) {
      const other = this.groups[(own + (Math.random() < 0.5 ? 1 : 3)) % GROUPS]
      return other[below(other.length)]
    }
    const neighbours = this.groups[own]
    let other = one
    while (other === one) other = neighbours[below(neighbours.length)]
    return other
  }
}

function below(limit: number): number {
  return Math.floor(Math.random() * limit)
}
