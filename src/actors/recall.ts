import { type Key, keyFromWords } from '../key.js'
import type { Book } from './book.js'
import type { Positions } from './let-go.js'
import type { ShardGauges } from './shard-parts.js'
import type { TransactionState } from './transactions.js'
import type { UnderWay } from './under-way.js'

/** A transaction as the read models have it. */
export interface RecalledTransaction {
  state: TransactionState
  fingerprint: { low: number; high: number }
  /** Of the record that made it. */
  stream: number
  seq: number
}

export interface AskedTransaction {
  tenant: number
  key: Key
}

/**
 * Finds transactions in the read models, each or undefined in the order asked. Rejects unless these
 * hold everything up to `coverage`, and the closed streams whole: only then is one that is not
 * there none that was let go.
 */
export type FindTransactions = (
  asked: readonly AskedTransaction[],
  coverage: Positions,
) => Promise<(RecalledTransaction | undefined)[]>

/** Who waits for some ids: `go` hears whether all of them could be looked for. */
interface Waiting {
  left: number
  commands: number
  isKnown: boolean
  go: (isKnown: boolean) => void
}

interface Asked extends AskedTransaction {
  waiting: Waiting[]
}

/** What came of looking for transactions, for metrics. */
type RecallCounts = Pick<ShardGauges, 'oldIdsFound' | 'oldIdsUnused' | 'oldIdsFailed'>

/** Ids that one query asks for. */
const askedMax = 1000

/**
 * Brings back transactions that were let go, when a command names one that may be: an id of its own
 * that was used long ago, or the target of a reversal. The command waits; then the transaction is
 * in memory, or the id is known to be new, and the command is carried out as any other.
 *
 *     settled ◀── (in memory, or not in the filter) ── id ──perhaps let go──▶ waiting ─▶ asked ─▶ settled
 */
export class Recalls {
  /** Commands that wait, and items of batches that do. */
  waitingCommands = 0
  readonly counts: RecallCounts = { oldIdsFound: 0, oldIdsUnused: 0, oldIdsFailed: 0 }
  readonly #book: Book
  readonly #underWay: Pick<UnderWay, 'has'>
  readonly #find: FindTransactions
  readonly #onDone: () => void
  /** By tenant and key, in the order in which they were asked for. */
  readonly #asked = new Map<string, Asked>()
  #isAsking = false

  /** Calls `onDone` after commands that had waited have been carried out. */
  constructor(
    book: Book,
    underWay: Pick<UnderWay, 'has'>,
    find: FindTransactions,
    onDone: () => void,
  ) {
    this.#book = book
    this.#underWay = underWay
    this.#find = find
    this.#onDone = onDone
  }

  get isIdle(): boolean {
    return this.#asked.size === 0
  }

  /** Whether memory alone says what there is to say of the id at word `at`. */
  isSettled(tenant: number, words: Uint32Array, at: number): boolean {
    const { letGo, transactions } = this.#book
    if (letGo.isEmpty) return true
    const row = transactions.keys.find(
      tenant,
      words[at],
      words[at + 1],
      words[at + 2],
      words[at + 3],
    )
    if (row >= 0) return !transactions.isHollow(row)
    // What is being decided on and not in memory is new: what is under way is not let go.
    return !letGo.mayHave(tenant, words, at) || this.#underWay.has(tenant, words, at)
  }

  /**
   * Looks for the ids that are not settled. If there are any, `go` is called once all have been
   * looked for, for so many commands, and true is returned.
   */
  holdsUp(
    tenant: number,
    ids: readonly { words: Uint32Array; at: number }[],
    go: (isKnown: boolean) => void,
    commands = 1,
  ): boolean {
    if (this.#book.letGo.isEmpty) return false
    const open = ids.filter(({ words, at }) => !this.isSettled(tenant, words, at))
    if (open.length === 0) return false
    const waiting = { left: open.length, commands, isKnown: true, go }
    this.waitingCommands += commands
    for (const { words, at } of open) {
      const key = keyFromWords(words, at)
      const name = nameOf(tenant, key)
      const asked = this.#asked.get(name)
      if (asked === undefined) this.#asked.set(name, { tenant, key, waiting: [waiting] })
      else asked.waiting.push(waiting)
    }
    if (!this.#isAsking) {
      this.#isAsking = true
      // What else is carried out in this turn is asked for together with it.
      queueMicrotask(() => void this.#ask())
    }
    return true
  }

  async #ask(): Promise<void> {
    while (this.#asked.size > 0) {
      const batch = [...this.#asked.values()].slice(0, askedMax)
      const { transactions, letGo } = this.#book
      const rows = batch.map(({ tenant, key }) => transactions.find(tenant, key))
      const found = await this.#find(batch, new Map(letGo.coverage)).catch(() => undefined)
      const done: Waiting[] = []
      for (const [index, asked] of batch.entries()) {
        const { tenant, key, waiting } = asked
        this.#asked.delete(nameOf(tenant, key))
        // One that was let go again meanwhile may be there as it was before it changed.
        const isSame = rows[index] < 0 || transactions.find(tenant, key) >= 0
        const isKnown = isSame && found !== undefined && this.#take(asked, found[index])
        if (!isKnown) this.counts.oldIdsFailed += 1
        for (const one of waiting) {
          one.isKnown &&= isKnown
          one.left -= 1
          if (one.left === 0) done.push(one)
        }
      }
      for (const { commands, isKnown, go } of done) {
        this.waitingCommands -= commands
        go(isKnown)
      }
      this.#onDone()
    }
    this.#isAsking = false
  }

  /** Puts into memory what was found; false if there is no room for it. */
  #take({ tenant, key }: AskedTransaction, found: RecalledTransaction | undefined): boolean {
    const { transactions, letGo } = this.#book
    const row = transactions.find(tenant, key)
    if (found === undefined) {
      if (row >= 0) throw new Error('the read models lack a transaction that was let go')
      letGo.noteUnused(tenant, Uint32Array.of(key.w0, key.w1, key.w2, key.w3), 0)
      this.counts.oldIdsUnused += 1
      return true
    }
    const { state, fingerprint, stream, seq } = found
    this.counts.oldIdsFound += 1
    if (row >= 0) {
      // What happened to it since it was let go, memory knows better.
      transactions.fillIn(row, fingerprint, { stream, seq })
      return true
    }
    if (!this.#book.hasRoomFor(1)) return false
    transactions.add(tenant, key, state, fingerprint, { stream, seq }, 0)
    return true
  }
}

function nameOf(tenant: number, { w0, w1, w2, w3 }: Key): string {
  return `${tenant} ${w0} ${w1} ${w2} ${w3}`
}
