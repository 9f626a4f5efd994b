import type { Key } from '../key.js'
import { type AnyColumn, ByteColumn, FloatColumn, RowGroup, Uint32Column } from './column.js'
import { KeyTable } from './key-table.js'

/** What has become of a remembered transaction. The numbers are part of the digest. */
export const TransactionState = {
  posted: 1,
  pending: 2,
  holdPosted: 3,
  holdVoided: 4,
  holdExpired: 5,
  /** A post, a void or a reversal: it follows another transaction. */
  holdPost: 6,
  holdVoid: 7,
  reversal: 8,
  reversed: 9,
} as const
export type TransactionState = (typeof TransactionState)[keyof typeof TransactionState]

/**
 * Transaction ids that took effect, with what a second use needs: about 65 bytes each. The
 * transaction itself is in the journal, at `seq`. The oldest ones may be let go (let-go.ts).
 */
export class TransactionTable {
  readonly keys: KeyTable
  readonly #group = new RowGroup()
  /** Position of the home record that made the transaction; it may be in another stream. */
  readonly stream = new Uint32Column()
  readonly seq = new FloatColumn(this.#group)
  /** Seq of the last record that changed its state. */
  readonly touchedSeq = new FloatColumn(this.#group)
  readonly state = new ByteColumn()
  readonly fingerprintLow = new Uint32Column()
  readonly fingerprintHigh = new Uint32Column()

  /** New ids that other shards have claimed here and that are not decided yet. */
  claimed = 0

  /** All columns, in the order that snapshots have them in. */
  readonly columns: readonly AnyColumn[] = [
    this.stream,
    this.seq,
    this.touchedSeq,
    this.state,
    this.fingerprintLow,
    this.fingerprintHigh,
  ]

  /** Rows are let go `blockRows` at a time. */
  constructor(seed: [number, number], blockRows?: number) {
    const addPages = () => {
      for (const column of this.columns) column.addPage()
    }
    this.keys = new KeyTable(seed, addPages, blockRows)
  }

  get count(): number {
    return this.keys.count
  }

  find(tenant: number, key: Key): number {
    return this.keys.findKey(tenant, key)
  }

  /**
   * Remembers a transaction whose id the caller has looked up and not found. `touchedSeq` is the seq
   * of the record that says so here, if that is not the one which made it.
   */
  add(
    tenant: number,
    key: Key,
    state: TransactionState,
    fingerprint: { low: number; high: number },
    position: { stream: number; seq: number },
    touchedSeq = position.seq,
  ): number {
    const row = this.keys.insert(tenant, key.w0, key.w1, key.w2, key.w3)
    this.stream.set(row, position.stream)
    this.seq.set(row, position.seq)
    this.touchedSeq.set(row, touchedSeq)
    this.state.set(row, state)
    this.fingerprintLow.set(row, fingerprint.low)
    this.fingerprintHigh.set(row, fingerprint.high)
    return row
  }

  /** Whether only the state is known: it changed after all else had been let go. */
  isHollow(row: number): boolean {
    return this.seq.get(row) === 0
  }

  /** Says of a hollow row what the read models have of it. */
  fillIn(
    row: number,
    fingerprint: { low: number; high: number },
    position: { stream: number; seq: number },
  ): void {
    this.stream.set(row, position.stream)
    this.seq.set(row, position.seq)
    this.fingerprintLow.set(row, fingerprint.low)
    this.fingerprintHigh.set(row, fingerprint.high)
  }

  /** Gives a row another place, as the newest; returns that. */
  renew(row: number): number {
    const { keys } = this
    const [tenant, key] = [keys.tenantOf(row), keys.keyOf(row)]
    keys.remove(row)
    return this.add(
      tenant,
      key,
      this.state.get(row) as TransactionState,
      { low: this.fingerprintLow.get(row), high: this.fingerprintHigh.get(row) },
      { stream: this.stream.get(row), seq: this.seq.get(row) },
      this.touchedSeq.get(row),
    )
  }

  changeState(row: number, state: TransactionState, seq: number): void {
    this.state.set(row, state)
    this.touchedSeq.set(row, seq)
  }
}
