import { formatKey, type Key } from '../key.js'
import { type Counters, stripedAccountsMax } from './accounts.js'
import type { BalanceView } from './balance-entry.js'

/**
 * What the shards have told of their parts of striped accounts: per account the newest part of
 * each stream of the current generation. It saves asking all shards whenever a striped account is
 * shown beside something else, and tells which accounts are striped. Nothing rests on it: what it
 * does not know is asked for, or left out.
 */
export class StripedParts {
  readonly #streams: readonly number[]
  readonly #accountsMax: number
  readonly #accounts = new Map<string, (Part | undefined)[]>()

  /** `streams` are those of the current generation; accounts beyond `accountsMax` are not kept. */
  constructor(streams: readonly number[], accountsMax = stripedAccountsMax) {
    this.#streams = streams
    this.#accountsMax = accountsMax
  }

  /** Accounts of which at least one part is known. */
  get accounts(): number {
    return this.#accounts.size
  }

  /** Whether the account is known to be striped. */
  has(tenant: number, account: Key): boolean {
    return this.#accounts.size > 0 && this.#accounts.has(nameOf(tenant, formatKey(account)))
  }

  /** Takes a balance that a shard has told; one older than what is known changes nothing. */
  learn(tenant: number, view: BalanceView): void {
    if (!view.striped) return
    const index = this.#streams.indexOf(view.stream)
    if (index < 0) return
    const parts = this.#partsOf(tenant, view.account)
    if (parts === undefined) return
    const known = parts[index]
    if (known !== undefined && known.seq > view.seq) return
    parts[index] = { seq: view.seq, counters: view.counters }
  }

  /** The account has just been created: a part that nobody has told of is empty. */
  begin(tenant: number, view: BalanceView): void {
    this.learn(tenant, view)
    const parts = this.#accounts.get(nameOf(tenant, view.account))
    if (parts === undefined) return
    for (let index = 0; index < parts.length; index++) {
      parts[index] ??= { seq: 0, counters: noCounters }
    }
  }

  /**
   * The balance with the counters of all parts; undefined if one of them is not known. A balance
   * that is not striped comes back as it is.
   */
  sum(tenant: number, view: BalanceView): BalanceView | undefined {
    if (!view.striped || this.#streams.length === 1) return view
    const parts = this.#accounts.get(nameOf(tenant, view.account))
    if (parts === undefined) return undefined
    const known: Counters[] = []
    for (const part of parts) {
      if (part === undefined) return undefined
      known.push(part.counters)
    }
    return { ...view, counters: sumOfCounters(known) }
  }

  #partsOf(tenant: number, account: string): (Part | undefined)[] | undefined {
    const name = nameOf(tenant, account)
    const known = this.#accounts.get(name)
    if (known !== undefined || this.#accounts.size >= this.#accountsMax) return known
    const parts = this.#streams.map(() => undefined)
    this.#accounts.set(name, parts)
    return parts
  }
}

interface Part {
  seq: number
  counters: Counters
}

const noCounters: Counters = {
  debitsPosted: 0n,
  creditsPosted: 0n,
  debitsPending: 0n,
  creditsPending: 0n,
}

/** The counters of a striped account from those of its parts. */
export function sumOfCounters(parts: readonly Counters[]): Counters {
  const sum = { ...noCounters }
  for (const part of parts) {
    sum.debitsPosted += part.debitsPosted
    sum.creditsPosted += part.creditsPosted
    sum.debitsPending += part.debitsPending
    sum.creditsPending += part.creditsPending
  }
  return sum
}

function nameOf(tenant: number, account: string): string {
  return `${tenant} ${account}`
}
