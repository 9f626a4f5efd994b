import { RecordKind, readBody, Word } from '../journal/record.js'
import { keyFromWords } from '../key.js'
import {
  type AccountChange,
  type AccountCreation,
  decideChange,
  decideCreation,
  isAlreadySo,
} from './account-decision.js'
import { fingerprintOf } from './fingerprint.js'
import { refusalNumber } from './refusals.js'
import type { Workbench } from './workbench.js'

/** Carries out what is asked of accounts: create, change, read. */
export class AccountExecutor {
  readonly #bench: Workbench

  constructor(bench: Workbench) {
    this.#bench = bench
  }

  create(words: Uint32Array, at: number, timeMs: number): void {
    const request = words[at + Word.time]
    const { accounts } = this.#bench.book
    fingerprintOf(words, at, this.#bench.fingerprint)
    const row = accounts.find(words[at + Word.tenant], keyFromWords(words, at + Word.id))
    if (row >= 0) {
      const touchedSeq = accounts.touchedSeq.get(row)
      const same =
        accounts.fingerprintLow.get(row) === this.#bench.fingerprint.low &&
        accounts.fingerprintHigh.get(row) === this.#bench.fingerprint.high
      if (same) {
        this.#bench.replies.account(
          this.#bench.outputs.answersResting(touchedSeq),
          request,
          row,
          true,
        )
      } else {
        this.#bench.refuseNumber(request, refusalNumber.id_reused_with_different_body, touchedSeq)
      }
      return
    }
    const decision = this.#bench.decision
    decision.start()
    const body = decideCreation(this.#bench.book, readBody<AccountCreation>(words, at), decision)
    if (body === undefined) {
      this.#bench.refuse(request, decision)
      return
    }
    const { seq } = this.#bench.records.withBody(words, at, timeMs, {
      kind: RecordKind.accountCreated,
      flags: 0,
      body,
      fingerprint: this.#bench.fingerprint,
    })
    this.#bench.replies.account(
      this.#bench.outputs.answersResting(seq),
      request,
      accounts.count - 1,
      false,
    )
  }

  change(words: Uint32Array, at: number, timeMs: number): void {
    const request = words[at + Word.time]
    const row = this.#bench.book.accounts.find(
      words[at + Word.tenant],
      keyFromWords(words, at + Word.id),
    )
    if (row < 0) {
      this.#bench.refuseNumber(request, refusalNumber.account_not_found, 0)
      return
    }
    const decision = this.#bench.decision
    decision.start()
    const change = readBody<AccountChange>(words, at)
    if (isAlreadySo(this.#bench.book, row, change)) {
      const touchedSeq = this.#bench.book.accounts.touchedSeq.get(row)
      this.#bench.replies.account(
        this.#bench.outputs.answersResting(touchedSeq),
        request,
        row,
        false,
      )
      return
    }
    const body = decideChange(this.#bench.book, row, change, decision)
    if (body === undefined) {
      this.#bench.refuse(request, decision)
      return
    }
    fingerprintOf(words, at, this.#bench.fingerprint)
    const { seq } = this.#bench.records.withBody(words, at, timeMs, {
      kind: RecordKind.accountChanged,
      flags: 0,
      body,
      fingerprint: this.#bench.fingerprint,
    })
    this.#bench.replies.account(this.#bench.outputs.answersResting(seq), request, row, false)
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
    const frame = this.#bench.outputs.answersResting(accounts.touchedSeq.get(row))
    this.#bench.replies.account(frame, request, row, false)
  }
}
