import { RecordFlag, RecordKind, readBody, Word } from '../journal/record.js'
import { keyFromWords } from '../key.js'
import {
  type AccountChange,
  type AccountCreation,
  countersOf,
  decideChange,
  decideCreation,
  isAlreadySo,
} from './account-decision.js'
import { commandAlone } from './command.js'
import { AccountCoordination } from './coordination/account-coordination.js'
import type { Coordinator } from './coordination/coordinator.js'
import { fingerprintOf } from './fingerprint.js'
import { refusalNumber } from './refusals.js'
import type { Workbench } from './workbench.js'

/**
 * Carries out what is asked of accounts: create, change, read. A striped account is created and
 * changed by the shard that owns its key, on all shards at once.
 */
export class AccountExecutor {
  readonly #bench: Workbench
  readonly #coordinator: Coordinator

  constructor(bench: Workbench, coordinator: Coordinator) {
    this.#bench = bench
    this.#coordinator = coordinator
  }

  create(words: Uint32Array, at: number, timeMs: number): void {
    const bench = this.#bench
    const request = words[at + Word.time]
    const { accounts } = bench.book
    const tenant = words[at + Word.tenant]
    if (bench.accountsUnderWay.has(tenant, words, at + Word.id)) {
      const alone = commandAlone(words, at)
      bench.accountsUnderWay.wait(tenant, words, at + Word.id, () =>
        this.create(alone, 0, bench.outputs.nowMs()),
      )
      return
    }
    fingerprintOf(words, at, bench.fingerprint)
    const row = accounts.find(tenant, keyFromWords(words, at + Word.id))
    if (row >= 0) {
      this.#answerKnown(request, row)
      return
    }
    const { decision } = bench
    decision.start()
    const body = decideCreation(bench.book, readBody<AccountCreation>(words, at), decision)
    if (body === undefined) {
      bench.refuse(request, decision)
      return
    }
    const across = body.striped === true && bench.book.place.shards > 1
    const written = bench.records.withBody(words, at, timeMs, {
      kind: RecordKind.accountCreated,
      flags: across ? RecordFlag.across : 0,
      body,
      fingerprint: bench.fingerprint,
    })
    const created = accounts.count - 1
    if (across) {
      const command = { words: commandAlone(words, at), at: 0, row: created }
      new AccountCoordination(bench, this.#coordinator, command, () =>
        this.#answer(request, created),
      ).tell(written)
    } else {
      this.#answer(request, created)
    }
  }

  /** A repeat of the creation is answered with the account; anything else may not use its key. */
  #answerKnown(request: number, row: number): void {
    const { book, fingerprint, replies, outputs } = this.#bench
    const { accounts } = book
    const touchedSeq = accounts.touchedSeq.get(row)
    const same =
      accounts.fingerprintLow.get(row) === fingerprint.low &&
      accounts.fingerprintHigh.get(row) === fingerprint.high
    if (same) replies.account(outputs.answersResting(touchedSeq), request, row, true)
    else this.#bench.refuseNumber(request, refusalNumber.id_reused_with_different_body, touchedSeq)
  }

  change(words: Uint32Array, at: number): void {
    const bench = this.#bench
    const request = words[at + Word.time]
    const { book } = bench
    const tenant = words[at + Word.tenant]
    if (bench.accountsUnderWay.has(tenant, words, at + Word.id)) {
      const alone = commandAlone(words, at)
      bench.accountsUnderWay.wait(tenant, words, at + Word.id, () => this.change(alone, 0))
      return
    }
    const row = book.accounts.find(tenant, keyFromWords(words, at + Word.id))
    if (row < 0) {
      bench.refuseNumber(request, refusalNumber.account_not_found, 0)
      return
    }
    if (isAlreadySo(book, row, readBody<AccountChange>(words, at))) {
      this.#answer(request, row)
      return
    }
    // What has been promised to undecided transactions comes first.
    const alone = commandAlone(words, at)
    book.reservations.whenFree(row, () => this.#changeFree(alone, 0, row))
  }

  #changeFree(words: Uint32Array, at: number, row: number): void {
    const bench = this.#bench
    const request = words[at + Word.time]
    const { book, decision, accountsUnderWay } = bench
    const tenant = words[at + Word.tenant]
    if (accountsUnderWay.has(tenant, words, at + Word.id)) {
      accountsUnderWay.wait(tenant, words, at + Word.id, () => this.change(words, at))
      return
    }
    if (isAlreadySo(book, row, readBody<AccountChange>(words, at))) {
      // Somebody else's change, or a repeat of this one, came first.
      this.#answer(request, row)
      return
    }
    if (book.accounts.isStriped(row) && book.place.shards > 1) {
      new AccountCoordination(bench, this.#coordinator, { words, at, row }, (refusal) => {
        if (refusal === undefined) this.#answer(request, row)
        else bench.refuseNumber(request, refusal.refusal, refusal.restsOn)
      }).change()
      return
    }
    decision.start()
    const change = readBody<AccountChange>(words, at)
    const own = { counters: countersOf(book, row), holds: book.accounts.holds.get(row) }
    const body = decideChange(book, row, change, own, decision)
    if (body === undefined) {
      bench.refuse(request, decision)
      return
    }
    fingerprintOf(words, at, bench.fingerprint)
    bench.records.withBody(words, at, bench.outputs.nowMs(), {
      kind: RecordKind.accountChanged,
      flags: 0,
      body,
      fingerprint: bench.fingerprint,
    })
    this.#answer(request, row)
  }

  read(words: Uint32Array, at: number): void {
    const request = words[at + Word.time]
    const { accounts } = this.#bench.book
    const row = accounts.find(words[at + Word.tenant], keyFromWords(words, at + Word.id))
    if (!this.#bench.hasReached(words, at, request)) return
    if (row < 0) {
      this.#bench.refuseNumber(request, refusalNumber.account_not_found, 0)
      return
    }
    this.#answer(request, row)
  }

  /** Answers with the account as it is now, once that is durable. */
  #answer(request: number, row: number): void {
    const { book, outputs, replies } = this.#bench
    const frame = outputs.answersResting(book.accounts.touchedSeq.get(row))
    replies.account(frame, request, row, false)
  }
}
