import { type Account, availableOf, floorOf } from './account-history.js'
import { type JournalRecord, RecordKind, type RecordPosting, type Side } from './journal-record.js'
import { expect } from './violation.js'

/** What records mean for accounts, and what they may not do to them. */

/** An account is closed when nothing is on it, on any shard. */
export function assertEmpty(account: Account): void {
  const { debitsPosted, creditsPosted, debitsPending, creditsPending } = account
  expect(
    debitsPosted === creditsPosted && debitsPending === 0n && creditsPending === 0n,
    5,
    () => `account ${account.id} is closed and not empty`,
  )
}

/** A limit may be moved towards a balance that is beyond it, but not beyond a balance. */
export function assertWithinNewLimit(account: Account): void {
  const [before, after] = account.states.slice(-2)
  expect(
    floorOf(after) <= floorOf(before) || availableOf(account, after) >= floorOf(after),
    5,
    () => `account ${account.id} is at ${availableOf(account, after)} after a change of its limits`,
  )
}

/** In the order of its own stream, too, an account is never brought beyond its limit. */
export function assertKeepsLimit(record: JournalRecord, account: Account): void {
  const [before, after] = account.states.slice(-2)
  const available = availableOf(account, after)
  expect(
    available >= availableOf(account, before) || available >= floorOf(after),
    5,
    () => `account ${account.id} is at ${available} after ${positionOf(record)} of its own stream`,
  )
}

/** Whether one posts back all that the other has posted. */
export function isOppositeOf(one: JournalRecord, other: JournalRecord): boolean {
  const moved = other.postings.filter(({ amount }) => amount > 0n)
  return (
    one.postings.length === moved.length &&
    moved.every(({ debit, credit, amount }, index) => {
      const back = one.postings[index]
      return back.debit === credit && back.credit === debit && back.amount === amount
    })
  )
}

/** What a record does to one side of a posting. */
export interface Effect {
  posted: bigint
  pending: bigint
  holds: number
}

export const nothing: Effect = { posted: 0n, pending: 0n, holds: 0 }
export const zero = {
  debitsPosted: 0n,
  creditsPosted: 0n,
  debitsPending: 0n,
  creditsPending: 0n,
  holds: 0,
}

export function effectOfApplied(
  record: JournalRecord,
  kind: RecordKind,
  { posted, gone }: { posted: bigint; gone: bigint },
  home: JournalRecord,
): Effect {
  switch (kind) {
    case RecordKind.posting:
    case RecordKind.transaction:
      return record.pending
        ? { posted: 0n, pending: posted, holds: 1 }
        : { posted, pending: 0n, holds: 0 }
    case RecordKind.reversal:
      return { posted, pending: 0n, holds: 0 }
    default:
      return { posted, pending: -gone, holds: home.kept ? 0 : -1 }
  }
}

/** The accounts of a hold's posting, with the sides that its settlement names. */
export function sidesFrom(posting: RecordPosting, named: RecordPosting | undefined): RecordPosting {
  const [debitSide, creditSide] = [named?.debitSide ?? 0, named?.creditSide ?? 0] as const
  return { ...posting, debitSide: debitSide as Side, creditSide: creditSide as Side }
}

export function positionOf({ stream, seq }: { stream: number; seq: number }): string {
  return `${stream}-${seq}`
}
