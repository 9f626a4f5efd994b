import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { formatKey, keyOf, keyOfFollowUp } from '../../src/key.js'
import {
  ClientLog,
  type Entry,
  HttpClient,
  isAcknowledged,
  type Movement,
  type Request,
  toAmount,
} from './client-log.js'
import { until } from './server.js'

/** An account of the load; limits in minor units, null for unlimited. */
export interface LoadAccount {
  id: string
  class: 'asset' | 'liability' | 'equity'
  overdraftLimit: bigint | null
  minimumBalance: bigint
}

export interface LoadOptions {
  connections?: number
  /** Items of a batch at most. */
  batchItemsMax?: number
  /** Share of batches among the requests. */
  batchShare?: number
  /** Goes on when a connection is lost, as a client does that waits for Postgres or a restart. */
  goOnWhenLost?: boolean
}

const tenant = 1
const pauseMs = 40
/** A repeat is of one of the newest requests, where a crash hurts most. */
const repeatsFromNewest = 200

/**
 * A client on several connections that posts transactions, holds and batches between a few
 * accounts, most of which have limits, and logs all of it. An id is used again only to repeat the
 * same request on purpose.
 */
export class Load {
  readonly log = new ClientLog()
  readonly accounts: LoadAccount[] = makeAccounts()
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
      goOnWhenLost: false,
      ...options,
    }
  }

  /** Opens the accounts and gives the customers something to spend. */
  async open(url: string): Promise<void> {
    const client = new HttpClient(url, 1)
    for (const account of this.accounts) {
      const { id, overdraftLimit, minimumBalance } = account
      const answer = await client.post('/v1/accounts', {
        id,
        currency: 'EUR',
        class: account.class,
        overdraftLimit: overdraftLimit === null ? 'unlimited' : toAmount(overdraftLimit),
        minimumBalance: toAmount(minimumBalance),
      })
      if (answer.kind === 'lost' || answer.status !== 201) {
        throw new Error(`no account was opened: ${JSON.stringify(answer)}`)
      }
    }
    for (const account of this.accounts.slice(fundless)) {
      const request = this.log.add(single([this.#firstMoney(account)]))
      this.log.record(request, await client.post(request.path, request.body))
      if (!request.entries.every(isAcknowledged)) throw new Error('an account got no money')
    }
    client.close()
  }

  /** Requests that wait for their answer. */
  get underWay(): number {
    return this.#underWay
  }

  /** Starts posting on every connection. */
  start(url: string): void {
    this.#stopping = false
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

  /** Waits until every connection has been lost. */
  async lost(): Promise<void> {
    await this.#work
  }

  async #workOn(url: string): Promise<void> {
    const client = new HttpClient(url, 1)
    while (!this.#stopping) {
      const request = this.#next()
      this.#underWay += 1
      const answer = await client.post(request.path, request.body)
      this.#underWay -= 1
      this.log.record(request, answer)
      if (answer.kind === 'lost' && !this.#options.goOnWhenLost) break
      if (answer.kind === 'lost' || answer.status >= 429) await sleep(pauseMs)
      else this.#keepHolds(request)
    }
    client.close()
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
    const dice = Math.random()
    if (dice < 0.08) return requests[Math.max(0, requests.length - 1 - below(repeatsFromNewest))]
    if (dice < 0.2 && this.#holds.length > 0) return this.log.add(this.#followUp())
    if (Math.random() < this.#options.batchShare) return this.log.add(this.#batch())
    return this.log.add(this.#single())
  }

  #single(): Request {
    const dice = Math.random()
    if (dice < 0.7) return single([this.#movement()])
    if (dice < 0.85) return hold(this.#movement())
    if (dice < 0.98) return single(this.#movements(2 + below(4)))
    // Together beyond 7.8 KB: a record in several parts.
    return single(this.#movements(64, 20), { metadata: { note: 'x'.repeat(4000) } })
  }

  #batch(): Request {
    const items = Array.from({ length: 2 + below(this.#options.batchItemsMax) }, () =>
      this.#single(),
    )
    const isAtomic = Math.random() < 0.4
    return {
      path: '/v1/transactions/batch',
      body: { transactions: items.map(({ body }) => body), ...(isAtomic ? { atomic: true } : {}) },
      entries: items.flatMap(({ entries }) => entries),
      isBatch: true,
      isAtomic,
    }
  }

  /** The post, whole or in part, or the void of a hold; sometimes it comes second and is refused. */
  #followUp(): Request {
    const index = below(this.#holds.length)
    const target = this.#holds[index]
    if (Math.random() < 0.8) this.#holds.splice(index, 1)
    const [movement] = target.movements
    const dice = Math.random()
    if (dice < 0.3) return followUp('void', target, [], {})
    if (dice < 0.6) return followUp('post', target, [movement], {})
    const amount = movement.amount / 2n + 1n
    return followUp('post', target, [{ ...movement, amount }], { amount: toAmount(amount) })
  }

  #movements(count: number, amountMax?: number): Movement[] {
    return Array.from({ length: count }, () => this.#movement(amountMax))
  }

  #movement(amountMax = 9000): Movement {
    const debit = below(this.accounts.length)
    const credit = (debit + 1 + below(this.accounts.length - 1)) % this.accounts.length
    return {
      debit: this.accounts[debit].id,
      credit: this.accounts[credit].id,
      amount: BigInt(1 + below(amountMax)),
    }
  }
}

/** The first accounts have no limit, and so need no money. */
const fundless = 2

function makeAccounts(): LoadAccount[] {
  const account = (
    accountClass: LoadAccount['class'],
    overdraftLimit: bigint | null,
    minimumBalance = 0n,
  ) => ({ id: randomUUID(), class: accountClass, overdraftLimit, minimumBalance })
  return [
    account('asset', null),
    account('equity', null),
    account('liability', 0n),
    account('liability', 0n),
    account('liability', 0n, 1_000n),
    account('liability', 25_000n),
    account('liability', 25_000n, 500n),
    account('equity', 10_000n),
    account('asset', 15_000n),
  ]
}

/** A request for one transaction under a new id. */
export function single(movements: Movement[], attributes: object = {}): Request {
  const id = randomUUID()
  const postings = movements.map((movement) => ({ ...movement, amount: toAmount(movement.amount) }))
  const body = { id, ...(postings.length === 1 ? postings[0] : { postings }), ...attributes }
  const entry: Entry = { key: id, kind: 'transaction', movements, answers: [] }
  return { path: '/v1/transactions', body, entries: [entry], isBatch: false, isAtomic: false }
}

/** A request for a hold under a new id. */
export function hold(movement: Movement, attributes: object = {}): Request {
  const request = single([movement], { pending: true, ...attributes })
  request.entries[0].kind = 'hold'
  return request
}

/** The post or void of a hold under a new id; `movements` are what is posted. */
function followUp(
  kind: 'post' | 'void',
  target: Entry,
  movements: Movement[],
  attributes: object,
): Request {
  const id = randomUUID()
  const entry: Entry = {
    key: formatKey(keyOfFollowUp(tenant, key(target.key), key(id))),
    kind,
    target: target.key,
    movements,
    answers: [],
  }
  const path = `/v1/transactions/${target.key}/${kind}`
  return { path, body: { id, ...attributes }, entries: [entry], isBatch: false, isAtomic: false }
}

function key(uuid: string) {
  return keyOf(tenant, uuid) as NonNullable<ReturnType<typeof keyOf>>
}

function below(limit: number): number {
  return Math.floor(Math.random() * limit)
}
