import { digestChain, emptyDigest } from '../../../src/journal/digest.js'
import { Replay } from '../../../src/journal/replay.js'
import type { Commit, Tables } from '../postgres/simulated-postgres.js'
import { type JournalRecord, readJournalRecord } from './journal-record.js'
import { expect } from './violation.js'

/** Follows every commit: streams stay whole, and only who owns one appends to it. */
export class JournalFollower {
  /** Commits so far; names a moment of the book. */
  commit = 0
  readonly #tables: () => Tables
  readonly #onRecord: (record: JournalRecord) => void
  readonly #streams = new Map<number, { replay: Replay; lastTimeMs: number; epoch: number }>()

  constructor(tables: () => Tables, onRecord: (record: JournalRecord) => void) {
    this.#tables = tables
    this.#onRecord = onRecord
  }

  committed({ chunks }: Commit): void {
    this.commit += 1
    const { commit } = this
    for (const chunk of chunks) {
      const { stream } = chunk
      const followed = this.#stream(stream)
      const row = this.#tables().streams.get(stream)
      expect(row !== undefined && !row.closed, 8, () => `closed stream ${stream} was written`)
      expect(
        chunk.epoch === row.epoch && chunk.epoch >= followed.epoch,
        8,
        () => `a batch of epoch ${chunk.epoch} is in stream ${stream}, whose epoch is ${row.epoch}`,
      )
      followed.epoch = chunk.epoch
      followed.replay.read(chunk, (words, at, seq) => {
        const record = readJournalRecord(words, at, { stream, seq, commit })
        expect(
          record.time >= followed.lastTimeMs,
          0,
          () => `time runs back in stream ${stream} at ${seq}`,
        )
        followed.lastTimeMs = record.time
        this.#onRecord(record)
      })
    }
    for (const stream of new Set(chunks.map((chunk) => chunk.stream))) this.#assertHead(stream)
  }

  #assertHead(stream: number): void {
    const { replay } = this.#stream(stream)
    const row = this.#tables().streams.get(stream)
    expect(
      row !== undefined && row.head === replay.seq && row.digest.equals(replay.digest),
      8,
      () => `the row of stream ${stream} says ${row?.head}, its chunks end at ${replay.seq}`,
    )
  }

  #stream(stream: number): { replay: Replay; lastTimeMs: number; epoch: number } {
    let followed = this.#streams.get(stream)
    if (followed === undefined) {
      const replay = new Replay(stream, { seq: 0, digest: emptyDigest }, digestChain())
      followed = { replay, lastTimeMs: 0, epoch: 0 }
      this.#streams.set(stream, followed)
    }
    return followed
  }
}
