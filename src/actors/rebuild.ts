import { formatKey, type Key } from '../key.js'
import type { Book } from './book.js'
import type { HoldPosting } from './holds.js'

/** What the streams of earlier generations together moved on a striped account, in minor units. */
interface StripedSum {
  tenant: number
  key: Key
  debitsPosted: bigint
  creditsPosted: bigint
}

/**
 * What is needed besides the book while streams of earlier generations are read. Every shard reads
 * all of them and keeps what its slots own now; their records were written for other shards, so
 * that an account may be read of before it is created, and a hold's end without the hold.
 */
export class Rebuild {
  readonly #striped = new Map<string, StripedSum>()
  /** Postings of pending holds that other shards own now. */
  readonly #holdsElsewhere = new Map<string, HoldPosting[]>()

  addStriped(tenant: number, key: Key, isDebit: boolean, amount: bigint): void {
    const name = nameOf(tenant, key)
    let sum = this.#striped.get(name)
    if (sum === undefined) {
      sum = { tenant, key, debitsPosted: 0n, creditsPosted: 0n }
      this.#striped.set(name, sum)
    }
    if (isDebit) sum.debitsPosted += amount
    else sum.creditsPosted += amount
  }

  addHold(tenant: number, id: Key, postings: HoldPosting[]): void {
    this.#holdsElsewhere.set(nameOf(tenant, id), postings)
  }

  hold(tenant: number, id: Key): HoldPosting[] | undefined {
    return this.#holdsElsewhere.get(nameOf(tenant, id))
  }

  removeHold(tenant: number, id: Key): void {
    this.#holdsElsewhere.delete(nameOf(tenant, id))
  }

  /** All streams of a generation have been read: their seqs mean nothing in the next one. */
  endGeneration(book: Book): void {
    for (let row = 0; row < book.accounts.count; row++) book.accounts.touchedSeq.set(row, 0)
    for (const row of book.transactions.keys.rows()) book.transactions.touchedSeq.set(row, 0)
  }

  /**
   * Everything has been read: gives the book its share of what is striped. Posted counters are
   * dealt out evenly, the first shard taking what is left over, so that parts which kept their
   * bound keep it again; what is pending goes with the holds that this shard owns.
   */
  finish(book: Book): void {
    const { accounts } = book
    for (const { tenant, key, debitsPosted, creditsPosted } of this.#striped.values()) {
      const row = accounts.find(tenant, key)
      if (row < 0) throw new Error('a striped account was posted to and never created')
      accounts.debitsPosted.set(row, shareOf(debitsPosted, book))
      accounts.creditsPosted.set(row, shareOf(creditsPosted, book))
    }
    for (const hold of book.holds.all()) {
      const tenant = book.transactions.keys.tenantOf(hold.row)
      for (const posting of hold.postings) {
        addPending(book, accounts.find(tenant, posting.debit), 'debitsPending', posting)
        addPending(book, accounts.find(tenant, posting.credit), 'creditsPending', posting)
      }
    }
  }
}

function addPending(
  { accounts }: Book,
  row: number,
  counter: 'debitsPending' | 'creditsPending',
  posting: HoldPosting,
): void {
  if (row < 0 || !accounts.isStriped(row)) return
  accounts[counter].set(row, accounts[counter].get(row) + posting.remaining)
  accounts.holds.set(row, accounts.holds.get(row) + 1)
}

function shareOf(sum: bigint, { place }: Book): bigint {
  const share = sum / BigInt(place.shards)
  return place.shard === 0 ? sum - share * BigInt(place.shards - 1) : share
}

function nameOf(tenant: number, key: Key): string {
  return `${tenant} ${formatKey(key)}`
}
