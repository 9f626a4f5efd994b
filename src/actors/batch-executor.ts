import { paddedLength, Word } from '../journal/record.js'
import { keyFromWords } from '../key.js'
import { BookError } from './book-error.js'
import { batchAtomicFlag, batchCountWord, batchOrderedFlag, commandAlone } from './command.js'
import { type CoordinatedItem, coordinatedItem } from './coordination/planned-item.js'
import { fingerprintOf } from './fingerprint.js'
import { refusalNumber } from './refusals.js'
import { decideTransaction, noIndex } from './transaction-decision.js'
import type { TransactionExecutor } from './transaction-executor.js'
import type { Workbench } from './workbench.js'

/** Outcome of one item of a batch, as the answer carries it. */
const BatchOutcome = { accepted: 0, replayed: 1, refused: 2 } as const

/** A batch some of whose items may still be under way. */
interface OpenBatch {
  request: number
  /** Outcomes so far, 16 bytes per item (reply.ts). */
  items: Uint32Array
  pending: number
  restsOn: number
}

/** What came of one item. */
interface ItemResult {
  outcome: number
  refusal: number
  stream: number
  seq: number
  restsOn: number
}

/** Carries out batches: each item by itself, or all or none. */
export class BatchExecutor {
  readonly #bench: Workbench
  readonly #transactions: TransactionExecutor

  constructor(bench: Workbench, transactions: TransactionExecutor) {
    this.#bench = bench
    this.#transactions = transactions
  }

  execute(words: Uint32Array, at: number, firstItem: number, timeMs: number): number {
    const count = words[at + batchCountWord]
    const batch: OpenBatch = {
      request: words[at + Word.time],
      items: new Uint32Array(count * 4),
      pending: count,
      restsOn: 0,
    }
    const items = itemWords(words, firstItem, count)
    const flags = words[at] >>> 16
    if ((flags & batchAtomicFlag) !== 0) this.#atomic(batch, words, items, timeMs)
    else if ((flags & batchOrderedFlag) !== 0) this.#ordered(batch, words, items, 0, timeMs)
    else {
      for (let index = 0; index < count; index++) {
        this.#item(batch, words, items[index], index, timeMs)
      }
    }
    return items[count]
  }

  /**
   * Carries out the items from `from` on; one whose id is under way holds up those behind it. Ids
   * that may have been let go are asked for together, unless `mayAsk` says that it was in vain.
   */
  #ordered(
    batch: OpenBatch,
    words: Uint32Array,
    items: readonly number[],
    from: number,
    timeMs: number,
    mayAsk = true,
  ): void {
    const { underWay, recalls, outputs } = this.#bench
    const count = items.length - 1
    for (let index = from; index < count; index++) {
      const at = items[index]
      const tenant = words[at + Word.tenant]
      if (underWay.has(tenant, words, at + Word.id)) {
        const again = () => this.#ordered(batch, words, items, index, outputs.nowMs())
        underWay.wait(tenant, words, at + Word.id, again, count - index)
        return
      }
      if (!recalls.isSettled(tenant, words, at + Word.id)) {
        if (mayAsk) {
          this.#recallFrom(batch, words, items, index)
          return
        }
        this.#done(batch, index, notChecked)
        continue
      }
      this.#item(batch, words, at, index, timeMs)
    }
  }

  /** Asks for the ids of an ordered batch from an item on that is not settled, and goes on there. */
  #recallFrom(batch: OpenBatch, words: Uint32Array, items: readonly number[], from: number): void {
    const { recalls, outputs } = this.#bench
    const tenant = words[items[from] + Word.tenant]
    const ids = items.slice(from, -1).map((at) => ({ words, at: at + Word.id }))
    const go = (isKnown: boolean) => {
      const mayAsk = isKnown && recalls.isSettled(tenant, words, ids[0].at)
      this.#ordered(batch, words, items, from, outputs.nowMs(), mayAsk)
    }
    recalls.holdsUp(tenant, ids, go, ids.length)
  }

  /** Carries out one item by itself, now or when others have decided what it depends on. */
  #item(batch: OpenBatch, words: Uint32Array, at: number, index: number, timeMs: number): void {
    const { underWay, decision, outputs } = this.#bench
    const tenant = words[at + Word.tenant]
    if (underWay.has(tenant, words, at + Word.id)) {
      const alone = commandAlone(words, at)
      underWay.wait(tenant, words, at + Word.id, () =>
        this.#item(batch, alone, 0, index, outputs.nowMs()),
      )
      return
    }
    if (!this.#bench.recalls.isSettled(tenant, words, at + Word.id)) {
      this.#recall(batch, commandAlone(words, at), index)
      return
    }
    const known = this.#knownResult(words, at)
    if (known !== undefined) {
      this.#done(batch, index, known)
      return
    }
    this.#decide(words, at, timeMs, true)
    if (decision.refusal !== 0) {
      this.#done(batch, index, refusedResult(decision.refusal, this.#bench.restsOn(decision)))
    } else if (decision.crosses) {
      this.#transactions.coordinate([coordinatedItem(commandAlone(words, at), 0)], timeMs, {
        wantsBalances: false,
        refused: ({ refusal, restsOn }) =>
          this.#done(batch, index, refusedResult(refusal, restsOn)),
        accepted: ([item]) => this.#done(batch, index, acceptedResult(item)),
      })
    } else {
      this.#done(batch, index, this.#write(words, at, timeMs))
    }
  }

  /** An item whose id may have been let go waits until that is known. */
  #recall(batch: OpenBatch, alone: Uint32Array, index: number): void {
    const { recalls, outputs } = this.#bench
    recalls.holdsUp(alone[Word.tenant], [{ words: alone, at: Word.id }], (isKnown) => {
      if (isKnown) this.#item(batch, alone, 0, index, outputs.nowMs())
      else this.#done(batch, index, notChecked)
    })
  }

  #write(words: Uint32Array, at: number, timeMs: number): ItemResult {
    const { seq } = this.#transactions.write(words, at, timeMs)
    const { stream } = this.#bench
    return { outcome: BatchOutcome.accepted, refusal: 0, stream, seq, restsOn: seq }
  }

  #decide(words: Uint32Array, at: number, timeMs: number, alone: boolean): void {
    const { book, draft, decision } = this.#bench
    if (alone) draft.reset()
    decision.start()
    decideTransaction(book, draft, words, at, timeMs, decision)
  }

  /** The result of an item whose id has taken effect already; leaves its fingerprint at hand. */
  #knownResult(words: Uint32Array, at: number): ItemResult | undefined {
    const { transactions } = this.#bench.book
    fingerprintOf(words, at, this.#bench.fingerprint)
    const row = transactions.find(words[at + Word.tenant], keyFromWords(words, at + Word.id))
    if (row < 0) return undefined
    const restsOn = transactions.touchedSeq.get(row)
    if (!this.#bench.hasFingerprint(row)) {
      return refusedResult(refusalNumber.id_reused_with_different_body, restsOn)
    }
    return {
      outcome: BatchOutcome.replayed,
      refusal: 0,
      stream: transactions.stream.get(row),
      seq: transactions.seq.get(row),
      restsOn,
    }
  }

  /** Carries out all items or none. */
  #atomic(batch: OpenBatch, words: Uint32Array, items: readonly number[], timeMs: number): void {
    if (this.#joins(batch, words, items) || this.#recalls(batch, words, items)) return
    const verdict = this.#judge(words, items, timeMs)
    if (verdict.kind === 'refused') {
      this.#refuse(batch, verdict)
    } else if (verdict.kind === 'across') {
      this.#coordinate(batch, words, items, timeMs)
    } else {
      for (let index = 0; index < items.length - 1; index++) {
        const at = items[index]
        let result = this.#knownResult(words, at)
        if (result === undefined) {
          this.#decide(words, at, timeMs, true)
          if (this.#bench.decision.refusal !== 0) {
            throw new BookError('an item of an accepted atomic batch was refused')
          }
          result = this.#write(words, at, timeMs)
        }
        this.#done(batch, index, result)
      }
    }
  }

  /** An atomic batch waits while one of its ids is being decided together with other shards. */
  #joins(batch: OpenBatch, words: Uint32Array, items: readonly number[]): boolean {
    const { underWay, outputs } = this.#bench
    if (underWay.isEmpty) return false
    for (let index = 0; index < items.length - 1; index++) {
      const id = items[index] + Word.id
      const tenant = words[items[index] + Word.tenant]
      if (!underWay.has(tenant, words, id)) continue
      const again = () => this.#atomic(batch, words, items, outputs.nowMs())
      underWay.wait(tenant, words, id, again, items.length - 1)
      return true
    }
    return false
  }

  /** An atomic batch waits while one of its ids may have been let go. */
  #recalls(batch: OpenBatch, words: Uint32Array, items: readonly number[]): boolean {
    const { recalls, outputs, book } = this.#bench
    if (book.letGo.isEmpty) return false
    const own = items.slice(0, -1).map((at) => ({ words, at: at + Word.id }))
    const tenant = words[items[0] + Word.tenant]
    const go = (isKnown: boolean) => {
      if (isKnown) this.#atomic(batch, words, items, outputs.nowMs())
      else {
        const index = own.findIndex(({ at }) => !recalls.isSettled(tenant, words, at))
        this.#refuse(batch, { refusal: notChecked.refusal, index: Math.max(0, index), restsOn: 0 })
      }
    }
    return recalls.holdsUp(tenant, own, go, own.length)
  }

  #coordinate(
    batch: OpenBatch,
    words: Uint32Array,
    items: readonly number[],
    timeMs: number,
  ): void {
    const coordinated: CoordinatedItem[] = []
    let restsOn = 0
    for (let index = 0; index < items.length - 1; index++) {
      const item = coordinatedItem(words, items[index])
      const known = this.#knownResult(words, items[index])
      if (known !== undefined) {
        restsOn = Math.max(restsOn, known.restsOn)
        if (known.refusal === 0) {
          Object.assign(item, { known: true, stream: known.stream, seq: known.seq })
        } else {
          item.isReused = true
        }
      }
      coordinated.push(item)
    }
    this.#transactions.coordinate(coordinated, timeMs, {
      wantsBalances: false,
      refused: ({ refusal, item, restsOn: refusalRestsOn }) =>
        this.#refuse(batch, {
          refusal,
          index: item,
          restsOn: Math.max(refusalRestsOn, restsOn),
        }),
      accepted: (done) => {
        for (const [index, item] of done.entries()) {
          const result = acceptedResult(item)
          this.#done(batch, index, { ...result, restsOn: Math.max(result.restsOn, restsOn) })
        }
      },
    })
  }

  /** Whether an atomic batch is accepted, as far as this shard can say, with all in one draft. */
  #judge(
    words: Uint32Array,
    items: readonly number[],
    timeMs: number,
  ):
    | { kind: 'accepted' | 'across' }
    | { kind: 'refused'; refusal: number; index: number; restsOn: number } {
    const { book, decision, draft, outputs } = this.#bench
    const count = items.length - 1
    draft.reset()
    let restsOn = 0
    let newIds = 0
    for (let index = 0; index < count; index++) {
      const at = items[index]
      const known = this.#knownResult(words, at)
      let refusal = 0
      if (known !== undefined) {
        restsOn = Math.max(restsOn, known.restsOn)
        refusal = known.refusal
      } else if (!book.ownsWords(words, at + Word.id)) {
        return { kind: 'across' }
      } else if (!book.hasRoomFor(newIds + 1)) {
        refusal = book.fullRefusal
        restsOn = outputs.lastSeq()
      } else {
        newIds += 1
        this.#decide(words, at, timeMs, false)
        if (decision.crosses) return { kind: 'across' }
        restsOn = Math.max(restsOn, decision.restsOn)
        refusal = decision.refusal
      }
      if (refusal !== 0) return { kind: 'refused', refusal, index, restsOn }
    }
    return { kind: 'accepted' }
  }

  /** An atomic batch is refused for the item at `index`. */
  #refuse(batch: OpenBatch, refused: { refusal: number; index: number; restsOn: number }): void {
    const { outputs, replies } = this.#bench
    outputs.onRefused(refused.refusal)
    const frame = outputs.answersResting(refused.restsOn)
    replies.batch(frame, batch.request, {
      count: 0,
      refusal: refused.refusal,
      index: refused.index,
      seq: 0,
    })
  }

  /** Notes the result of an item; the batch is answered with the last one. */
  #done(batch: OpenBatch, index: number, result: ItemResult): void {
    const { outputs, replies } = this.#bench
    if (result.refusal !== 0) outputs.onRefused(result.refusal)
    const at = index * 4
    batch.items[at] = result.outcome | (result.refusal << 16)
    batch.items[at + 1] = result.stream
    batch.items[at + 2] = result.seq >>> 0
    batch.items[at + 3] = Math.floor(result.seq / 2 ** 32)
    if (result.restsOn > batch.restsOn) batch.restsOn = result.restsOn
    batch.pending -= 1
    if (batch.pending > 0) return
    const frame = outputs.answersResting(batch.restsOn)
    const word = replies.batch(frame, batch.request, {
      count: batch.items.length / 4,
      refusal: 0,
      index: noIndex,
      seq: batch.restsOn,
    })
    frame.words.set(batch.items, word)
  }
}

/** Of an item whose id may have been let go, while nobody can say so. */
const notChecked: ItemResult = refusedResult(refusalNumber.old_id_not_checked, 0)

function refusedResult(refusal: number, restsOn: number): ItemResult {
  return { outcome: BatchOutcome.refused, refusal, stream: 0, seq: 0, restsOn }
}

/** Of an item that has been applied everywhere: it rests on nothing that is not durable. */
function acceptedResult({ known, stream, seq }: CoordinatedItem): ItemResult {
  const outcome = known ? BatchOutcome.replayed : BatchOutcome.accepted
  return { outcome, refusal: 0, stream, seq, restsOn: 0 }
}

/** Words at which the items of a batch start, and the word after the last one. */
function itemWords(words: Uint32Array, firstItem: number, count: number): number[] {
  const items = [firstItem]
  for (let index = 0; index < count; index++) {
    items.push(items[index] + paddedLength(words[items[index] + Word.length]) / 4)
  }
  return items
}
