import type { HttpAnswer } from './client-log.js'
import type { Counters } from './ledger.js'

/** When something was sent or answered, counted from one such event of the client to the next. */
export type Moment = number

interface Read {
  key: string
  sentAt: Moment
  answeredAt: Moment
  /** The server that was asked may have been taken over, and not have noticed. */
  mayBeOld: boolean
}

export interface AccountRead extends Read {
  version: number
  counters: Counters
}

export interface TransactionRead extends Read {
  /** Absent: the server said that there is no such transaction. */
  shown?: { status: string; postings: { debit: string; credit: string; amount: string }[] }
}

/** A read before its answer. */
export interface Question {
  kind: 'account' | 'transaction'
  key: string
  sentAt: Moment
  mayBeOld: boolean
}

const pathOf = { account: '/v1/accounts/', transaction: '/v1/transactions/' } as const

/** What the client was shown, until it has been held against the journal. */
export class ReadLog {
  readonly accounts: AccountRead[] = []
  readonly transactions: TransactionRead[] = []
  /** Answers that are wrong in themselves, whatever the journal says. */
  readonly violations: string[] = []
  readonly counts = { checked: 0, unavailable: 0, lost: 0 }
  /**
   * The server that is read from here on may be taken over before it answers: then it may show what
   * is older than what its successor has acknowledged, for as long as its lease.
   */
  mayBeOld = false
  #moment = 0

  /** The moment of something that happens now: greater than all before. */
  nextMoment(): Moment {
    this.#moment += 1
    return this.#moment
  }

  /** Begins a read; `path` is what to ask the server for. */
  ask(kind: Question['kind'], key: string): Question & { path: string } {
    const { mayBeOld } = this
    return { kind, key, sentAt: this.nextMoment(), mayBeOld, path: `${pathOf[kind]}${key}` }
  }

  /** Notes what came of it. */
  record({ kind, ...question }: Question, answer: HttpAnswer): void {
    if (answer.kind === 'lost') {
      this.counts.lost += 1
      return
    }
    const { status, body } = answer
    const { key, sentAt, mayBeOld } = question
    const read = { key, sentAt, mayBeOld, answeredAt: this.nextMoment() }
    const { data } = body
    if (status === 429 || status === 503 || status === 504) {
      this.counts.unavailable += 1
    } else if (kind === 'transaction' && status === 404) {
      this.transactions.push(read)
    } else if (status !== 200 || data === undefined) {
      this.violations.push(`read of ${kind} ${key}: ${status} ${body.error?.code}`)
    } else if (kind === 'transaction') {
      const { status = '', postings = [] } = data
      this.transactions.push({ ...read, shown: { status, postings } })
    } else {
      const { version = 0, balances = {} } = data
      this.accounts.push({ ...read, version, counters: countersOf(balances) })
    }
  }

  /** Takes what has been shown since the last time. */
  take(): { accounts: AccountRead[]; transactions: TransactionRead[] } {
    const taken = { accounts: this.accounts.splice(0), transactions: this.transactions.splice(0) }
    this.counts.checked += taken.accounts.length + taken.transactions.length
    return taken
  }
}

function countersOf(balances: Record<string, string>): Counters {
  const minor = (name: keyof Counters) => BigInt((balances[name] ?? '-1').replace('.', ''))
  return {
    debitsPosted: minor('debitsPosted'),
    creditsPosted: minor('creditsPosted'),
    debitsPending: minor('debitsPending'),
    creditsPending: minor('creditsPending'),
  }
}
