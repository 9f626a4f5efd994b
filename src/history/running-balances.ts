import { BigintColumn, ByteColumn, RowGroup } from '../actors/column.js'
import { KeyTable } from '../actors/key-table.js'
import { formatKey, type Key } from '../key.js'

/** An account, or the part of a striped one that a stream keeps. */
export interface BalanceName {
  tenant: number
  account: Key
  /** Of a part. */
  stream?: number
}

/**
 * Debits less credits of every account that has been seen, so that each entry can say what the
 * balance was after it. What was there before the follower started is looked up in the entries.
 */
export class RunningBalances {
  /** Nothing has been before: what is not here is 0. */
  readonly #fromOrigin: boolean
  readonly #known = new ByteColumn()
  readonly #balance = new BigintColumn(new RowGroup())
  readonly #keys: KeyTable
  readonly #parts = new Map<string, bigint>()

  constructor(fromOrigin: boolean) {
    this.#fromOrigin = fromOrigin
    const seed = () => Math.floor(Math.random() * 2 ** 32)
    this.#keys = new KeyTable([seed(), seed()], () => {
      this.#known.addPage()
      this.#balance.addPage()
    })
  }

  isKnown({ tenant, account, stream }: BalanceName): boolean {
    if (this.#fromOrigin) return true
    if (stream !== undefined) return this.#parts.has(partName(tenant, account, stream))
    const row = this.#keys.findKey(tenant, account)
    return row >= 0 && this.#known.get(row) === 1
  }

  set({ tenant, account, stream }: BalanceName, balance: bigint): void {
    if (stream !== undefined) {
      this.#parts.set(partName(tenant, account, stream), balance)
      return
    }
    const row = this.#rowOf(tenant, account)
    this.#balance.set(row, balance)
    this.#known.set(row, 1)
  }

  /** Adds what an entry moves; returns the balance after it, in minor units. */
  add({ tenant, account, stream }: BalanceName, amount: bigint): bigint {
    if (stream !== undefined) {
      const name = partName(tenant, account, stream)
      const balance = (this.#parts.get(name) ?? 0n) + amount
      this.#parts.set(name, balance)
      return balance
    }
    const row = this.#rowOf(tenant, account)
    const balance = this.#balance.get(row) + amount
    this.#balance.set(row, balance)
    return balance
  }

  #rowOf(tenant: number, account: Key): number {
    const row = this.#keys.findKey(tenant, account)
    if (row >= 0) return row
    return this.#keys.insert(tenant, account.w0, account.w1, account.w2, account.w3)
  }
}

function partName(tenant: number, account: Key, stream: number): string {
  return `${tenant} ${stream} ${formatKey(account)}`
}
