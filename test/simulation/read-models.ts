import type { Positions } from '../../src/actors/let-go.js'
import type { AskedTransaction, RecalledTransaction } from '../../src/actors/recall.js'
import { TransactionState } from '../../src/actors/transactions.js'
import { digestChain, emptyDigest } from '../../src/journal/digest.js'
import { RecordFlag, RecordKind, Word } from '../../src/journal/record.js'
import { Replay } from '../../src/journal/replay.js'
import { formatKey } from '../../src/key.js'
import { tenant } from '../actors/engine-names.js'
import { type JournalRecord, readJournalRecord } from './oracle/journal-record.js'
import type { Commit, Tables } from './postgres/simulated-postgres.js'

/**
 * Stands for the projection of src/history: it follows all that is committed, as late as the script
 * has it, and answers what find-transactions.ts would.
 */
export class ReadModels {
  /** From here on it is never late. */
  isPrompt = false
  /** It can be asked. */
  isThere = true
  readonly #tables: () => Tables
  readonly #onFollowed: () => void
  readonly #replays = new Map<number, Replay>()
  readonly #transactions = new Map<string, RecalledTransaction>()
  readonly #progress = new Map<number, number>()
  /** Committed, and not followed yet. */
  readonly #waiting: (() => void)[] = []

  constructor(tables: () => Tables, onFollowed: () => void) {
    this.#tables = tables
    this.#onFollowed = onFollowed
  }

  get positions(): [stream: number, seq: number][] {
    return [...this.#progress]
  }

  committed({ chunks }: Commit): void {
    for (const chunk of chunks) {
      const { stream } = chunk
      const replay =
        this.#replays.get(stream) ??
        new Replay(stream, { seq: 0, digest: emptyDigest }, digestChain())
      this.#replays.set(stream, replay)
      replay.read(chunk, (words, at, seq) => {
        const record = readJournalRecord(words, at, { stream, seq, commit: 0 })
        const fingerprint = {
          low: words[at + Word.fingerprint],
          high: words[at + Word.fingerprint + 1],
        }
        const isReal = (words[at] >>> 16) & RecordFlag.pending ? 'pending' : 'posted'
        this.#waiting.push(() => {
          this.#follow(record, fingerprint, TransactionState[isReal])
          this.#progress.set(stream, seq)
        })
      })
    }
    if (this.isPrompt) this.follow(this.#waiting.length)
  }

  /** Goes on by so many records. */
  follow(records: number): void {
    for (const follow of this.#waiting.splice(0, records)) follow()
    this.#onFollowed()
  }

  get late(): number {
    return this.#waiting.length
  }

  find(
    asked: readonly AskedTransaction[],
    coverage: Positions,
  ): (RecalledTransaction | undefined)[] {
    if (!this.isThere) throw new Error('the read models are being built')
    const closed = [...this.#tables().streams.values()].filter((stream) => stream.closed)
    const needed = [...coverage, ...closed.map(({ id, head }) => [id, head] as const)]
    if (needed.some(([stream, seq]) => (this.#progress.get(stream) ?? 0) < seq)) {
      throw new Error('the read models do not hold everything that was let go')
    }
    return asked.map(({ key, tenant: own }) =>
      own === tenant ? this.#transactions.get(formatKey(key)) : undefined,
    )
  }

  #follow(
    record: JournalRecord,
    fingerprint: RecalledTransaction['fingerprint'],
    posted: RecalledTransaction['state'],
  ): void {
    const { id, stream, seq, target, cause } = record
    if (cause !== undefined || record.account !== undefined) return
    const after = statesAfter[record.kind]
    const own = after === undefined ? posted : after.own
    if (own !== undefined) this.#transactions.set(id, { state: own, fingerprint, stream, seq })
    const followed = this.#transactions.get(target ?? '')
    if (followed === undefined || after === undefined || record.kept) return
    this.#transactions.set(target ?? '', { ...followed, state: after.target })
  }
}

const statesAfter: Partial<
  Record<RecordKind, { own?: TransactionState; target: TransactionState }>
> = {
  [RecordKind.holdPosted]: { own: TransactionState.holdPost, target: TransactionState.holdPosted },
  [RecordKind.holdVoided]: { own: TransactionState.holdVoid, target: TransactionState.holdVoided },
  [RecordKind.holdExpired]: { target: TransactionState.holdExpired },
  [RecordKind.reversal]: { own: TransactionState.reversal, target: TransactionState.reversed },
}
