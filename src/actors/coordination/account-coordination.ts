import {
  paddedLength,
  RecordFlag,
  RecordKind,
  readBigint,
  readBody,
  Word,
} from '../../journal/record.js'
import { keyFromWords } from '../../key.js'
import { type AccountChange, countersOf, decideChange } from '../account-decision.js'
import { fingerprintOf } from '../fingerprint.js'
import type { WrittenRecord } from '../record-writer.js'
import type { Workbench } from '../workbench.js'
import type { Coordination, CoordinationSteps } from './coordination.js'
import type { Coordinator } from './coordinator.js'
import { VoteWord, writeShut } from './peer-message.js'

/** The command, and the row of its account on this shard, which owns the account's key. */
interface AccountCommand {
  words: Uint32Array
  at: number
  row: number
}

/**
 * The creation or change of a striped account on all shards. A creation needs nobody's consent. A
 * change first shuts all parts, so that no posting gets in between; the votes bring what each part
 * holds, so that an account is closed only when the sum is zero.
 */
export class AccountCoordination implements CoordinationSteps {
  readonly wantsBalances = false
  readonly weight = 1
  readonly #bench: Workbench
  readonly #coordinator: Coordinator
  readonly #command: AccountCommand
  readonly #done: (refusal?: { refusal: number; restsOn: number }) => void

  /** `done` is called once all shards have applied it, or with the refusal. */
  constructor(
    bench: Workbench,
    coordinator: Coordinator,
    command: AccountCommand,
    done: (refusal?: { refusal: number; restsOn: number }) => void,
  ) {
    this.#bench = bench
    this.#coordinator = coordinator
    this.#command = command
    this.#done = done
  }

  /** Tells all shards of the record that has just been written. */
  tell(written: WrittenRecord): void {
    this.#occupy()
    const coordination = this.#coordinator.begin(this)
    this.#tell(coordination, written)
  }

  /** Asks all shards to shut their parts; the own one is free. */
  change(): void {
    this.#occupy()
    const { words, at, row } = this.#command
    const { book, outputs } = this.#bench
    const coordination = this.#coordinator.begin(this)
    book.reservations.close(row)
    let asked = 0
    for (let shard = 0; shard < book.place.shards; shard++) {
      if (shard === book.place.shard) continue
      writeShut(this.#coordinator.frameTo(shard), {
        coordination: coordination.number,
        from: book.place.shard,
        tenant: words[at + Word.tenant],
        key: keyFromWords(words, at + Word.id),
      })
      coordination.party(shard)
      asked += 1
    }
    this.#coordinator.await(coordination, asked, outputs.nowMs())
  }

  decide(coordination: Coordination, timeMs: number): void {
    const { words, at, row } = this.#command
    const { book, decision, fingerprint, records } = this.#bench
    const total = { counters: countersOf(book, row), holds: book.accounts.holds.get(row) }
    for (const { words: vote } of coordination.parties) {
      const entry = VoteWord.list
      total.counters.debitsPosted += readBigint(vote, entry + 4)
      total.counters.creditsPosted += readBigint(vote, entry + 6)
      total.counters.debitsPending += readBigint(vote, entry + 8)
      total.counters.creditsPending += readBigint(vote, entry + 10)
      total.holds += vote[VoteWord.rank] | 0
    }
    decision.start()
    const change = readBody<AccountChange>(words, at)
    const body = decideChange(book, row, change, total, decision)
    if (body === undefined) {
      const { refusal } = decision
      const restsOn = this.#bench.restsOn(decision)
      book.reservations.open(row)
      this.#coordinator.abandon(coordination, () => {
        this.#done({ refusal, restsOn })
        this.#leave()
      })
      return
    }
    fingerprintOf(words, at, fingerprint)
    const written = records.withBody(words, at, timeMs, {
      kind: RecordKind.accountChanged,
      flags: RecordFlag.across,
      body: { ...body, striped: true },
      fingerprint,
    })
    this.#tell(coordination, written)
    book.reservations.open(row)
  }

  finish(): void {
    this.#done()
    this.#leave()
  }

  #tell(coordination: Coordination, { words, at, seq }: WrittenRecord): void {
    const record = words.slice(at, at + paddedLength(words[at + Word.length]) / 4)
    this.#coordinator.tell(coordination, record, seq)
    this.#coordinator.commit(coordination)
  }

  #occupy(): void {
    const { words, at } = this.#command
    this.#bench.accountsUnderWay.begin(words[at + Word.tenant], words, at + Word.id)
  }

  #leave(): void {
    const { words, at } = this.#command
    this.#bench.accountsUnderWay.end(words[at + Word.tenant], words, at + Word.id)
  }
}
