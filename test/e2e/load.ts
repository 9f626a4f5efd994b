import { setTimeout as sleep } from 'node:timers/promises'
import {
  ClientLog,
  type Entry,
  type HttpAnswer,
  HttpClient,
  isAcknowledged,
  type Movement,
  type Request,
  toAmount,
} from './client-log.js'
import { creationOf, fundless, type LoadAccount, makeAccounts, penniless } from './load-accounts.js'
import { batch, followUp, hold, single } from './requests.js'
import { until } from './server.js'

export interface LoadOptions {
  connections?: number
  /** Items of a batch at most. */
  batchItemsMax?: number
  /** Share of batches among the requests. */
  batchShare?: number
  /** Share of reads among all that is sent. */
  readShare?: number
  /** Goes on when a connection is lost, as a client does that waits for Postgres or a restart. */
  goOnWhenLost?: boolean
}

const pauseMs = 40
/** A repeat is of one of the newest requests, where a crash hurts most. */
const repeatsFromNewest = 200
/** What is read is among the newest too, so that much of it is not answered yet, or never will be. */
const readsFromNewest = 12

/**
 * A client on several connections that posts transactions, holds and batches between a few
 * accounts, most of which have limits, reads them, and logs all of it. Neighbours among the accounts
 * are in different shards. An id is used again only to repeat the same request on purpose.
 */
export class Load {
  readonly log = new ClientLog()
  readonly accounts: LoadAccount[] = makeAccounts()
  /** Half of the requests are repeats, and what is new is small: else a long time fills memory. */
  isSparing = false
  readonly #options: Required<LoadOptions>
  /** Acknowledged holds that nothing has followed yet. */
  readonly #holds: Entry[] = []
  #underWay = 0
  #stopping = false
  #work: Promise<unknown> = Promise.resolve()

  constructor(options: LoadOptions = {}) {
    this.#options = {
      connections: 6,
      batchItemsMax: 30,
      batchShare: 0.12,
      readShare: 0.4,
      goOnWhenLost: false,
      ...options,
    }
  }

  /** Opens the accounts and gives the customers something to spend. */
  async open(url: string): Promise<void> {
    const client = new HttpClient(url, 1)
    for (const account of this.accounts) {
      const answer = await client.post('/v1/accounts', creationOf(account))
      if (answer.kind === 'lost' || answer.status !== 201) {
        throw new Error(`no account was opened: ${JSON.stringify(answer)}`)
      }
    }
    for (const account of this.customers) {
      const request = this.log.add(single([this.#firstMoney(account)]))
      this.log.record(request, await client.post(request.path, request.body))
      if (!request.entries.every(isAcknowledged)) throw new Error('an account got no money')
    }
    client.close()
  }

  /** Accounts with a limit and with money of their own. */
  get customers(): LoadAccount[] {
    return this.accounts.slice(fundless, -penniless)
  }

  /** Requests that wait for their answer. */
  get underWay(): number {
    return this.#underWay
  }

  /** Starts posting on every connection. */
  start(url: string): void {
    this.#stopping = false
    this.log.reads.mayBeOld = false
    const { connections } = this.#options
    this.#work = Promise.all(Array.from({ length: connections }, () => this.#workOn(url)))
  }

  /** Waits until `count` more entries than now have been acknowledged. */
  async acknowledged(count: number): Promise<void> {
    const goal = this.log.counts.acknowledged + count
    await until(`${count} more acknowledged`, () => this.log.counts.acknowledged >= goal)
  }

  /** Lets every connection finish the request that is under way. */
  async stop(): Promise<void> {
    this.#stopping = true
    await this.#work
  }

  /** Waits until every connection waits for an answer, and none comes. */
  async stuck(): Promise<void> {
    let last = -1
    let quietPolls = 0
    await until('every connection waits', () => {
      const { acknowledged } = this.log.counts
      const isQuiet = this.#underWay === this.#options.connections && acknowledged === last
      quietPolls = isQuiet ? quietPolls + 1 : 0
      last = acknowledged
      return quietPolls === 10
    })
  }

  /** Waits until every connection has been lost. */
  async lost(): Promise<void> {
    await this.#work
  }

  async #workOn(url: string): Promise<void> {
    const client = new HttpClient(url, 1)
    while (!this.#stopping) {
      this.#underWay += 1
      const answer = await (Math.random() < this.#options.readShare
        ? this.#read(client)
        : this.#write(client))
      this.#underWay -= 1
      if (answer.kind === 'lost' && !this.#options.goOnWhenLost) break
      if (answer.kind === 'lost' || answer.status >= 429) await sleep(pauseMs)
    }
    client.close()
  }

  async #write(client: HttpClient): Promise<HttpAnswer> {
    const request = this.#next()
    const answer = await client.post(request.path, request.body)
    this.log.record(request, answer)
    if (answer.kind === 'answer' && answer.status < 429) this.#keepHolds(request)
    return answer
  }

  async #read(client: HttpClient): Promise<HttpAnswer> {
    const { reads, requests } = this.log
    const { entries } = requests[Math.max(0, requests.length - 1 - below(readsFromNewest))]
    const question =
      Math.random() < 0.5
        ? reads.ask('account', this.accounts[below(this.accounts.length)].id)
        : reads.ask('transaction', entries[below(entries.length)].key)
    const answer = await client.get(question.path)
    reads.record(question, answer)
    return answer
  }

  /** What makes its balance 500.00, whichever its normal side is. */
  #firstMoney(account: LoadAccount): Movement {
    const [cash, capital] = this.accounts
    const amount = 50_000n
    return account.class === 'asset'
      ? { debit: account.id, credit: capital.id, amount }
      : { debit: cash.id, credit: account.id, amount }
  }

  #keepHolds(request: Request): void {
    for (const entry of request.entries) {
      // A repeat must not offer its hold a second time.
      const isNew = entry.kind === 'hold' && isAcknowledged(entry) && entry.answers.length === 1
      if (isNew) this.#holds.push(entry)
    }
  }

  #next(): Request {
    const { requests } = this.log
    if (this.isSparing) {
      return Math.random() < 0.5 ? requests[below(requests.length)] : this.log.add(this.#single())
    }
    const dice = Math.random()
    if (dice < 0.08) return requests[Math.max(0, requests.length - 1 - below(repeatsFromNewest))]
    if (dice < 0.2 && this.#holds.length > 0) return this.log.add(this.#followUp())
    if (Math.random() < this.#options.batchShare) return this.log.add(this.#batch())
    return this.log.add(this.#single())
  }

  #single(): Request {
    const dice = Math.random()
    if (dice < 0.7) return single([this.#movement()])
    if (dice < 0.8) return hold(this.#movement())
    if (dice < 0.85) return hold(this.#movements(2 + below(3)))
    if (dice < 0.98) return single(this.#movements(2 + below(4)))
    // Together beyond 7.8 KB: a record in several parts.
    return single(this.#movements(64, 20), { metadata: { note: 'x'.repeat(4000) } })
  }

  #batch(): Request {
    const dice = Math.random()
    const order = dice < 0.4 ? 'atomic' : dice < 0.6 ? 'ordered' : 'none'
    if (order !== 'none' && Math.random() < 0.4) return this.#chain(order)
    const count = 2 + below(this.#options.batchItemsMax)
    const items = Array.from({ length: count }, () => this.#single())
    return batch(items, order)
  }

  /**
   * Money that goes from hand to hand, through accounts that have none of their own: refused for
   * want of it if one item does not see what the item before it did.
   */
  #chain(order: 'atomic' | 'ordered'): Request {
    const [cash, capital] = this.accounts
    const amount = BigInt(1 + below(100))
    const hands = [cash, ...this.accounts.slice(-penniless), capital]
    const items = hands
      .slice(1)
      .map(({ id }, index) => single([{ debit: hands[index].id, credit: id, amount }]))
    return { ...batch(items, order), isFunded: true }
  }

  /** The post, whole or in part, or the void of a hold; sometimes it comes second and is refused. */
  #followUp(): Request {
    const index = below(this.#holds.length)
    const target = this.#holds[index]
    if (Math.random() < 0.8) this.#holds.splice(index, 1)
    const { movements } = target
    const dice = Math.random()
    if (dice < 0.3) return followUp('void', target, [], {})
    if (dice < 0.6) return followUp('post', target, movements, {})
    const halves = movements.map((movement) => ({ ...movement, amount: movement.amount / 2n + 1n }))
    const amounts = halves.map(({ amount }) => toAmount(amount))
    return followUp('post', target, halves, { amounts })
  }

  #movements(count: number, amountMax?: number): Movement[] {
    return Array.from({ length: count }, () => this.#movement(amountMax))
  }

  #movement(amountMax = 9000): Movement {
    const count = this.accounts.length - penniless
    const debit = below(count)
    const credit = (debit + 1 + below(count - 1)) % count
    return {
      debit: this.accounts[debit].id,
      credit: this.accounts[credit].id,
      amount: BigInt(1 + below(amountMax)),
    }
  }
}

function below(limit: number): number {
  return Math.floor(Math.random() * limit)
}
