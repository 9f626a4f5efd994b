import {
  type AccountCreatedBody,
  currencyWords,
  type Metadata,
  readCurrency,
  Side,
} from '../journal/record.js'
import type { Key } from '../key.js'
import { amountMax } from '../money.js'
import {
  type AnyColumn,
  BigintColumn,
  ByteColumn,
  FloatColumn,
  Int32Column,
  RowGroup,
  Uint16Column,
  Uint32Column,
} from './column.js'
import { KeyTable } from './key-table.js'

/**
 * Account actors as columns of typed arrays: about 125 bytes each. What few accounts have (a name,
 * an owner, metadata) is an ordinary object beside them.
 */

export const accountClasses = ['asset', 'liability', 'equity', 'income', 'expense'] as const
export type AccountClass = (typeof accountClasses)[number]

export const accountStatuses = ['active', 'dormant', 'frozen', 'closed'] as const
export type AccountStatus = (typeof accountStatuses)[number]

/** Every shard keeps a part of each striped account; they are few: those that everybody posts to. */
export const stripedAccountsMax = 10_000

/** Overdraft limit of an account that has none: its balance may go anywhere. */
export const unlimited = -1n

/** Assets and expenses grow by debits; the other classes by credits. */
export function isDebitNormal(accountClass: number): boolean {
  return accountClass === 0 || accountClass === 4
}

export interface AccountDetails {
  name?: string
  type?: string
  owner?: string
  number?: string
  metadata?: Metadata
}

/** The four counters, in minor units; lifetime turnover, except what is pending. */
export interface Counters {
  debitsPosted: bigint
  creditsPosted: bigint
  debitsPending: bigint
  creditsPending: bigint
}

export interface BookCurrency {
  code: string
  scale: number
  /** The code as it stands in a plain posting. */
  words: [number, number]
}

export class AccountTable {
  readonly keys: KeyTable
  /** What a decision looks at: 64 bytes a row. */
  readonly #group = new RowGroup()
  readonly debitsPosted = new BigintColumn(this.#group)
  readonly creditsPosted = new BigintColumn(this.#group)
  /** One more with every record that touches the account; of a striped one, with every change. */
  readonly version = new FloatColumn(this.#group)
  /** Seq of the last record that touched the account: what rests on it waits for that. */
  readonly touchedSeq = new FloatColumn(this.#group)
  readonly debitsPending = new BigintColumn(this.#group)
  readonly creditsPending = new BigintColumn(this.#group)
  readonly overdraftLimit = new BigintColumn(this.#group)
  readonly minimumBalance = new BigintColumn(this.#group)
  readonly createdAt = new FloatColumn(new RowGroup())
  /** Index into `currencies`. */
  readonly currency = new Uint16Column()
  readonly accountClass = new ByteColumn()
  readonly status = new ByteColumn()
  /** 1: striped, so that the counters are this shard's part of them. */
  readonly striped = new ByteColumn()
  /** Holds that have a posting on this account; of a part it may be negative, its sum may not. */
  readonly holds = new Int32Column()
  readonly fingerprintLow = new Uint32Column()
  readonly fingerprintHigh = new Uint32Column()
  readonly details = new Map<number, AccountDetails>()
  readonly currencies: BookCurrency[] = []
  /** Rows of the striped accounts. */
  readonly stripedRows: number[] = []
  /** Rows of those whose part has changed since the last batch went out. */
  readonly changedParts = new Set<number>()
  /** All columns, in the order that snapshots have them in. */
  readonly columns: readonly AnyColumn[]
  /** The greatest turnover of one part of a striped account: the sum cannot overflow. */
  readonly #partMax: bigint

  /** `shards` is the number of parts that a striped account has. */
  constructor(seed: [number, number], shards: number) {
    this.#partMax = amountMax / BigInt(shards)
    this.columns = [
      this.debitsPosted,
      this.creditsPosted,
      this.debitsPending,
      this.creditsPending,
      this.overdraftLimit,
      this.minimumBalance,
      this.version,
      this.touchedSeq,
      this.createdAt,
      this.currency,
      this.accountClass,
      this.status,
      this.striped,
      this.holds,
      this.fingerprintLow,
      this.fingerprintHigh,
    ]
    this.keys = new KeyTable(seed, () => {
      for (const column of this.columns) column.addPage()
    })
  }

  get count(): number {
    return this.keys.count
  }

  find(tenant: number, key: Key): number {
    return this.keys.findKey(tenant, key)
  }

  /** Adds an account as its record says. Words are unsigned 32-bit halves of the fingerprint. */
  create(
    tenant: number,
    key: Key,
    body: AccountCreatedBody,
    fingerprint: { low: number; high: number },
    time: number,
  ): number {
    const row = this.keys.insert(tenant, key.w0, key.w1, key.w2, key.w3)
    this.overdraftLimit.set(row, body.overdraftLimit ?? unlimited)
    this.minimumBalance.set(row, body.minimumBalance)
    this.createdAt.set(row, time)
    this.currency.set(row, this.currencyIndex(body.currency, body.scale))
    this.accountClass.set(row, accountClasses.indexOf(body.class as AccountClass))
    if (body.striped === true) {
      this.striped.set(row, 1)
      this.stripedRows.push(row)
    }
    this.fingerprintLow.set(row, fingerprint.low)
    this.fingerprintHigh.set(row, fingerprint.high)
    const { name, type, owner, number, metadata } = body
    if ((name ?? type ?? owner ?? number ?? metadata) !== undefined) {
      this.details.set(row, { name, type, owner, number, metadata })
    }
    return row
  }

  isStriped(row: number): boolean {
    return this.striped.get(row) === 1
  }

  /** Where a posting to an account of this shard takes effect. */
  sideOf(row: number): Side {
    return this.striped.get(row) === 1 ? Side.striped : Side.here
  }

  /** The greatest lifetime turnover that an account may come to, in minor units. */
  turnoverMax(row: number): bigint {
    return this.striped.get(row) === 1 ? this.#partMax : amountMax
  }

  currencyOf(row: number): BookCurrency {
    return this.currencies[this.currency.get(row)]
  }

  /** A currency that some account of the book already has. */
  findCurrency(code: string): BookCurrency | undefined {
    return this.currencies.find((currency) => currency.code === code)
  }

  /** The currency of an account of another shard: two words of its code, and its scale. */
  currencyOfWords(word0: number, word1: number, scale: number): BookCurrency {
    const known = this.currencies.find(
      ({ words, scale: own }) => words[0] === word0 && words[1] === word1 && own === scale,
    )
    if (known !== undefined) return known
    const code = readCurrency(Uint32Array.of(word0, word1), 0)
    return this.currencies[this.currencyIndex(code, scale)]
  }

  readCounters(row: number, into: Counters): void {
    into.debitsPosted = this.debitsPosted.get(row)
    into.creditsPosted = this.creditsPosted.get(row)
    into.debitsPending = this.debitsPending.get(row)
    into.creditsPending = this.creditsPending.get(row)
  }

  /** The posting at `seq` has touched the account; however often, it counts once. */
  touch(row: number, seq: number): void {
    if (this.touchedSeq.get(row) === seq) return
    if (this.striped.get(row) === 0) this.version.set(row, this.version.get(row) + 1)
    else this.changedParts.add(row)
    this.touchedSeq.set(row, seq)
  }

  /** The record at `seq` has created or changed the account itself. */
  noteChange(row: number, seq: number): void {
    if (this.striped.get(row) === 1) this.changedParts.add(row)
    this.version.set(row, this.version.get(row) + 1)
    this.touchedSeq.set(row, seq)
  }

  currencyOfCode(code: string, scale: number): BookCurrency {
    return this.currencies[this.currencyIndex(code, scale)]
  }

  /** Index of a currency, which is added if it is new. */
  currencyIndex(code: string, scale: number): number {
    const index = this.currencies.findIndex(
      (currency) => currency.code === code && currency.scale === scale,
    )
    if (index >= 0) return index
    this.currencies.push({ code, scale, words: currencyWords(code) })
    return this.currencies.length - 1
  }
}

/** Balance on the normal side, in minor units. */
export function balanceOf(counters: Counters, debitNormal: boolean): bigint {
  return debitNormal
    ? counters.debitsPosted - counters.creditsPosted
    : counters.creditsPosted - counters.debitsPosted
}

/** Balance less what holds would take away. */
export function availableOf(counters: Counters, debitNormal: boolean): bigint {
  return (
    balanceOf(counters, debitNormal) -
    (debitNormal ? counters.creditsPending : counters.debitsPending)
  )
}
