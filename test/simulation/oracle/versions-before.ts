import { type Account, stateNow } from './account-history.js'
import { type JournalRecord, Side } from './journal-record.js'

/**
 * The version of each account that a home record finds, on which its conditions rest. The items of
 * an atomic batch find each other, also on accounts of other streams, which apply them later.
 */
export class VersionsBefore {
  #commit = 0
  #stream = 0
  /** Records of the commit at hand that touch an account of another stream. */
  readonly #toApply = new Map<string, number>()

  of(record: JournalRecord, accounts: ReadonlyMap<string, Account>): ReadonlyMap<string, number> {
    if (record.commit !== this.#commit || record.stream !== this.#stream) this.#toApply.clear()
    this.#commit = record.commit
    this.#stream = record.stream
    const versions = new Map<string, number>()
    for (const account of accounts.values()) {
      const { id, isStriped } = account
      if (isStriped) continue
      versions.set(id, stateNow(account).version + (this.#toApply.get(id) ?? 0))
    }
    const touched = new Set<string>()
    for (const { debit, credit, debitSide, creditSide } of record.postings) {
      if (debitSide === Side.elsewhere) touched.add(debit)
      if (creditSide === Side.elsewhere) touched.add(credit)
    }
    for (const id of touched) this.#toApply.set(id, (this.#toApply.get(id) ?? 0) + 1)
    return versions
  }
}
