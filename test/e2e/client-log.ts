import { Agent, request as httpRequest, type IncomingHttpHeaders } from 'node:http'
import { isDeepStrictEqual } from 'node:util'
import { type Moment, ReadLog } from './read-log.js'

/** What one answer says about one entry. */
export type Answer =
  | { outcome: 'acknowledged'; replayed: boolean; position: string }
  /** Decided, and not done. */
  | { outcome: 'refused'; code: string }
  /** Not accepted: overload, or the journal is away. */
  | { outcome: 'unavailable'; code: string }
  | { outcome: 'unknown'; reason: string }

/** Minor units of EUR, from one account to another, each by its UUID. */
export interface Movement {
  debit: string
  credit: string
  amount: bigint
}

/** What the client means to happen once, and what it was told about it. */
export interface Entry {
  /** Key under which the journal must have it. */
  key: string
  kind: 'transaction' | 'hold' | 'post' | 'void'
  /** The hold that a post or void is about. */
  target?: string
  /** What it moves or reserves; nothing for a void. */
  movements: Movement[]
  answers: Answer[]
  /** When it was known for the first time that it is in. */
  acknowledgedAt?: Moment
}

/** A request that may be sent any number of times. A batch has an entry for each of its items. */
export interface Request {
  path: string
  body: Record<string, unknown>
  entries: Entry[]
  isBatch: boolean
  isAtomic: boolean
  /** Each item has what it needs from the item before it. */
  isFunded?: true
}

export type HttpAnswer =
  | { kind: 'answer'; status: number; headers: IncomingHttpHeaders; body: AnswerBody }
  | { kind: 'lost'; reason: string }

interface AnswerBody {
  data?: {
    id?: string
    status?: string
    postings?: { debit: string; credit: string; amount: string }[]
    version?: number
    results?: { id: string; outcome: string; position?: string; error?: { code: string } }[]
    balances?: Record<string, string>
    remaining?: string[]
  }
  meta?: { position: string }
  error?: { code?: string; details?: { id?: string } }
}

/** The client's own record of what it sent and what it was told: the witness of every crash test. */
export class ClientLog {
  readonly requests: Request[] = []
  readonly entries = new Map<string, Entry>()
  readonly reads = new ReadLog()
  /** Answers that are wrong in themselves, whatever the journal says. */
  readonly violations: string[] = []
  /** Answers by outcome, and those of status 503 and 504. */
  readonly counts = {
    acknowledged: 0,
    refused: 0,
    unavailable: 0,
    unknown: 0,
    http503: 0,
    http504: 0,
  }

  /** Remembers a request before it is sent for the first time. */
  add(request: Request): Request {
    this.requests.push(request)
    for (const entry of request.entries) {
      if (this.entries.has(entry.key)) throw new Error(`two entries of the key ${entry.key}`)
      this.entries.set(entry.key, entry)
    }
    return request
  }

  /** Notes what came of sending `request` once. */
  record(request: Request, answer: HttpAnswer): void {
    if (answer.kind === 'lost') {
      this.#answerAll(request, { outcome: 'unknown', reason: answer.reason })
      return
    }
    const { status, headers, body } = answer
    const code = body.error?.code ?? ''
    if (status === 503) this.counts.http503 += 1
    if (status === 504) this.counts.http504 += 1
    if (status >= 400 && code === '') this.#violation(request, `${status} without an error code`)
    if (status === 200 || status === 201) {
      this.#recordSuccess(request, answer)
    } else if (status === 429 || status === 503) {
      if (headers['retry-after'] === undefined) {
        this.#violation(request, `${status} ${code} without Retry-After`)
      }
      this.#answerAll(request, { outcome: 'unavailable', code })
    } else if (status === 504) {
      if (!request.isBatch && body.error?.details?.id !== request.body.id) {
        this.#violation(request, '504 without the id')
      }
      this.#answerAll(request, { outcome: 'unknown', reason: code })
    } else if (status === 404 || status === 409 || status === 422) {
      if (request.isBatch && !request.isAtomic) this.#violation(request, `${status} for a batch`)
      this.#checkFunds(request, code)
      this.#answerAll(request, { outcome: 'refused', code })
    } else {
      this.#violation(request, `${status} ${code}`)
      this.#answerAll(request, { outcome: 'unknown', reason: code })
    }
  }

  /** Sends again, until there is a final answer, every request of which something is unknown. */
  async settle(url: string): Promise<void> {
    const open = this.requests.filter((request) => request.entries.some((e) => !isSettled(e)))
    const client = new HttpClient(url, connectionsOfSettling)
    const work = async () => {
      for (let request = open.pop(); request !== undefined; request = open.pop()) {
        const deadline = Date.now() + settleMsMax
        do {
          if (Date.now() > deadline) throw new Error(`not settled: ${describe(request)}`)
          this.record(request, await client.post(request.path, request.body))
        } while (!request.entries.every(isSettled))
      }
    }
    await Promise.all(Array.from({ length: connectionsOfSettling }, work)).finally(() =>
      client.close(),
    )
  }

  #recordSuccess(request: Request, answer: HttpAnswer & { kind: 'answer' }): void {
    const { status, headers, body } = answer
    if (request.isBatch) {
      this.#recordResults(request, body)
      return
    }
    const [entry] = request.entries
    const replayed = headers['idempotent-replayed'] === 'true'
    if (replayed !== (status === 200)) this.#violation(request, `${status}, replayed: ${replayed}`)
    if (body.data?.id !== entry.key) this.#violation(request, `answered for ${body.data?.id}`)
    if (!isSamePostings(body.data?.postings ?? [], entry.movements)) {
      this.#violation(request, `answered other postings: ${JSON.stringify(body.data?.postings)}`)
    }
    this.#answer(entry, {
      outcome: 'acknowledged',
      replayed,
      position: body.meta?.position ?? '',
    })
  }

  #recordResults(request: Request, body: AnswerBody): void {
    const results = body.data?.results ?? []
    if (results.length !== request.entries.length) {
      this.#violation(request, `${results.length} results for ${request.entries.length} items`)
    }
    for (const [index, { id, outcome, position, error }] of results.entries()) {
      const entry = request.entries[index]
      if (id !== entry.key) this.#violation(request, `result ${index} is of ${id}`)
      if (outcome === 'refused') {
        this.#answer(entry, { outcome: 'refused', code: error?.code ?? '' })
        if (request.isAtomic) this.#violation(request, 'an item of an atomic batch was refused')
        this.#checkFunds(request, error?.code ?? '')
      } else {
        const replayed = outcome === 'replayed'
        this.#answer(entry, { outcome: 'acknowledged', replayed, position: position ?? '' })
      }
    }
  }

  #checkFunds({ isFunded, ...request }: Request, code: string): void {
    if (isFunded && code === 'insufficient_funds')
      this.#violation(request, 'an item came too early')
  }

  #answerAll(request: Request, answer: Answer): void {
    for (const entry of request.entries) this.#answer(entry, answer)
  }

  #answer(entry: Entry, answer: Answer): void {
    // Of the same answer again and again, while Postgres is away, one is enough.
    const isNew = !isDeepStrictEqual(entry.answers.at(-1), answer)
    if (isNew || answer.outcome === 'acknowledged') entry.answers.push(answer)
    this.counts[answer.outcome] += 1
    if (answer.outcome === 'acknowledged') entry.acknowledgedAt ??= this.reads.nextMoment()
  }

  #violation(request: Request, what: string): void {
    this.violations.push(`${describe(request)}: ${what}`)
  }
}

const connectionsOfSettling = 4
const settleMsMax = 40_000

export function isAcknowledged(entry: Entry): boolean {
  return entry.answers.some(({ outcome }) => outcome === 'acknowledged')
}

/**
 * Whether it is known that the entry is in, or that it is not: after an answer that is not known,
 * a refusal says that it is not, for otherwise it would have been replayed.
 */
export function isSettled(entry: Entry): boolean {
  if (isAcknowledged(entry)) return true
  const lastOf = (outcome: Answer['outcome']) =>
    entry.answers.findLastIndex((answer) => answer.outcome === outcome)
  return lastOf('unknown') < 0 || lastOf('unknown') < lastOf('refused')
}

/** An amount such as `12.50` in minor units. */
export function toMinor(amount: string): bigint {
  return BigInt(amount.replace('.', ''))
}

/** Minor units as an amount such as `12.50`. */
export function toAmount(minor: bigint): string {
  const digits = String(minor).padStart(3, '0')
  return `${digits.slice(0, -2)}.${digits.slice(-2)}`
}

export function isSamePostings(
  postings: { debit: string; credit: string; amount: string }[],
  movements: Movement[],
): boolean {
  const line = (debit: string, credit: string, amount: bigint) => `${debit} ${credit} ${amount}`
  const shown = postings.map((p) => line(p.debit, p.credit, toMinor(p.amount)))
  const meant = movements.map((m) => line(m.debit, m.credit, m.amount))
  return shown.join() === meant.join()
}

function describe(request: Request): string {
  return `${request.path} ${request.isBatch ? `(${request.entries.length} items)` : request.body.id}`
}

/** 0 if the connection was lost. */
export function statusOf(answer: HttpAnswer): number {
  return answer.kind === 'lost' ? 0 : answer.status
}

/** HTTP over a fixed number of connections that are kept; never sends anything twice by itself. */
export class HttpClient {
  readonly #url: string
  readonly #agent: Agent

  constructor(url: string, connections: number) {
    this.#url = url
    this.#agent = new Agent({ keepAlive: true, maxSockets: connections })
  }

  post(path: string, body: object): Promise<HttpAnswer> {
    return this.#send('POST', path, JSON.stringify(body))
  }

  get(path: string): Promise<HttpAnswer> {
    return this.#send('GET', path, undefined)
  }

  close(): void {
    this.#agent.destroy()
  }

  #send(method: string, path: string, body: string | undefined): Promise<HttpAnswer> {
    return new Promise((resolve) => {
      const lost = (error: NodeJS.ErrnoException) =>
        resolve({ kind: 'lost', reason: error.code ?? error.message })
      const headers = body === undefined ? {} : { 'content-type': 'application/json' }
      const request = httpRequest(`${this.#url}${path}`, { method, agent: this.#agent, headers })
      request.on('error', lost)
      request.on('response', (response) => {
        const chunks: Buffer[] = []
        response.on('data', (chunk: Buffer) => chunks.push(chunk))
        response.on('error', lost)
        response.on('end', () => {
          const { statusCode = 0, headers } = response
          const answer = parseBody(Buffer.concat(chunks))
          if (answer === undefined) resolve({ kind: 'lost', reason: 'an answer that is no JSON' })
          else resolve({ kind: 'answer', status: statusCode, headers, body: answer })
        })
      })
      request.end(body)
    })
  }
}

function parseBody(bytes: Buffer): AnswerBody | undefined {
  try {
    return JSON.parse(bytes.toString()) as AnswerBody
  } catch {
    return undefined
  }
}
