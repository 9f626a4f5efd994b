import { BigintColumn, ByteColumn, RowGroup } from '../actors/column.js'
import { KeyTable } from '../actors/key-table.js'
import type { Key } from '../key.js'

/** What a balance is of: an account, or the part of a striped one that a stream keeps. */
export interface BalanceName {
  tenant: number
  account: Key
  /** Of a part. */
  stream?: number
}

/** What has been posted so far, in minor units. */
export interface PostedSums {
  /** Debits less credits. */
  balance: bigint
  debits: bigint
}

interface Part extends PostedSums {
  row: number
  stream: number
  isKnown: boolean
}

/** Streams are few: a row and a stream fit a JavaScript number. */
const streamsMax = 2 ** 20

/**
 * Balance and debits of every account that has been seen, so that each entry can say what they were
 * after it. What was there before the follower started is looked up in the entries.
 *
 * A balance is named by a place: that of an account is its row, that of a part is below zero.
 */
export class RunningBalances {
  readonly #keys: KeyTable
  readonly #sums = new RowGroup()
  readonly #balance = new BigintColumn(this.#sums)
  readonly #debits = new BigintColumn(this.#sums)
  /** 1: the balance is known. */
  readonly #known = new ByteColumn()
  readonly #striped = new ByteColumn()
  readonly #partPlaces = new Map<number, number>()
  readonly #parts: Part[] = []
  /** Nothing has been before: a balance that is not here is 0. */
  readonly #fromOrigin: boolean

  constructor(fromOrigin: boolean) {
    this.#fromOrigin = fromOrigin
    const seed = () => Math.floor(Math.random() * 2 ** 32)
    this.#keys = new KeyTable([seed(), seed()], () => {
      this.#balance.addPage()
      this.#debits.addPage()
      this.#known.addPage()
      this.#striped.addPage()
    })
  }

  noteStriped(tenant: number, key: Key): void {
    this.#striped.set(this.#rowOf(tenant, key.w0, key.w1, key.w2, key.w3), 1)
  }

  /** Place of the balance that an entry in `stream` moves; the account is in four of `words`. */
  placeOf(tenant: number, words: Uint32Array, at: number, stream: number): number {
    const row = this.#rowOf(tenant, words[at], words[at + 1], words[at + 2], words[at + 3])
    return this.#striped.get(row) === 0 ? row : this.#placeOfPart(row, stream)
  }

  isKnown(place: number): boolean {
    if (this.#fromOrigin) return true
    return place < 0 ? this.#parts[-1 - place].isKnown : this.#known.get(place) === 1
  }

  nameOf(place: number): BalanceName {
    const part = place < 0 ? this.#parts[-1 - place] : undefined
    const row = part?.row ?? place
    const name = { tenant: this.#keys.tenantOf(row), account: this.#keys.keyOf(row) }
    return part === undefined ? name : { ...name, stream: part.stream }
  }

  set(place: number, { balance, debits }: PostedSums): void {
    if (place < 0) {
      Object.assign(this.#parts[-1 - place], { balance, debits, isKnown: true })
      return
    }
    this.#balance.set(place, balance)
    this.#debits.set(place, debits)
    this.#known.set(place, 1)
  }

  /** Adds what an entry moves; returns the balance after it, in minor units. */
  add(place: number, amount: bigint): bigint {
    if (place < 0) {
      const part = this.#parts[-1 - place]
      part.balance += amount
      if (amount > 0n) part.debits += amount
      return part.balance
    }
    const balance = this.#balance.get(place) + amount
    this.#balance.set(place, balance)
    if (amount > 0n) this.#debits.set(place, this.#debits.get(place) + amount)
    return balance
  }

  /** All debits so far, in minor units. */
  debitsOf(place: number): bigint {
    return place < 0 ? this.#parts[-1 - place].debits : this.#debits.get(place)
  }

  #rowOf(tenant: number, w0: number, w1: number, w2: number, w3: number): number {
    const row = this.#keys.find(tenant, w0, w1, w2, w3)
    return row >= 0 ? row : this.#keys.insert(tenant, w0, w1, w2, w3)
  }

  #placeOfPart(row: number, stream: number): number {
    const name = row * streamsMax + stream
    let place = this.#partPlaces.get(name)
    if (place === undefined) {
      place = -1 - this.#parts.length
      this.#parts.push({ row, stream, balance: 0n, debits: 0n, isKnown: false })
      this.#partPlaces.set(name, place)
    }
    return place
  }
}
