import { setTimeout as sleep } from 'node:timers/promises'
import type { NewAccount, NewTransaction } from './postings.js'

/** The part of an account's answer that is compared; amounts are decimal text. */
export interface AccountAnswer {
  readonly id: string
  readonly class: string
  readonly balances: {
    readonly debitsPosted: string
    readonly creditsPosted: string
    readonly balance: string
  }
}

interface ItemResult {
  readonly id: string
  readonly outcome: 'accepted' | 'replayed' | 'refused'
  readonly error?: { readonly code: string; readonly message: string; readonly transient: boolean }
}

/** An answer that repeating will not change, or one that did not come in all the attempts. */
class DaybookRequestError extends Error {
  override readonly name = 'DaybookRequestError'
}

const ATTEMPTS_MAX = 12
const RETRY_DELAY_MS_MIN = 250
const RETRY_DELAY_MS_MAX = 5_000
/** However long a server asks us to wait. */
const RETRY_AFTER_MS_MAX = 30_000
const REQUEST_MS_MAX = 60_000

/**
 * Daybook over HTTP, with the retries that its ids make safe: a request that was answered 429,
 * 503 or 504, or not at all, is sent again with the very same body. What took effect the first
 * time is then answered as a replay. Aborting the signal ends waits and keeps new requests from
 * starting; one under way is left to finish.
 */
export class DaybookClient {
  readonly #url: string
  readonly #signal: AbortSignal
  /** Requests that were sent again. */
  retries = 0

  constructor(url: string, signal: AbortSignal) {
    this.#url = url.replace(/\/+$/, '')
    this.#signal = signal
  }

  /** Creates the account, or finds it there already as it should be (`replayed`). */
  async createAccount(account: NewAccount): Promise<'created' | 'replayed'> {
    const answer = await this.#request('POST', '/v1/accounts', account)
    return answer.status === 200 ? 'replayed' : 'created'
  }

  async readAccount(id: string): Promise<AccountAnswer> {
    const answer = await this.#request('GET', `/v1/accounts/${encodeURIComponent(id)}`)
    return answer.data as AccountAnswer
  }

  /**
   * Posts the transactions one after the other and answers for each, in order, whether it was new
   * or known. Throws if any is refused for good; what was accepted beside it stays.
   */
  async postBatch(
    transactions: readonly NewTransaction[],
  ): Promise<Array<'accepted' | 'replayed'>> {
    const outcomes = new Array<'accepted' | 'replayed'>(transactions.length)
    let open = transactions.map((_, index) => index)
    for (let attempt = 1; open.length > 0; attempt += 1) {
      const results = await this.#postOnce(open.map((index) => transactions[index]))
      const again: number[] = []
      for (const [position, result] of results.entries()) {
        const index = open[position]
        if (result.outcome !== 'refused') outcomes[index] = result.outcome
        else if (result.error?.transient && attempt < ATTEMPTS_MAX) again.push(index)
        else throw new DaybookRequestError(refusalText(transactions[index], result))
      }
      open = again
      if (open.length > 0) await this.#wait(retryDelayMs(attempt))
    }
    return outcomes
  }

  async #postOnce(transactions: readonly NewTransaction[]): Promise<ItemResult[]> {
    const body = { transactions, ordered: true }
    const answer = await this.#request('POST', '/v1/transactions/batch', body)
    const { results } = answer.data as { results: ItemResult[] }
    if (results.length !== transactions.length) {
      throw new DaybookRequestError(
        `${transactions.length} transactions sent, ${results.length} answered`,
      )
    }
    return results
  }

  async #request(
    method: 'GET' | 'POST',
    path: string,
    body?: object,
  ): Promise<{ status: number; data: unknown }> {
    const text = body === undefined ? undefined : JSON.stringify(body)
    for (let attempt = 1; ; attempt += 1) {
      this.#signal.throwIfAborted()
      const outcome = await this.#attempt(method, path, text)
      if ('data' in outcome) return outcome
      if (attempt === ATTEMPTS_MAX) {
        throw new DaybookRequestError(
          `${method} ${path}: ${outcome.problem}, ${attempt} times; given up`,
        )
      }
      await this.#wait(outcome.retryAfterMs ?? retryDelayMs(attempt))
    }
  }

  /** One attempt: an answer, or a reason to try again; throws what trying again cannot change. */
  async #attempt(
    method: string,
    path: string,
    body: string | undefined,
  ): Promise<
    { status: number; data: unknown } | { problem: string; retryAfterMs: number | undefined }
  > {
    let response: Response
    let text: string
    try {
      response = await fetch(this.#url + path, {
        method,
        ...(body === undefined ? {} : { body, headers: { 'content-type': 'application/json' } }),
        signal: AbortSignal.timeout(REQUEST_MS_MAX),
      })
      text = await response.text()
    } catch (error) {
      return { problem: `no answer (${rootMessage(error)})`, retryAfterMs: undefined }
    }
    const { status } = response
    if (response.ok) return { status, data: readJson(text).data }
    const problem = `${status} ${errorText(text)}`
    if (status === 429 || status === 503 || status === 504) {
      return { problem, retryAfterMs: readRetryAfter(response.headers.get('retry-after')) }
    }
    throw new DaybookRequestError(`${method} ${path}: ${problem}`)
  }

  async #wait(delayMs: number): Promise<void> {
    this.retries += 1
    await sleep(delayMs, undefined, { signal: this.#signal })
  }
}

function retryDelayMs(attempt: number): number {
  return Math.min(RETRY_DELAY_MS_MIN * 2 ** (attempt - 1), RETRY_DELAY_MS_MAX)
}

/** Seconds or a date, as HTTP has it. */
function readRetryAfter(header: string | null): number | undefined {
  if (header === null) return undefined
  const delayMs = /^\d+$/.test(header)
    ? Number.parseInt(header, 10) * 1_000
    : Date.parse(header) - Date.now()
  if (Number.isNaN(delayMs)) return undefined
  return Math.min(Math.max(delayMs, RETRY_DELAY_MS_MIN), RETRY_AFTER_MS_MAX)
}

function readJson(text: string): { data?: unknown; error?: { code: string; message: string } } {
  try {
    return JSON.parse(text)
  } catch (error) {
    throw new DaybookRequestError(`not JSON: ${text.slice(0, 200)}`, { cause: error })
  }
}

function errorText(text: string): string {
  try {
    const { error } = readJson(text)
    return error === undefined ? text.slice(0, 200) : `${error.code}: ${error.message}`
  } catch {
    return text.slice(0, 200)
  }
}

function refusalText(transaction: NewTransaction, result: ItemResult): string {
  const why = result.error === undefined ? '' : `: ${result.error.code}, ${result.error.message}`
  return `transaction ${transaction.id} (${transaction.debit} to ${transaction.credit}, ${transaction.amount}) was refused${why}`
}

/** fetch says only "fetch failed"; the system's word is in its cause. */
function rootMessage(error: unknown): string {
  let root = error
  while (root instanceof Error && root.cause instanceof Error) root = root.cause
  return root instanceof Error ? root.message || root.name : String(root)
}
