import type { AccountStatus, TransactionStatus } from '../../actors/model.js'
import {
  type Account,
  type AccountCounters,
  type AccountState,
  availableOf,
  floorOf,
  isSame,
  stateNow,
} from './account-history.js'
import { type JournalRecord, RecordKind, type RecordPosting, Side } from './journal-record.js'
import {
  assertEmpty,
  assertKeepsLimit,
  assertWithinNewLimit,
  type Effect,
  effectOfApplied,
  isOppositeOf,
  nothing,
  positionOf,
  sidesFrom,
  zero,
} from './record-effects.js'
import { type Ownership, ToldRecords } from './told-records.js'
import { VersionsBefore } from './versions-before.js'
import { expect } from './violation.js'

/** A transaction that some home record made real. */
export interface Transaction {
  record: JournalRecord
  status: TransactionStatus
  /** Of a hold: minor units still reserved, per posting. */
  remaining: bigint[]
  /** Place among all home records, in the order of their commits. */
  order: number
  /** Version of each account just before. */
  versions: ReadonlyMap<string, number>
  /** What it has been since which commit, as the stream that owns its id knows. */
  known: { commit: number; status: TransactionStatus; remaining: bigint[] }[]
}

/**
 * The book as the committed records say, in the order of their commits: Maps and bigints, nothing
 * of the engine's own decisions. Each record is checked against all before it.
 */
export class CommittedBook {
  readonly accounts = new Map<string, Account>()
  readonly transactions = new Map<string, Transaction>()
  readonly #owners: Ownership
  readonly #told: ToldRecords
  readonly #versions = new VersionsBefore()

  constructor(owners: Ownership) {
    this.#owners = owners
    this.#told = new ToldRecords(owners)
  }

  follow(record: JournalRecord): void {
    if (record.cause !== undefined) {
      this.#apply(record, record.cause)
      return
    }
    switch (record.kind) {
      case RecordKind.accountCreated:
        this.#create(record)
        break
      case RecordKind.accountChanged:
        this.#change(record)
        break
      case RecordKind.posting:
      case RecordKind.transaction:
        this.#post(record)
        break
      case RecordKind.reversal:
        this.#reverse(record)
        break
      default:
        this.#settleHold(record)
    }
    this.#told.tell(record)
  }

  /** Whether every stream that has to know of the record at (stream, seq) does. */
  isAppliedEverywhere(record: JournalRecord): boolean {
    return this.appliedAt(record) < Infinity
  }

  /** Number of the commit since which they do. */
  appliedAt(record: JournalRecord): number {
    return this.#told.appliedAt(record)
  }

  /** No stream waits for another: before a generation closes, and when all is quiet. */
  assertNothingUntold(): void {
    this.#told.assertNothingUntold()
  }

  /** When all is quiet: each account's own stream has come to what the book says. */
  assertConverged(): void {
    let debits = 0n
    let credits = 0n
    let pending = 0n
    for (const account of this.accounts.values()) {
      debits += account.debitsPosted
      credits += account.creditsPosted
      pending += account.debitsPending - account.creditsPending
      if (account.isStriped) continue
      const own = stateNow(account)
      expect(isSame(own, account), 2, () => `account ${account.id} has come to something else`)
    }
    expect(debits === credits && pending === 0n, 4, () => 'debits are not credits')
  }

  #create(record: JournalRecord): void {
    const body = record.account
    expect(!this.accounts.has(record.id), 3, () => `account ${record.id} is created twice`)
    const isDebitNormal = body?.class === 'asset' || body?.class === 'expense'
    const none = { debitsPosted: 0n, creditsPosted: 0n, debitsPending: 0n, creditsPending: 0n }
    const account: Account = {
      id: record.id,
      isDebitNormal,
      isStriped: body?.striped === true,
      importedAhead: 0n,
      currency: body?.currency ?? '',
      createdAt: record.time,
      states: [],
      ...none,
    }
    const state: AccountState = {
      ...none,
      commit: record.commit,
      version: 1,
      status: 'active',
      overdraftLimit: body?.overdraftLimit ?? null,
      minimumBalance: body?.minimumBalance ?? 0n,
      pendingHolds: 0,
      metadata: body?.metadata,
      madeBy: record,
    }
    account.states.push(state)
    this.accounts.set(record.id, account)
  }

  #change(record: JournalRecord): void {
    const { id, commit, account: body } = record
    const account = this.#account(id)
    if (body?.status === 'closed') assertEmpty(account)
    this.#next(account, commit, (state) => {
      if (body?.status !== undefined) state.status = body.status as AccountStatus
      if (body?.overdraftLimit !== undefined) state.overdraftLimit = body.overdraftLimit
      if (body?.minimumBalance !== undefined) state.minimumBalance = body.minimumBalance
      if (body?.metadata !== undefined) state.metadata = body.metadata
      state.madeBy = record
    })
    assertWithinNewLimit(account)
  }

  #post(record: JournalRecord): void {
    const { pending, postings } = record
    this.#remember(record, pending ? 'pending' : 'posted')
    for (const posting of postings) this.#move(record, posting, posting.amount, pending)
    this.#touchOwn(record, postings, (posting) => ({
      posted: pending ? 0n : posting.amount,
      pending: pending ? posting.amount : 0n,
      holds: pending ? 1 : 0,
    }))
  }

  #reverse(record: JournalRecord): void {
    const target = this.transactions.get(record.target ?? '')
    expect(
      target?.status === 'posted' || target?.status === 'hold post',
      3,
      () => `${record.target} is ${target?.status} and is reversed`,
    )
    expect(
      isOppositeOf(record, target.record),
      2,
      () => `${positionOf(record)} is not the opposite of ${record.target}`,
    )
    expect(
      record.time >= target.record.time,
      0,
      () => `${positionOf(record)} is before what it reverses`,
    )
    this.#remember(record, 'reversal')
    this.#become(target, 'reversed', record.commit)
    for (const posting of record.postings) this.#move(record, posting, posting.amount, false)
    this.#touchOwn(record, record.postings, (posting) => ({
      posted: posting.amount,
      pending: 0n,
      holds: 0,
    }))
  }

  /** A hold is posted, voided or expires: once, and never two of them. */
  #settleHold(record: JournalRecord): void {
    const hold = this.transactions.get(record.target ?? '')
    expect(
      hold?.status === 'pending',
      3,
      () => `hold ${record.target} is ${hold?.status} and is settled by ${positionOf(record)}`,
    )
    const isExpiry = record.kind === RecordKind.holdExpired
    const expiresAt = hold.record.expiresAt ?? Number.POSITIVE_INFINITY
    expect(
      isExpiry === record.time >= expiresAt,
      5,
      () => `hold ${record.target} expires at ${expiresAt}, not at ${record.time}`,
    )
    const moved = hold.record.postings.map((posting, index) => {
      const posted = record.postings[index]?.amount ?? 0n
      return { posting, posted, gone: posted + (record.released[index] ?? 0n) }
    })
    for (const [index, { posting, posted, gone }] of moved.entries()) {
      hold.remaining[index] -= gone
      expect(hold.remaining[index] >= 0n, 5, () => `more than ${record.target} reserves is gone`)
      this.#account(posting.debit).debitsPending -= gone
      this.#account(posting.credit).creditsPending -= gone
      this.#account(posting.debit).debitsPosted += posted
      this.#account(posting.credit).creditsPosted += posted
    }
    const ended = !record.kept
    const isPost = record.kind === RecordKind.holdPosted
    expect(
      hold.remaining.some((rest) => rest > 0n) === record.kept,
      5,
      () => `${positionOf(record)} leaves ${hold.remaining} of ${record.target}`,
    )
    expect(record.time >= hold.record.time, 0, () => `${positionOf(record)} is before its hold`)
    if (isPost) for (const { posting } of moved) this.#assertActive(record, posting)
    if (!isExpiry) this.#remember(record, isPost ? 'hold post' : 'hold void')
    const after = isPost ? 'hold posted' : isExpiry ? 'hold expired' : 'hold voided'
    this.#become(hold, ended ? after : 'pending', record.commit)
    const own = moved.map(({ posting, posted, gone }, index) => ({
      ...{ posted, pending: -gone, holds: ended ? -1 : 0 },
      posting: sidesFrom(posting, record.postings[index]),
    }))
    const effects = new Map(own.map((effect) => [effect.posting, effect]))
    this.#touchOwn(record, [...effects.keys()], (posting) => effects.get(posting) ?? nothing)
  }

  #remember(record: JournalRecord, status: TransactionStatus): void {
    const { id, commit } = record
    expect(!this.transactions.has(id), 3, () => `${id} takes effect twice`)
    const remaining = status === 'pending' ? record.postings.map(({ amount }) => amount) : []
    const order = this.transactions.size
    const versions = this.#versions.of(record, this.accounts)
    const transaction = { record, status, remaining, order, versions, known: [] }
    this.transactions.set(id, transaction)
    // An item of an atomic batch may have its id on another stream.
    if (this.#owners.streamOf(id) === record.stream) note(transaction, commit)
  }

  #become(transaction: Transaction, status: TransactionStatus, commit: number): void {
    transaction.status = status
    note(transaction, commit)
  }

  /** Both sides at once, as the transaction became real; nobody may come beyond a limit by it. */
  #move(record: JournalRecord, posting: RecordPosting, amount: bigint, pending: boolean): void {
    const from = this.#account(posting.debit)
    const to = this.#account(posting.credit)
    this.#assertActive(record, posting)
    from[pending ? 'debitsPending' : 'debitsPosted'] += amount
    to[pending ? 'creditsPending' : 'creditsPosted'] += amount
    for (const account of [from, to]) {
      const isLowered = account.isDebitNormal === (account === to)
      const side = account === from ? posting.debitSide : posting.creditSide
      if (record.imported) {
        if (isLowered && side === Side.elsewhere) account.importedAhead += amount
        continue
      }
      // What is exempt counts for others from when the account's own shard has applied it.
      const available = availableOf(account, account) + account.importedAhead
      expect(
        !isLowered || available >= floorOf(stateNow(account)),
        5,
        () => `account ${account.id} is at ${available} after ${positionOf(record)}`,
      )
    }
  }

  /** A status counts from its commit on, on all shards: what was undecided then has been applied. */
  #assertActive(record: JournalRecord, { debit, credit }: RecordPosting): void {
    const [from, to] = [this.#account(debit), this.#account(credit)]
    for (const account of [from, to]) {
      const { status } = stateNow(account)
      const what = () => `${positionOf(record)} posts to ${account.id}, which is ${status}`
      expect(status === 'active', 5, what)
    }
    const what = () => `${positionOf(record)} posts ${from.currency} to ${to.currency}`
    expect(from.currency === to.currency, 4, what)
  }

  /** What the record does to accounts of the stream that it is in. */
  #touchOwn(
    record: JournalRecord,
    postings: readonly RecordPosting[],
    effectOf: (posting: RecordPosting) => Effect,
  ): void {
    const touched = new Map<Account, AccountCounters & { holds: number }>()
    for (const posting of postings) {
      const { posted, pending, holds } = effectOf(posting)
      for (const [id, side, isDebit] of [
        [posting.debit, posting.debitSide, true],
        [posting.credit, posting.creditSide, false],
      ] as const) {
        const account = this.#account(id)
        if (account.isStriped || side === Side.elsewhere) continue
        expect(
          this.#owners.streamOf(id) === record.stream,
          2,
          () => `${positionOf(record)} touches ${id} of another stream`,
        )
        const change = touched.get(account) ?? { ...zero }
        if (isDebit) {
          change.debitsPosted += posted
          change.debitsPending += pending
        } else {
          change.creditsPosted += posted
          change.creditsPending += pending
        }
        change.holds += holds
        touched.set(account, change)
      }
    }
    for (const [account, change] of touched) this.#touch(record, account, change)
  }

  #touch(record: JournalRecord, account: Account, change: AccountCounters & { holds: number }) {
    expect(
      stateNow(account).status !== 'closed',
      5,
      () => `${positionOf(record)} touches ${account.id}, which is closed`,
    )
    this.#next(account, record.commit, (state) => {
      state.debitsPosted += change.debitsPosted
      state.creditsPosted += change.creditsPosted
      state.debitsPending += change.debitsPending
      state.creditsPending += change.creditsPending
      state.pendingHolds += change.holds
    })
    if (!record.imported) assertKeepsLimit(record, account)
  }

  #next(account: Account, commit: number, change: (state: AccountState) => void): void {
    const last = stateNow(account)
    const state = { ...last, commit, version: last.version + 1 }
    change(state)
    account.states.push(state)
  }

  #apply(record: JournalRecord, cause: NonNullable<JournalRecord['cause']>): void {
    const home = this.#told.apply(record, cause)
    if (record.account !== undefined) return
    if (record.imported) this.#applyImported(record)
    const transaction = this.transactions.get(record.id)
    if (transaction !== undefined && this.#owners.streamOf(record.id) === record.stream) {
      note(transaction, record.commit)
    }
    this.#touchOwn(record, record.postings, (posting) => {
      const gone = posting.amount + (record.released[record.postings.indexOf(posting)] ?? 0n)
      return effectOfApplied(record, cause.kind, { posted: posting.amount, gone }, home)
    })
  }

  #applyImported({ postings }: JournalRecord): void {
    for (const { debit, debitSide, credit, creditSide, amount } of postings) {
      const [from, to] = [this.#account(debit), this.#account(credit)]
      if (!from.isDebitNormal && debitSide !== Side.elsewhere) from.importedAhead -= amount
      if (to.isDebitNormal && creditSide !== Side.elsewhere) to.importedAhead -= amount
    }
  }

  #account(id: string): Account {
    const account = this.accounts.get(id)
    expect(account !== undefined, 2, () => `the journal has no account ${id}`)
    return account
  }
}

function note(transaction: Transaction, commit: number): void {
  const { status, remaining } = transaction
  transaction.known.push({ commit, status, remaining: [...remaining] })
}
