import { Word } from '../journal/record.js'
import { keyFromWords } from '../key.js'
import { AccountExecutor } from './account-executor.js'
import { BatchExecutor } from './batch-executor.js'
import type { Book } from './book.js'
import { CommandKind, commandBytes } from './command.js'
import type { Hold } from './holds.js'
import { TransactionExecutor } from './transaction-executor.js'
import { type ExecutorOutputs, Workbench } from './workbench.js'

/**
 * Carries out commands one at a time: look up the id, decide, and for what is accepted write the
 * record and apply it; then write the answer into the frame that may leave when all that it rests
 * on is durable.
 */
export class Executor {
  readonly #book: Book
  readonly #transactions: TransactionExecutor
  readonly #accounts: AccountExecutor
  readonly #batches: BatchExecutor

  constructor(book: Book, stream: number, outputs: ExecutorOutputs) {
    const bench = new Workbench(book, stream, outputs)
    this.#book = book
    this.#transactions = new TransactionExecutor(bench)
    this.#accounts = new AccountExecutor(bench)
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
        this.#accounts.change(words, at, timeMs)
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

  /** Whether the command at word `at` carries the id of something that has been accepted. */
  knows(words: Uint32Array, at: number): boolean {
    const tenant = words[at + Word.tenant]
    const id = keyFromWords(words, at + Word.id)
    switch (words[at] & 0xff) {
      case CommandKind.posting:
      case CommandKind.transaction:
      case CommandKind.postHold:
      case CommandKind.voidHold:
      case CommandKind.reverse:
        return this.#book.transactions.find(tenant, id) >= 0
      case CommandKind.createAccount:
        return this.#book.accounts.find(tenant, id) >= 0
      default:
        return false
    }
  }

  /** Journals the expiry of a hold whose time has come. */
  expire(hold: Hold, timeMs: number): void {
    this.#transactions.expire(hold, timeMs)
  }
}
