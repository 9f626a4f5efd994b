import { type JournalRecord, RecordKind, Side } from './journal-record.js'
import { positionOf } from './record-effects.js'
import { expect } from './violation.js'

/** Which stream owns a key in the newest generation. */
export interface Ownership {
  streamOf(id: string): number
  streams(): readonly number[]
}

/** A home record that other streams have to apply. */
interface Told {
  record: JournalRecord
  streams: Set<number>
  applied: Set<number>
  /** Number of the commit with which the last of them had applied it. */
  doneAt: number
}

/** What streams tell each other: each message has a committed cause, is applied once, and in order. */
export class ToldRecords {
  readonly #owners: Ownership
  /** By stream and seq of the home record. */
  readonly #told = new Map<string, Told>()
  /** Number of the last message applied, by sender and receiver. */
  readonly #messages = new Map<string, number>()

  constructor(owners: Ownership) {
    this.#owners = owners
  }

  /** Notes which streams the home record has to be applied in. */
  tell(record: JournalRecord): void {
    const streams = this.#receivers(record)
    streams.delete(record.stream)
    if (streams.size === 0) return
    const applied = new Set<number>()
    this.#told.set(positionOf(record), { record, streams, applied, doneAt: Infinity })
  }

  #receivers(record: JournalRecord): Set<number> {
    const streams = new Set<number>()
    const isOfAccount = record.account !== undefined
    if (isOfAccount && record.account?.striped === true) {
      for (const stream of this.#owners.streams()) streams.add(stream)
    }
    for (const posting of record.postings) {
      if (posting.debitSide === Side.elsewhere) streams.add(this.#owners.streamOf(posting.debit))
      if (posting.creditSide === Side.elsewhere) streams.add(this.#owners.streamOf(posting.credit))
    }
    if (!isOfAccount && record.kind !== RecordKind.holdExpired) {
      streams.add(this.#owners.streamOf(record.id))
    }
    return streams
  }

  /** A stream has applied what another told it; returns the home record. */
  apply(record: JournalRecord, cause: NonNullable<JournalRecord['cause']>): JournalRecord {
    const told = this.#told.get(positionOf(cause))
    expect(
      told !== undefined && told.record.commit < record.commit,
      2,
      () => `${positionOf(record)} applies ${positionOf(cause)}, which is not committed`,
    )
    expect(
      told.streams.has(record.stream) && !told.applied.has(record.stream),
      2,
      () => `${positionOf(cause)} is applied once more by ${positionOf(record)}`,
    )
    expect(record.time >= told.record.time, 0, () => `${positionOf(record)} is before its cause`)
    told.applied.add(record.stream)
    if (told.applied.size === told.streams.size) told.doneAt = record.commit
    this.#countMessage(record, cause)
    return told.record
  }

  /** Number of the commit since which every stream has applied the record; Infinity if not yet. */
  appliedAt(record: JournalRecord): number {
    const told = this.#told.get(positionOf(record))
    return told === undefined ? record.commit : told.doneAt
  }

  assertNothingUntold(): void {
    for (const [position, { streams, applied }] of this.#told) {
      const missing = [...streams].filter((stream) => !applied.has(stream))
      expect(missing.length === 0, 2, () => `stream ${missing} never applied ${position}`)
    }
  }

  #countMessage(record: JournalRecord, cause: NonNullable<JournalRecord['cause']>): void {
    const way = `${cause.stream} to ${record.stream}`
    const expected = (this.#messages.get(way) ?? 0) + 1
    expect(
      cause.message === expected,
      2,
      () => `${positionOf(record)} applies message ${cause.message} of ${way}, not ${expected}`,
    )
    this.#messages.set(way, expected)
  }
}
