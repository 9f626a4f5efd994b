import assert from 'node:assert/strict'
import type { Book } from '../../src/actors/book.js'
import { TransactionState } from '../../src/actors/transactions.js'
import { formatKey } from '../../src/key.js'
import type { Engine } from './engine.js'
import { type FollowUp, followUpId, type NewTransaction } from './model.js'
import { keyOfName, type Sent } from './step-commands.js'

type Counters = [
  debitsPosted: bigint,
  creditsPosted: bigint,
  debitsPending: bigint,
  creditsPending: bigint,
]

/** What the shards of a process have in memory, all together, by name. */
export class StepLedger {
  readonly #engine: Engine

  constructor(engine: Engine) {
    this.#engine = engine
  }

  /**
   * Whether a command has taken effect; asserts that it did so wholly or not at all, and once. Of
   * a change that can be made twice it is not known.
   */
  hasEffect(sent: Sent): boolean | undefined {
    switch (sent.does) {
      case 'post':
        return this.stateOf(sent.body.id) !== undefined
      case 'followUp':
        return this.stateOf(keyTextOf(this.#engine, sent.body)) !== undefined
      case 'batch': {
        const found = sent.bodies.filter(({ id }) => this.stateOf(id) !== undefined)
        assert.ok(
          found.length === 0 || found.length === sent.bodies.length,
          `${found.length} of ${sent.bodies.length} items of an atomic batch`,
        )
        return found.length > 0
      }
      case 'create':
        return this.#partsOf(sent.body.id).length > 0
      case 'change':
        if (sent.body.status !== 'closed') return undefined
        return this.#partsOf(sent.body.id).some(({ status }) => status === closed)
    }
  }

  /** The state of a transaction, which only the shard that owns its id may have. */
  stateOf(id: string): number | undefined {
    const place = this.#placeOf(id)
    return place?.book.transactions.state.get(place.row)
  }

  seqOf(id: string): number | undefined {
    const place = this.#placeOf(id)
    return place?.book.transactions.seq.get(place.row)
  }

  /** Nothing is left of what was undecided. */
  assertNothingHeld(): void {
    for (const { book, gauges } of this.#engine.shards) {
      assert.equal(gauges.coordinations, 0, 'nothing is being decided')
      assert.equal(gauges.openRecords, 0, 'everything is durable')
      assert.equal(book.reservations.count, 0, 'nothing is reserved or shut')
      assert.equal(book.reversing.size, 0, 'nothing is being reversed')
      for (const hold of book.holds.all()) assert.ok(!hold.busy, 'no hold is busy')
    }
  }

  /** Every account has what `sent` has moved, and a striped one is the same on all shards. */
  assertBalances(sent: readonly Sent[]): void {
    const accounts = this.#counters()
    const expected = this.#expected(sent.filter((each) => this.hasEffect(each) === true))
    const sum: Counters = [0n, 0n, 0n, 0n]
    for (const [id, counters] of accounts) {
      const wanted = expected.get(id) ?? [0n, 0n, 0n, 0n]
      if (counters.some((value, index) => value !== wanted[index])) {
        assert.deepEqual(counters, wanted, nameAmong(sent, id))
      }
      for (const [index, value] of counters.entries()) sum[index] += value
    }
    for (const id of expected.keys()) assert.ok(accounts.has(id), `${id} is there`)
    assert.equal(sum[0], sum[1], 'debits posted are credits posted')
    assert.equal(sum[2], sum[3], 'debits pending are credits pending')
  }

  /** Posted turnover of the accounts that have some, by key. */
  posted(): Map<string, [debits: bigint, credits: bigint]> {
    const posted = new Map<string, [bigint, bigint]>()
    for (const [id, [debits, credits]] of this.#counters()) posted.set(id, [debits, credits])
    return posted
  }

  #counters(): Map<string, Counters> {
    const all = new Map<string, Counters>()
    for (const { book } of this.#engine.shards) {
      const { accounts } = book
      for (let row = 0; row < accounts.count; row++) {
        const key = accounts.keys.keyOf(row)
        const id = formatKey(key)
        if (accounts.isStriped(row)) this.#partsOf(id)
        else assert.ok(book.owns(key) && !all.has(id), `${id} is on its own shard alone`)
        const counters = all.get(id) ?? [0n, 0n, 0n, 0n]
        counters[0] += accounts.debitsPosted.get(row)
        counters[1] += accounts.creditsPosted.get(row)
        counters[2] += accounts.debitsPending.get(row)
        counters[3] += accounts.creditsPending.get(row)
        all.set(id, counters)
      }
    }
    return all
  }

  /** What commands that have all taken effect come to, by key; a model as plain as can be. */
  #expected(sent: readonly Sent[]): Map<string, Counters> {
    const accounts = new Map<string, Counters>()
    const ends = new Map<string, FollowUp>()
    const made = new Map<string, NewTransaction>()
    for (const each of sent) {
      if (each.does === 'followUp') {
        assert.ok(!ends.has(each.body.target), `${each.body.target} is followed once`)
        ends.set(each.body.target, each.body)
      } else if (each.does === 'post') made.set(each.body.id, each.body)
      else if (each.does === 'batch') for (const body of each.bodies) made.set(body.id, body)
    }
    for (const target of ends.keys()) assert.ok(made.has(target), `${target} is there`)
    for (const body of made.values()) this.#count(accounts, body, ends.get(body.id))
    return accounts
  }

  #count(accounts: Map<string, Counters>, body: NewTransaction, end: FollowUp | undefined): void {
    const state = this.stateOf(body.id)
    assert.equal(state, stateAfter(body, end, state), `${body.id} has the state that follows`)
    const isPending = state === TransactionState.pending
    for (const [index, { debit, credit, amount }] of body.postings.entries()) {
      const minor = BigInt(end?.amounts?.[index] ?? amount) * 100n
      if (state === TransactionState.holdVoided || state === TransactionState.holdExpired) continue
      countersOf(accounts, debit)[isPending ? 2 : 0] += minor
      countersOf(accounts, credit)[isPending ? 3 : 1] += minor
      if (state !== TransactionState.reversed) continue
      countersOf(accounts, credit)[0] += minor
      countersOf(accounts, debit)[1] += minor
    }
  }

  #placeOf(id: string): { book: Book; row: number } | undefined {
    const key = keyOfName(id)
    const places: { book: Book; row: number }[] = []
    for (const { book } of this.#engine.shards) {
      const row = book.transactions.find(1, key)
      if (row >= 0) places.push({ book, row })
    }
    assert.ok(places.length <= 1, `${id} is on one shard`)
    assert.ok(
      places.every(({ book }) => book.owns(key)),
      `${id} is on the shard that owns it`,
    )
    return places[0]
  }

  /** The parts of a striped account, which all shards have alike, or none. */
  #partsOf(id: string): { status: number }[] {
    const parts: { status: number; version: number; details: string }[] = []
    for (const { book } of this.#engine.shards) {
      const { accounts } = book
      const row = accounts.find(1, keyOfName(id))
      if (row < 0) continue
      const details = JSON.stringify(accounts.details.get(row) ?? null)
      parts.push({ status: accounts.status.get(row), version: accounts.version.get(row), details })
    }
    if (parts.length === 0) return parts
    assert.equal(parts.length, this.#engine.shards.length, `${id} is on all shards`)
    for (const part of parts) assert.deepEqual(part, parts[0], `${id} is the same on all shards`)
    return parts
  }
}

const closed = 3

function stateAfter(body: NewTransaction, end: FollowUp | undefined, state?: number): number {
  if (body.pending !== true) {
    return end === undefined ? TransactionState.posted : TransactionState.reversed
  }
  if (end?.kind === 'post') return TransactionState.holdPosted
  if (end?.kind === 'void') return TransactionState.holdVoided
  const hasExpired = body.expiresAt !== undefined && state === TransactionState.holdExpired
  return hasExpired ? TransactionState.holdExpired : TransactionState.pending
}

function countersOf(accounts: Map<string, Counters>, name: string): Counters {
  const id = formatKey(keyOfName(name))
  let counters = accounts.get(id)
  if (counters === undefined) {
    counters = [0n, 0n, 0n, 0n]
    accounts.set(id, counters)
  }
  return counters
}

export function keyTextOf(engine: Engine, body: FollowUp): string {
  return engine.keyTextOf(followUpId(body))
}

/** The name under which somebody posted to an account, for a message. */
function nameAmong(sent: readonly Sent[], id: string): string {
  const bodies = sent.flatMap((each) =>
    each.does === 'post' ? [each.body] : each.does === 'batch' ? each.bodies : [],
  )
  const names = bodies.flatMap(({ postings }) =>
    postings.flatMap(({ debit, credit }) => [debit, credit]),
  )
  return names.find((name) => formatKey(keyOfName(name)) === id) ?? id
}
