import { dayOf } from '../clock.js'
import { formatKey, type Key } from '../key.js'

/** What moved on an account, of one effective and one recorded day; minor units. */
export interface Movement {
  tenant: number
  account: string
  effectiveDate: number
  recordedDate: number
  debits: bigint
  credits: bigint
}

/** The movements of some entries, summed up. */
export class Movements {
  readonly #sums = new Map<string, Movement>()

  add(entry: {
    tenant: number
    account: Key
    effectiveDate: number
    timeMs: number
    amount: bigint
  }): void {
    const { tenant, effectiveDate, amount } = entry
    const account = formatKey(entry.account)
    const recordedDate = dayOf(entry.timeMs)
    const name = `${account} ${tenant} ${effectiveDate} ${recordedDate}`
    let sum = this.#sums.get(name)
    if (sum === undefined) {
      sum = { tenant, account, effectiveDate, recordedDate, debits: 0n, credits: 0n }
      this.#sums.set(name, sum)
    }
    if (amount > 0n) sum.debits += amount
    else sum.credits -= amount
  }

  get all(): readonly Movement[] {
    return [...this.#sums.values()]
  }

  clear(): void {
    this.#sums.clear()
  }
}
