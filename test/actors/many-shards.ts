import type { Test } from 'tap'
import { migrate } from '../../src/journal/migrate.js'
import { keyOf, slotOf } from '../../src/key.js'
import type { TemporaryPostgres } from '../postgres.js'
import { withClient } from './book-database.js'
import { Engine } from './engine.js'
import type { EngineAnswer } from './engine-client.js'
import type { EngineOptions } from './engine-process.js'
import type { NewTransaction } from './model.js'

/** A book of some shards, with two accounts that may be overdrawn on each of them. */
export class ManyShards {
  readonly engine: Engine
  readonly connectionString: string
  readonly accounts: string[][] = []
  #names = 0

  static async start(
    t: Test,
    postgres: TemporaryPostgres,
    options: Partial<EngineOptions> & { shards: number; transactionsMax?: number },
  ): Promise<ManyShards> {
    const connectionString = await postgres.createDatabase()
    const { shards, transactionsMax = 1000, ...more } = options
    await withClient(connectionString, migrate)
    const engine = await Engine.start({
      ...{ connectionString, shards, ...more },
      shard: { ...more.shard, limits: { accountsMax: 100, transactionsMax } },
    })
    t.teardown(() => engine.close())
    const book = new ManyShards(engine, connectionString)
    for (let shard = 0; shard < shards; shard++) {
      book.accounts.push([book.nameOn(shard), book.nameOn(shard)])
    }
    for (const id of book.accounts.flat()) {
      await engine.createAccount({
        ...{ id, currency: 'EUR', scale: 2, class: 'liability' },
        overdraftLimit: 'unlimited',
      })
    }
    return book
  }

  private constructor(engine: Engine, connectionString: string) {
    this.engine = engine
    this.connectionString = connectionString
  }

  /** A new name whose key the shard owns. */
  nameOn(shard: number): string {
    for (;;) {
      this.#names += 1
      const name = `n:${this.#names}`
      const key = keyOf(1, name)
      if (key !== undefined && this.engine.router.shardOf(slotOf(key)) === shard) return name
    }
  }

  /** A transaction whose id and accounts are on the shards that are given. */
  transfer(on: { id: number; debit: number; credit: number }, amount = '1'): NewTransaction {
    const [debit, credit] = [this.accounts[on.debit][0], this.accounts[on.credit][1]]
    return { id: this.nameOn(on.id), postings: [{ debit, credit, amount }] }
  }
}

/** What came of each item of a batch, or of the batch as a whole. */
export function outcomesOf(answer: EngineAnswer): string[] {
  return answer.outcome === 'batch' ? answer.items.map(({ outcome }) => outcome) : [answer.outcome]
}
