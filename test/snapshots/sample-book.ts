import type { Test } from 'tap'
import { type BookRows, readBookRows, streamsOf } from '../../src/journal/book-rows.js'
import { migrate } from '../../src/journal/migrate.js'
import { withClient } from '../actors/book-database.js'
import { Engine } from '../actors/engine.js'
import type { EngineOptions } from '../actors/engine-process.js'
import { below, randomOf } from '../actors/random.js'
import type { TemporaryPostgres } from '../postgres.js'

/** The book at a moment at which nothing was under way. */
export interface Mark {
  rows: BookRows
  timeMs: number
  digest: bigint
}

export interface SampleOptions {
  /** Of each generation in turn. */
  shards: number[]
  seed?: number
  /** In each generation, with a mark after each. */
  rounds?: number
  /** What the engine on that database gets besides. */
  engine?: (connectionString: string) => Partial<EngineOptions>
  onMark?: () => Promise<void>
}

/**
 * A book that has lived: several generations, transactions across streams, holds, reversals,
 * atomic batches, striped accounts, records of several chunks; and what it was on the way.
 */
export class SampleBook {
  readonly connectionString: string
  readonly engine: Engine
  readonly marks: Mark[] = []
  readonly accounts: string[] = []
  readonly #random: () => number
  #names = 0

  static async make(
    t: Pick<Test, 'teardown'>,
    postgres: TemporaryPostgres,
    { shards, seed = 1, rounds = 4, engine: options, onMark }: SampleOptions,
  ): Promise<SampleBook> {
    const connectionString = await postgres.createDatabase()
    await withClient(connectionString, migrate)
    const engine = await Engine.start({
      connectionString,
      shards: shards[0],
      ...options?.(connectionString),
    })
    t.teardown(() => engine.close())
    const book = new SampleBook(connectionString, engine, seed)
    await book.#open()
    for (const [index, count] of shards.entries()) {
      if (index > 0) await engine.pump(engine.restart(count), 1)
      for (let round = 0; round < rounds; round++) {
        await book.live()
        await book.mark()
        await onMark?.()
      }
    }
    return book
  }

  private constructor(connectionString: string, engine: Engine, seed: number) {
    this.connectionString = connectionString
    this.engine = engine
    this.#random = randomOf(seed)
  }

  async rows(): Promise<BookRows> {
    return await withClient(this.connectionString, (client) => readBookRows(client))
  }

  /** A round of transactions, some at the same time, while the clock goes on. */
  async live(): Promise<void> {
    for (let group = 0; group < 6; group++) {
      await this.#whileTimeGoesOn(Promise.all(Array.from({ length: 12 }, () => this.#act())))
    }
  }

  async mark(): Promise<void> {
    await this.engine.quiet()
    this.marks.push({
      rows: await this.rows(),
      timeMs: this.engine.clock.now(),
      digest: this.engine.digest,
    })
    this.engine.clock.advance(10)
  }

  /** So that what one thing leads to is later than the thing itself. */
  async #whileTimeGoesOn(work: Promise<unknown>): Promise<void> {
    let isDone = false
    const finished = work.finally(() => {
      isDone = true
    })
    while (!isDone) {
      this.engine.clock.advance(1)
      await new Promise((resolve) => {
        setTimeout(resolve, 1)
      })
    }
    await finished
  }

  async #open(): Promise<void> {
    const account = { currency: 'EUR', scale: 2, class: 'liability' } as const
    for (let number = 0; number < 12; number++) {
      const id = `customer:${number}`
      this.accounts.push(id)
      await this.engine.createAccount({ id, ...account, overdraftLimit: 'unlimited' })
    }
    await this.engine.createAccount({ id: 'till', ...account, class: 'asset', striped: true })
  }

  async #act(): Promise<void> {
    const { engine } = this
    const choice = below(this.#random, 12)
    const id = this.#name()
    if (choice === 0) {
      await engine.batch([this.#transfer(), this.#transfer(), this.#transfer()], true)
    } else if (choice === 1) {
      await engine.post({ ...this.#transfer(), metadata: { note: 'x'.repeat(9000) } })
    } else if (choice === 2) {
      await engine.changeAccount({ id: this.#account(), metadata: { note: id } })
    } else if (choice < 5) {
      await engine.post({ ...this.#transfer(), id, pending: true })
      const kind = choice === 3 ? 'void' : 'post'
      if (below(this.#random, 3) > 0) await engine.followUp({ kind, target: id, id: 'end' })
    } else if (choice === 5) {
      await engine.post({ ...this.#transfer(), id })
      await engine.followUp({ kind: 'reverse', target: id, id: 'back' })
    } else if (choice === 6) {
      const posting = { debit: 'till', credit: this.#account(), amount: '3' }
      await engine.post({ id, postings: [posting, ...this.#transfer().postings] })
    } else {
      // Without a name it is a plain posting, of fixed width.
      await engine.post({ ...this.#transfer(), id: this.#uuid() })
    }
  }

  #transfer() {
    const debit = this.#account()
    const others = this.accounts.filter((account) => account !== debit)
    const credit = others[below(this.#random, others.length)]
    const amount = `${1 + below(this.#random, 99)}.50`
    return { id: this.#name(), postings: [{ debit, credit, amount }] }
  }

  #uuid(): string {
    this.#names += 1
    const slot = below(this.#random, 1024)
    const low = (this.#names * 1024 + slot).toString(16).padStart(12, '0')
    return `018d0000-0000-7000-8000-${low}`
  }

  #account(): string {
    return this.accounts[below(this.#random, this.accounts.length)]
  }

  #name(): string {
    this.#names += 1
    return `t:${this.#names}`
  }
}

/** The position at which the newest generation of `rows` stands. */
export function positionOf(rows: BookRows): Map<number, number> {
  return new Map(streamsOf(rows, rows.generation).map(({ id, head }) => [id, head]))
}
