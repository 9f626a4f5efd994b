import { Word } from '../journal/record.js'
import { keyFromWords } from '../key.js'
import { AccountExecutor } from './account-executor.js'
import { BatchExecutor } from './batch-executor.js'
import { CommandKind, commandBytes } from './command.js'
import { Coordinator } from './coordination/coordinator.js'
import type { Hold } from './holds.js'
import { TransactionExecutor } from './transaction-executor.js'
import type { Workbench } from './workbench.js'

/**
 * Carries out commands one at a time: look up the id, decide, and for what is accepted write the
 * record and apply it; then write the answer into the frame that may leave when all that it rests
 * on is durable. What concerns other shards too goes on when they have answered.
 */
export class Executor {
  readonly coordinator: Coordinator
  readonly #bench: Workbench
  readonly #transactions: TransactionExecutor
  readonly #accounts: AccountExecutor
  readonly #batches: BatchExecutor

  constructor(bench: Workbench, coordinatedItemsMax: number) {
    this.#bench = bench
    this.coordinator = new Coordinator(bench, coordinatedItemsMax)
    this.#transactions = new TransactionExecutor(bench, this.coordinator)
    this.#accounts = new AccountExecutor(bench, this.coordinator)
    this.#batches = new BatchExecutor(bench, this.#transactions)
  }

  /** Carries out the command at word `at` at `timeMs`; returns the word after it. */
  execute(words: Uint32Array, at: number, timeMs: number): number {
    const next = at + commandBytes(words, at) / 4
    const kind = (words[at] & 0xff) as CommandKind
    switch (kind) {
      case CommandKind.posting:
      case CommandKind.transaction:
        this.#transactions.post(words, at, timeMs)
        return next
      case CommandKind.postHold:
      case CommandKind.voidHold:
      case CommandKind.reverse:
        this.#transactions.followUp(kind, words, at, timeMs)
        return next
      case CommandKind.createAccount:
        this.#accounts.create(words, at, timeMs)
        return next
      case CommandKind.changeAccount:
        this.#accounts.change(words, at)
        return next
      case CommandKind.readAccount:
        this.#accounts.read(words, at)
        return next
      case CommandKind.readTransaction:
        this.#transactions.read(words, at)
        return next
      case CommandKind.readPosition:
        this.#transactions.readPosition(words, at)
        return next
      case CommandKind.batch:
        return this.#batches.execute(words, at, next, timeMs)
      default:
        throw new RangeError(`a command has the unknown kind ${kind satisfies never}`)
    }
  }

  /** Whether the command at word `at` carries an id that has been accepted, or may yet be. */
  knows(words: Uint32Array, at: number): boolean {
    const { book, underWay, accountsUnderWay, recalls } = this.#bench
    const tenant = words[at + Word.tenant]
    const id = keyFromWords(words, at + Word.id)
    switch (words[at] & 0xff) {
      case CommandKind.posting:
      case CommandKind.transaction:
      case CommandKind.postHold:
      case CommandKind.voidHold:
      case CommandKind.reverse:
        return (
          book.transactions.find(tenant, id) >= 0 ||
          underWay.has(tenant, words, at + Word.id) ||
          !recalls.isSettled(tenant, words, at + Word.id)
        )
      case CommandKind.createAccount:
        return (
          book.accounts.find(tenant, id) >= 0 || accountsUnderWay.has(tenant, words, at + Word.id)
        )
      default:
        return false
    }
  }

  /** Ends a hold whose time has come. */
  expire(hold: Hold, timeMs: number): void {
    this.#transactions.expire(hold, timeMs)
  }
}
