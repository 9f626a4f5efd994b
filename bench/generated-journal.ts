import { Batch } from '../src/journal/batch.js'
import type { DatabaseConnection } from '../src/journal/database.js'
import { digestChain, emptyDigest } from '../src/journal/digest.js'
import { fenceText } from '../src/journal/postgres-session.js'
import {
  type AccountCreatedBody,
  currencyWords,
  headWord,
  packr,
  plainPostingBytes,
  RecordKind,
  recordHeaderBytes,
  scaleShift,
  Word,
  writeBigint,
  writeInteger,
} from '../src/journal/record.js'
import { type Key, writeKeyWords } from '../src/key.js'

const batchRecords = 50_000
/** Of the first record; each later one is a millisecond after it. Milliseconds since 1970. */
export const firstTimeMs = Date.UTC(2026, 0, 1)
const tenant = 1
const body: AccountCreatedBody = {
  currency: 'EUR',
  scale: 2,
  class: 'liability',
  overdraftLimit: 1_000_000_000n,
  minimumBalance: 0n,
}

/** A journal of one stream, written by COPY as fast as Postgres takes it. */
export class GeneratedJournal {
  readonly #connection: DatabaseConnection
  readonly #batch = new Batch(1)
  readonly #chain = digestChain()
  #state = { head: 0, digest: emptyDigest as Buffer }
  #accounts = 0
  #transactions = 0

  /** The database has been migrated and its book is empty. */
  constructor(connection: DatabaseConnection) {
    this.#connection = connection
  }

  get head(): number {
    return this.#state.head
  }

  /** Accounts of customers, each one record. */
  async addAccounts(count: number): Promise<void> {
    const packed = packr.pack(body)
    await this.#add(count, (seq) => {
      const key = accountKey(this.#accounts)
      this.#accounts += 1
      const at = this.#header(
        RecordKind.accountCreated,
        recordHeaderBytes + packed.length,
        seq,
        key,
      )
      this.#batch.bytes.set(packed, at * 4 + recordHeaderBytes)
    })
  }

  /** Plain postings of 0.01 between two accounts that are there; `pickDebit` says which is debited. */
  async addPostings(
    count: number,
    pickDebit = () => Math.floor(Math.random() * this.#accounts),
  ): Promise<void> {
    const [word0, word1] = currencyWords('EUR')
    await this.#add(count, (seq) => {
      const key = keyAt(this.#transactions, 2)
      this.#transactions += 1
      const at = this.#header(RecordKind.posting, plainPostingBytes, seq, key)
      const { words } = this.#batch
      words[at] |= (2 << scaleShift) << 16
      const debit = pickDebit()
      const credit = (debit + 1 + Math.floor(Math.random() * (this.#accounts - 1))) % this.#accounts
      writeKeyWords(words, at + Word.debit, accountKey(debit))
      writeKeyWords(words, at + Word.credit, accountKey(credit))
      writeBigint(words, at + Word.amount, 1n)
      words[at + Word.currency] = word0
      words[at + Word.currency + 1] = word1
      words[at + Word.effectiveDate] = firstTimeMs / 86_400_000
    })
  }

  #header(kind: RecordKind, length: number, seq: number, id: Key): number {
    const at = this.#batch.add(length)
    const { words } = this.#batch
    words.fill(0, at, at + length / 4)
    words[at] = headWord(kind, 0)
    words[at + Word.length] = length
    writeInteger(words, at + Word.time, firstTimeMs + seq)
    words[at + Word.tenant] = tenant
    writeKeyWords(words, at + Word.id, id)
    return at
  }

  async #add(count: number, write: (seq: number) => void): Promise<void> {
    await this.#connection.query('set synchronous_commit = off')
    // A server that was started meanwhile has raised it.
    const { rows } = await this.#connection.query<{ epoch: number }>(
      'select epoch from daybook.stream where id = 1',
    )
    const { epoch } = rows[0]
    const end = this.#state.head + count
    while (this.#state.head < end) {
      const { head, digest } = this.#state
      const newHead = Math.min(end, head + batchRecords)
      await this.#connection.query('select daybook.ensure_partition($1)', [newHead])
      this.#batch.restart(head + 1)
      for (let seq = head + 1; seq <= newHead; seq++) write(seq)
      const { copy, digest: newDigest } = this.#batch.seal(epoch, digest, this.#chain)
      const text = fenceText({ stream: 1, epoch, head, digest, newHead, newDigest, copy })
      const tags = await this.#connection.copyIn(text, copy)
      if (tags.at(-1) !== 'COMMIT') throw new Error(`a commit answered ${tags}`)
      this.#state = { head: newHead, digest: newDigest }
    }
  }
}

/** The key of the account of that number. */
export function accountKey(number: number): Key {
  return keyAt(number, 1)
}

/** A v4 key for a number; numbers of another `kind` have other keys. Accounts are 1, postings 2. */
export function keyAt(number: number, kind: number): Key {
  const mixed = Math.imul(number + 1, 0x9e3779b1) >>> 0
  return { w0: mixed, w1: 0x00400000 | kind, w2: number, w3: Math.imul(mixed, 0x85ebca6b) >>> 0 }
}
