import type pg from 'pg'
import type { Movement } from './client-log.js'
import type { LoadAccount } from './load-accounts.js'

type PostingBody = [debit: string, credit: string, amount: number, currency: string, scale: number]

/** A row of daybook.records; what is null is of applied records only. */
export interface JournalRecord {
  stream: number
  seq: string
  kind: string
  id: string
  /** Milliseconds since 1970. */
  time_ms: string
  pending: boolean
  id_elsewhere: boolean
  cause_kind: string | null
  cause_stream: number | null
  cause_seq: string | null
  message: string | null
  body: {
    postings?: PostingBody[]
    sides?: number[]
    released?: number[]
    target?: string
    kept?: boolean
  }
}

/** All records. An account is in one stream of a generation, so its history comes in order. */
export async function readJournal(client: pg.Client): Promise<JournalRecord[]> {
  const { rows } = await client.query<JournalRecord>(
    `select stream, seq, kind, id, extract(epoch from time) * 1000 as time_ms, pending, id_elsewhere, cause_kind, cause_stream, cause_seq,
       message, body
     from daybook.records order by generation, stream, seq`,
  )
  return rows
}

export interface Counters {
  debitsPosted: bigint
  creditsPosted: bigint
  debitsPending: bigint
  creditsPending: bigint
}

interface Hold {
  movements: Movement[]
  remaining: bigint[]
  status: 'pending' | 'posted' | 'voided' | 'expired'
}

/** What a record does to a debit and a credit account, where each of the two sides is its own. */
interface Leg {
  debit: string
  credit: string
  posted: bigint
  pending: bigint
  sides: number
}

const elsewhere = 1
const endings = { hold_posted: 'posted', hold_voided: 'voided', hold_expired: 'expired' } as const

/** What the records say, added up here once more, one after the other. */
export class Ledger {
  readonly problems: string[] = []
  readonly counters = new Map<string, Counters>()
  readonly holds = new Map<string, Hold>()
  /** Home records of transactions by key, with what each of them moved or reserved. */
  readonly records = new Map<string, { position: string; kind: string; movements: Movement[] }>()
  readonly accounts: readonly LoadAccount[]
  /** Counters of an account that is not striped at each of its versions, from 1. */
  readonly states = new Map<string, Counters[]>()
  /** Versions that each home record gave to accounts, by its position; in any stream. */
  readonly touches = new Map<string, { account: string; version: number }[]>()
  postings = 0
  /** Time of each record by position. */
  readonly #times = new Map<string, number>()
  /** Sides, and ids, that a home record leaves to other streams, less those that these have. */
  readonly #owed = new Map<string, number>()
  /** Last message by sending and receiving stream. */
  readonly #messages = new Map<string, number>()
  /** Accounts that the record at hand has touched; striped ones have no version that it moves. */
  readonly #touched = new Set<string>()
  readonly #striped: ReadonlySet<string>

  constructor(accounts: readonly LoadAccount[], journal: readonly JournalRecord[]) {
    this.accounts = accounts
    this.#striped = new Set(accounts.filter(({ striped }) => striped).map(({ id }) => id))
    const lastSeqs = new Map<number, number>()
    for (const record of journal) {
      const expected = (lastSeqs.get(record.stream) ?? 0) + 1
      if (Number(record.seq) !== expected) {
        this.problems.push(
          `stream ${record.stream} has seq ${record.seq} where ${expected} belongs`,
        )
      }
      lastSeqs.set(record.stream, Number(record.seq))
      this.#times.set(`${record.stream}-${record.seq}`, Number(record.time_ms))
      // First all of them: a hold of an atomic batch and what ends it may be in two streams.
      if (record.cause_kind === null) this.#remember(record)
    }
    for (const record of journal) this.#apply(record)
    this.#checkSums()
    for (const [cause, count] of this.#owed) {
      if (count !== 0) this.problems.push(`${cause} is not applied just once: ${count} are left`)
    }
  }

  /** Of an account; of a striped one the sum of its parts. */
  of(account: string): Counters {
    let counters = this.counters.get(account)
    if (counters === undefined) {
      counters = { debitsPosted: 0n, creditsPosted: 0n, debitsPending: 0n, creditsPending: 0n }
      this.counters.set(account, counters)
    }
    return counters
  }

  #apply(record: JournalRecord): void {
    const isApplied = record.cause_kind !== null
    if (isApplied) this.#checkMessage(record)
    this.#checkTime(record)
    if ((record.cause_kind ?? record.kind).startsWith('account_')) {
      if (!isApplied) this.#noteState(record.id)
      return
    }
    const legs = this.#legsOf(record)
    this.#touched.clear()
    let owed = record.id_elsewhere === isApplied ? 0 : 1
    for (const leg of legs) {
      this.#move(leg)
      owed += [leg.sides & 3, leg.sides >> 2].filter(
        (side) => (side === elsewhere) !== isApplied,
      ).length
    }
    const cause = isApplied
      ? `${record.cause_stream}-${record.cause_seq}`
      : `${record.stream}-${record.seq}`
    this.#owed.set(cause, (this.#owed.get(cause) ?? 0) + (isApplied ? -owed : owed))
    if (!isApplied && record.kind in endings) this.#follow(record, legs)
    this.#checkLimits(`${record.stream}-${record.seq}`)
    const touches = this.touches.get(cause) ?? []
    this.touches.set(cause, touches)
    for (const account of this.#touched) {
      const version = this.#noteState(account)
      if (version > 0) touches.push({ account, version })
    }
  }

  /** The record at hand makes the account's next version; 0 if it has none. */
  #noteState(account: string): number {
    if (this.#striped.has(account)) return 0
    const states = this.states.get(account) ?? []
    this.states.set(account, states)
    return states.push({ ...this.of(account) })
  }

  /** Time runs back neither within a stream nor from a cause to what follows it. */
  #checkTime({ stream, seq, time_ms, cause_stream, cause_seq }: JournalRecord): void {
    for (const before of [`${stream}-${Number(seq) - 1}`, `${cause_stream}-${cause_seq}`]) {
      if (Number(time_ms) < (this.#times.get(before) ?? 0)) {
        this.problems.push(`${stream}-${seq} is dated before ${before}`)
      }
    }
  }

  /** Messages from one stream to another are applied in order, each once. */
  #checkMessage({ stream, seq, cause_stream, message }: JournalRecord): void {
    const way = `${cause_stream} to ${stream}`
    const expected = (this.#messages.get(way) ?? 0) + 1
    if (Number(message) !== expected) {
      this.problems.push(`${stream}-${seq} is message ${message} of ${way}, not ${expected}`)
    }
    this.#messages.set(way, Number(message))
  }

  #remember({ stream, seq, kind, id, pending, body }: JournalRecord): void {
    if (kind === 'hold_expired' || kind.startsWith('account_')) return
    const position = `${stream}-${seq}`
    // A void names the accounts of its hold, and moves nothing.
    const moves = kind === 'hold_voided' ? [] : (body.postings ?? [])
    const movements = moves.map(([debit, credit, amount]) => ({
      debit,
      credit,
      amount: BigInt(amount),
    }))
    const other = this.records.get(id)
    if (other !== undefined) {
      this.problems.push(`${id} is there twice: ${other.position} and ${position}`)
    }
    this.records.set(id, { position, kind: pending ? 'hold' : kind, movements })
    if (!pending) this.postings += movements.filter(({ amount }) => amount > 0n).length
    else {
      const remaining = movements.map(({ amount }) => amount)
      this.holds.set(id, { movements, remaining, status: 'pending' })
    }
  }

  #legsOf({ kind, cause_kind, pending, body }: JournalRecord): Leg[] {
    const postings = (body.postings ?? []).map(([debit, credit, amount], index) => {
      const [posted, released] = [BigInt(amount), BigInt(body.released?.[index] ?? 0)]
      return { debit, credit, posted, released, sides: body.sides?.[index] ?? 0 }
    })
    if (!((cause_kind ?? kind) in endings)) {
      return postings.map(({ debit, credit, posted, sides }) => ({
        ...{ debit, credit, sides },
        ...(pending ? { posted: 0n, pending: posted } : { posted, pending: 0n }),
      }))
    }
    // What ends a hold at home may leave out the accounts, which are those of the hold.
    const hold = cause_kind === null ? this.holds.get(body.target ?? '') : undefined
    const named = hold?.movements ?? postings
    return named.map(({ debit, credit }, index) => {
      const posted = postings[index]?.posted ?? 0n
      const released = BigInt(body.released?.[index] ?? 0)
      const sides = body.sides?.[index] ?? 0
      return { debit, credit, posted, pending: -(posted + released), sides }
    })
  }

  #move({ debit, credit, posted, pending, sides }: Leg): void {
    if ((sides & 3) !== elsewhere) {
      this.#touched.add(debit)
      this.of(debit).debitsPosted += posted
      this.of(debit).debitsPending += pending
    }
    if (sides >> 2 !== elsewhere) {
      this.#touched.add(credit)
      this.of(credit).creditsPosted += posted
      this.of(credit).creditsPending += pending
    }
  }

  #follow({ kind, id, body }: JournalRecord, legs: readonly Leg[]): void {
    const hold = this.holds.get(body.target ?? '')
    if (hold === undefined || hold.status !== 'pending') {
      this.problems.push(`${kind} ${id} follows a hold that is ${hold?.status}`)
      return
    }
    for (const [index, { pending }] of legs.entries()) hold.remaining[index] += pending
    if (body.kept === true) return
    if (hold.remaining.some((rest) => rest !== 0n)) {
      this.problems.push(`${kind} ${id} leaves ${hold.remaining} of its hold`)
    }
    hold.status = endings[kind as keyof typeof endings]
  }

  #checkLimits(position: string): void {
    for (const account of this.accounts) {
      const { id, overdraftLimit, minimumBalance } = account
      if (overdraftLimit === null || !this.#touched.has(id)) continue
      const { debitsPosted, creditsPosted, debitsPending, creditsPending } = this.of(id)
      const available =
        account.class === 'asset'
          ? debitsPosted - creditsPosted - creditsPending
          : creditsPosted - debitsPosted - debitsPending
      if (available < minimumBalance - overdraftLimit) {
        this.problems.push(`account ${id} is beyond its limit at ${position}: ${available}`)
      }
    }
  }

  #checkSums(): void {
    let [posted, pending] = [0n, 0n]
    for (const counters of this.counters.values()) {
      posted += counters.debitsPosted - counters.creditsPosted
      pending += counters.debitsPending - counters.creditsPending
    }
    if (posted !== 0n) this.problems.push(`debits and credits differ by ${posted}`)
    if (pending !== 0n) this.problems.push(`pending debits and credits differ by ${pending}`)
  }
}
