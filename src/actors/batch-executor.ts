import { paddedLength, Word } from '../journal/record.js'
import { keyFromWords } from '../key.js'
import { BookError } from './apply.js'
import { batchAtomicFlag, batchCountWord, commandBytes } from './command.js'
import { fingerprintOf } from './fingerprint.js'
import { refusalNumber } from './refusals.js'
import { decideTransaction, noIndex } from './transaction-decision.js'
import type { TransactionExecutor } from './transaction-executor.js'
import type { Workbench } from './workbench.js'

/** Outcome of one item of a batch, as the answer carries it. */
const BatchOutcome = { accepted: 0, replayed: 1, refused: 2 } as const

/** Carries out batches: each item by itself, or all or none. */
export class BatchExecutor {
  readonly #bench: Workbench
  readonly #transactions: TransactionExecutor

  constructor(bench: Workbench, transactions: TransactionExecutor) {
    this.#bench = bench
    this.#transactions = transactions
  }

  execute(words: Uint32Array, at: number, firstItem: number, timeMs: number): number {
    const request = words[at + Word.time]
    const count = words[at + batchCountWord]
    const atomic = ((words[at] >>> 16) & batchAtomicFlag) !== 0
    const refused = atomic ? this.#firstRefusal(words, firstItem, count, timeMs) : undefined
    if (refused !== undefined) {
      this.#bench.outputs.onRefused(refused.refusal)
      const frame = this.#bench.outputs.answersResting(refused.restsOn)
      this.#bench.replies.batch(frame, request, { count: 0, ...refused, seq: 0 })
      return skip(words, firstItem, count)
    }
    const items = new Uint32Array(count * 4)
    let restsOn = 0
    let item = firstItem
    for (let index = 0; index < count; index++) {
      restsOn = Math.max(restsOn, this.#batchItem(words, item, timeMs, items, index * 4, atomic))
      item += commandBytes(words, item) / 4
    }
    const frame = this.#bench.outputs.answersResting(restsOn)
    const result = { count, refusal: 0, index: noIndex, seq: restsOn }
    const word = this.#bench.replies.batch(frame, request, result)
    frame.words.set(items, word)
    return item
  }

  /** Carries out one item, writes its outcome into `items`, and returns what that rests on. */
  #batchItem(
    words: Uint32Array,
    at: number,
    timeMs: number,
    items: Uint32Array,
    out: number,
    atomic: boolean,
  ): number {
    const { transactions } = this.#bench.book
    fingerprintOf(words, at, this.#bench.fingerprint)
    const row = transactions.find(words[at + Word.tenant], keyFromWords(words, at + Word.id))
    if (row >= 0) {
      const same = this.#bench.hasFingerprint(row)
      const refusal = same ? 0 : refusalNumber.id_reused_with_different_body
      if (!same) this.#bench.outputs.onRefused(refusal)
      const outcome = same ? BatchOutcome.replayed : BatchOutcome.refused
      this.#writeItem(items, out, outcome, refusal, same ? transactions.seq.get(row) : 0)
      return transactions.touchedSeq.get(row)
    }
    this.#bench.draft.reset()
    this.#bench.decision.start()
    const decision = decideTransaction(
      this.#bench.book,
      this.#bench.draft,
      words,
      at,
      timeMs,
      this.#bench.decision,
    )
    if (decision.refusal !== 0) {
      if (atomic) throw new BookError('an item of an accepted atomic batch was refused')
      this.#bench.outputs.onRefused(decision.refusal)
      this.#writeItem(items, out, BatchOutcome.refused, decision.refusal, 0)
      return this.#bench.restsOn(decision)
    }
    const { seq } = this.#transactions.write(words, at, timeMs)
    this.#writeItem(items, out, BatchOutcome.accepted, 0, seq)
    return seq
  }

  #writeItem(items: Uint32Array, out: number, outcome: number, refusal: number, seq: number): void {
    items[out] = outcome | (refusal << 16)
    items[out + 1] = seq === 0 ? 0 : this.#bench.stream
    items[out + 2] = seq >>> 0
    items[out + 3] = Math.floor(seq / 2 ** 32)
  }

  /** The first item of an atomic batch that cannot be accepted, with all before it in the draft. */
  #firstRefusal(
    words: Uint32Array,
    firstItem: number,
    count: number,
    timeMs: number,
  ): { refusal: number; index: number; restsOn: number } | undefined {
    const { transactions, limits } = this.#bench.book
    this.#bench.draft.reset()
    let restsOn = 0
    let item = firstItem
    for (let index = 0; index < count; index++) {
      const row = transactions.find(words[item + Word.tenant], keyFromWords(words, item + Word.id))
      let refusal = 0
      if (row >= 0) {
        fingerprintOf(words, item, this.#bench.fingerprint)
        restsOn = Math.max(restsOn, transactions.touchedSeq.get(row))
        if (!this.#bench.hasFingerprint(row)) refusal = refusalNumber.id_reused_with_different_body
      } else if (transactions.count + count > limits.transactionsMax) {
        refusal = refusalNumber.memory_limit_reached
        restsOn = this.#bench.outputs.lastSeq()
      } else {
        this.#bench.decision.start()
        decideTransaction(
          this.#bench.book,
          this.#bench.draft,
          words,
          item,
          timeMs,
          this.#bench.decision,
        )
        restsOn = Math.max(restsOn, this.#bench.decision.restsOn)
        refusal = this.#bench.decision.refusal
      }
      if (refusal !== 0) return { refusal, index, restsOn }
      item += commandBytes(words, item) / 4
    }
    return undefined
  }
}

/** The word after a batch's last item. */
function skip(words: Uint32Array, firstItem: number, count: number): number {
  let item = firstItem
  for (let index = 0; index < count; index++) item += paddedLength(words[item + Word.length]) / 4
  return item
}
