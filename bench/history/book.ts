import { execFile } from 'node:child_process'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { Client } from 'pg'
import { formatKey } from '../../src/key.js'
import { type Books, Journal, type Tally } from '../gate.js'
import { accountKey, type GeneratedJournal } from '../generated-journal.js'
import { type Server, startServer } from '../server.js'
import type { AccountSet } from '../spread.js'
import { newJournal } from '../temporary-cluster.js'
import type { HistoryBench } from './options.js'

const mainProgram = fileURLToPath(new URL('../../src/main.js', import.meta.url))
const daybookProgram = fileURLToPath(new URL('../../src/cli/daybook.js', import.meta.url))
const pollMs = 20
const catchUpMsMax = 600_000

/** How far the read models are, all streams added up. */
export interface Followed {
  records: number
  recordsTotal: number
  indexed: boolean
}

/** A book in a database of its own, with accounts in EUR between which anything may be posted. */
export class BenchBook {
  readonly connectionString: string
  readonly client: Client
  readonly accounts: number
  readonly #bench: HistoryBench
  readonly #books: Books
  /** Transfers that were written or acknowledged, and minor units that they moved. */
  readonly #expected = { transfers: 0, amount: 0n }
  readonly #journaled = { transfers: 0, amount: 0n, debited: 0n, credited: 0n }

  private constructor(
    bench: HistoryBench,
    of: { connectionString: string; client: Client; accounts: number; books: Books },
  ) {
    this.#bench = bench
    this.connectionString = of.connectionString
    this.client = of.client
    this.accounts = of.accounts
    this.#books = of.books
  }

  /** Makes the book, gives it to `work`, and drops it whatever comes of that. */
  static async use<T>(
    bench: HistoryBench,
    generate: (journal: GeneratedJournal) => Promise<void>,
    work: (book: BenchBook) => Promise<T>,
  ): Promise<T> {
    const { cluster, options } = bench
    const { accounts } = options.sizes
    const connectionString = await cluster.createDatabase('history')
    const { journal, end } = await newJournal(connectionString)
    await journal.addAccounts(accounts)
    await generate(journal)
    const transfers = journal.head - accounts
    await end()
    const client = new Client({ connectionString })
    await client.connect()
    const books = await Journal.open(connectionString)
    const book = new BenchBook(bench, { connectionString, client, accounts, books })
    // A posting of a generated journal moves 0.01.
    book.acknowledge({ transfers, amount: BigInt(transfers) })
    try {
      await cluster.checkpoint()
      return await work(book)
    } finally {
      await client.end()
      await books.close()
      await cluster.dropDatabase(connectionString)
    }
  }

  /** Starts a server and gives it to `work`; it is stopped at the end. */
  async serve<T>(
    settings: Record<string, string>,
    work: (server: Server) => Promise<T>,
  ): Promise<T> {
    const server = await startServer(mainProgram, this.#environment(settings))
    try {
      return await work(server)
    } finally {
      await server.stop()
    }
  }

  /** Runs `daybook rebuild`; resolves with what it says that it took. */
  async rebuild(): Promise<{ records: number; seconds: number }> {
    const { stdout } = await promisify(execFile)(
      process.execPath,
      [daybookProgram, 'rebuild', '--json'],
      {
        env: { ...process.env, ...this.#environment({}) },
        signal: this.#bench.stopping,
      },
    )
    return JSON.parse(stdout)
  }

  async followed(): Promise<Followed> {
    const { rows: found } = await this.client.query<{ there: boolean }>(
      `select to_regclass('daybook_history.progress') is not null as there`,
    )
    if (!found[0].there) return { records: 0, recordsTotal: Number.NaN, indexed: false }
    const { rows } = await this.client.query<{ followed: string; head: string; indexed: boolean }>(
      `select coalesce(sum(p.seq), 0) as followed, sum(s.head) as head,
         (select indexed from daybook_history.about) as indexed
       from daybook.stream s left join daybook_history.progress p on p.stream = s.id`,
    )
    const [{ followed, head, indexed }] = rows
    return { records: Number(followed), recordsTotal: Number(head), indexed }
  }

  /** Waits until the read models hold the whole journal and can be read. */
  async untilFollowed(): Promise<void> {
    await this.until('the read models hold the whole journal', async () => {
      const { records, recordsTotal, indexed } = await this.followed()
      return indexed && records === recordsTotal
    })
  }

  async until(what: string, condition: () => Promise<boolean>): Promise<void> {
    const deadline = Date.now() + catchUpMsMax
    while (!(await condition())) {
      this.#bench.stopping.throwIfAborted()
      if (Date.now() > deadline) throw new Error(`still not true: ${what}`)
      await sleep(pollMs)
    }
  }

  /** Transfers that the journal and the read models have to hold from now on. */
  acknowledge({ transfers, amount }: { transfers: number; amount: bigint }): void {
    this.#expected.transfers += transfers
    this.#expected.amount += amount
  }

  /** Notes as faults what the journal does not hold, or holds too often. */
  async checkJournal(part: string): Promise<void> {
    const { transfers, amount } = this.#expected
    const tally = await this.#tally()
    this.#compare(`${part}: transfers in the journal`, tally.transfers, transfers)
    this.#compare(`${part}: minor units in the journal`, tally.amount, amount)
    this.#compare(`${part}: minor units debited in the journal`, tally.debited, amount)
    this.#compare(`${part}: minor units credited in the journal`, tally.credited, amount)
  }

  /** Waits for the read models, and notes as faults what is not there, or there too often. */
  async check(part: string): Promise<void> {
    await this.untilFollowed()
    await this.checkJournal(part)
    const { rows } = await this.client.query<{ n: string; entries: string; debited: string }>(
      `select (select count(*) from daybook_history.transaction) as n, count(*) as entries,
         coalesce(sum(amount) filter (where amount > 0), 0) as debited
       from daybook_history.entry`,
    )
    const [{ n, entries, debited }] = rows
    const { transfers, amount } = this.#expected
    this.#compare(`${part}: transactions in the read models`, Number(n), transfers)
    this.#compare(`${part}: entries in the read models`, Number(entries), 2 * transfers)
    this.#compare(`${part}: minor units debited in the read models`, BigInt(debited), amount)
  }

  #compare(what: string, found: number | bigint, expected: number | bigint): void {
    if (found === expected) return
    const fault = `${what}: ${found}, and ${expected} were acknowledged`
    this.#bench.faults.push(fault)
    this.#bench.print(`  WRONG ${fault}`)
  }

  /** All that the journal holds: each call of the gate tells what came since the one before. */
  async #tally(): Promise<Omit<Tally, 'records'>> {
    const news = await this.#books.advance()
    const tally = this.#journaled
    tally.transfers += news.transfers
    tally.amount += news.amount
    tally.debited += news.debited
    tally.credited += news.credited
    return tally
  }

  #environment(settings: Record<string, string>): Record<string, string> {
    return {
      DATABASE_URL: this.connectionString,
      DAYBOOK_PORT: '0',
      // Not used with a DATABASE_URL, but never the one that a developer keeps in ./data.
      DAYBOOK_DATA_DIR: this.#bench.dataDirectory,
      DAYBOOK_LOG_LEVEL: 'warn',
      // What building one costs is bench:snapshot-cost.
      DAYBOOK_SNAPSHOTS: 'off',
      DAYBOOK_HISTORY: 'on',
      ...settings,
    }
  }
}

/** The accounts of a book as the generators of load take them; none of them is hot. */
export function accountSet(accounts: number): AccountSet {
  const ids = Array.from({ length: accounts }, (_, number) => formatKey(accountKey(number)))
  return { ids, striped: false }
}
