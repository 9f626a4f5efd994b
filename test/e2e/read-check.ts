import { isDeepStrictEqual } from 'node:util'
import { type ClientLog, type Entry, isSamePostings } from './client-log.js'
import type { Counters, Ledger } from './ledger.js'
import type { AccountRead, Moment, TransactionRead } from './read-log.js'

/**
 * Holds what was read against the journal: every state that was shown is one that the journal has
 * produced, and none is older than what was acknowledged, or shown, before the read was sent.
 */
export function readProblems(log: ClientLog, ledger: Ledger): string[] {
  const { accounts, transactions } = log.reads.take()
  const acknowledged = [...log.entries.values()].filter(
    (entry) => entry.acknowledgedAt !== undefined,
  )
  const striped = new Set(ledger.accounts.filter((account) => account.striped).map(({ id }) => id))
  const versioned = accounts.filter(({ key }) => !striped.has(key))
  return [
    ...log.reads.violations,
    ...versioned.flatMap((read) => stateProblems(read, ledger)),
    ...ageProblems(versioned, acknowledged, ledger),
    ...[...striped].flatMap((key) =>
      sumProblems(
        accounts.filter((read) => read.key === key),
        acknowledged,
        ledger.of(key),
      ),
    ),
    ...transactionProblems(transactions, log, ledger),
  ]
}

function stateProblems({ key, version, counters }: AccountRead, ledger: Ledger): string[] {
  const state = ledger.states.get(key)?.[version - 1]
  if (state === undefined) return [`a read showed version ${version} of ${key}, which is not there`]
  if (isDeepStrictEqual(state, counters)) return []
  return [
    `a read showed ${text(counters)} at version ${version} of ${key}, which is ${text(state)}`,
  ]
}

/** Something that a read sent later must know of. */
interface Known<What> {
  since: Moment
  what: What
}

/** The version of an account never lies before one that was acknowledged or shown. */
function ageProblems(
  reads: readonly AccountRead[],
  acknowledged: readonly Entry[],
  ledger: Ledger,
): string[] {
  const known = new Map<string, Known<number>[]>()
  const add = (key: string, since: Moment, what: number) => {
    const list = known.get(key) ?? []
    known.set(key, list)
    list.push({ since, what })
  }
  for (const { key, acknowledgedAt = 0 } of acknowledged) {
    const position = ledger.records.get(key)?.position ?? ''
    for (const { account, version } of ledger.touches.get(position) ?? []) {
      add(account, acknowledgedAt, version)
    }
  }
  for (const { key, answeredAt, version } of reads) add(key, answeredAt, version)
  return [...known].flatMap(([key, list]) => {
    const problems: string[] = []
    const floor = new Floor(list, 0, (a, b) => Math.max(a, b))
    for (const { version, sentAt } of inOrder(reads.filter((read) => read.key === key))) {
      const least = floor.at(sentAt)
      if (version < least)
        problems.push(`a read showed version ${version} of ${key} after ${least}`)
    }
    return problems
  })
}

/** A striped sum holds all that was acknowledged before, and nothing that is not there in the end. */
function sumProblems(
  reads: readonly AccountRead[],
  acknowledged: readonly Entry[],
  end: Counters,
): string[] {
  if (reads.length === 0) return []
  const [{ key }] = reads
  const sumsOf = (side: 'debit' | 'credit') => {
    const posted = acknowledged
      .filter(({ kind }) => kind === 'transaction' || kind === 'post')
      .map(({ acknowledgedAt = 0, movements }) => {
        const amounts = movements.filter((movement) => movement[side] === key)
        return {
          since: acknowledgedAt,
          what: amounts.reduce((sum, { amount }) => sum + amount, 0n),
        }
      })
    return new Floor(posted, 0n, (a, b) => a + b)
  }
  const [debits, credits] = [sumsOf('debit'), sumsOf('credit')]
  return inOrder(reads).flatMap(({ counters, sentAt }) => {
    const { debitsPosted, creditsPosted } = counters
    const [debitsMin, creditsMin] = [debits.at(sentAt), credits.at(sentAt)]
    const isBetween =
      debitsPosted >= debitsMin &&
      debitsPosted <= end.debitsPosted &&
      creditsPosted >= creditsMin &&
      creditsPosted <= end.creditsPosted
    if (isBetween) return []
    return [`a read showed ${text(counters)} of ${key}, after ${debitsMin}/${creditsMin}`]
  })
}

function transactionProblems(
  reads: readonly TransactionRead[],
  log: ClientLog,
  ledger: Ledger,
): string[] {
  /** When it was first known that a transaction is there, and that a hold has ended. */
  const there = new Map<string, Moment>()
  const ended = new Map<string, Moment>()
  const note = (moments: Map<string, Moment>, key: string, at: Moment) =>
    moments.set(key, Math.min(at, moments.get(key) ?? at))
  for (const { key, kind, target, acknowledgedAt } of log.entries.values()) {
    if (acknowledgedAt === undefined) continue
    note(there, key, acknowledgedAt)
    if (kind === 'post' || kind === 'void') note(ended, target ?? '', acknowledgedAt)
  }
  for (const { key, answeredAt, shown } of reads) {
    if (shown === undefined) continue
    note(there, key, answeredAt)
    if (ledger.holds.has(key) && shown.status !== 'pending') note(ended, key, answeredAt)
  }
  return reads.flatMap(({ key, sentAt, mayBeOld, shown }) => {
    const isAfter = (moments: Map<string, Moment>) =>
      !mayBeOld && (moments.get(key) ?? sentAt) < sentAt
    if (shown === undefined) return isAfter(there) ? [`a read no longer found ${key}`] : []
    const { status, postings } = shown
    const record = ledger.records.get(key)
    if (record === undefined) return [`a read showed ${key}, which is not there`]
    if (!isSamePostings(postings, record.movements)) return [`a read showed another body of ${key}`]
    const atEnd = ledger.holds.get(key)?.status ?? 'posted'
    const mayStillPend = ledger.holds.has(key) && status === 'pending' && !isAfter(ended)
    return status === atEnd || mayStillPend ? [] : [`a read showed ${key} as ${status}`]
  })
}

/** What was known at a moment: everything since before it, put together. */
class Floor<What> {
  readonly #known: readonly Known<What>[]
  readonly #add: (a: What, b: What) => What
  #sum: What
  #next = 0

  constructor(known: readonly Known<What>[], none: What, add: (a: What, b: What) => What) {
    this.#known = known.toSorted((a, b) => a.since - b.since)
    this.#sum = none
    this.#add = add
  }

  /** Must be asked in the order of moments. */
  at(moment: Moment): What {
    const known = this.#known
    for (; this.#next < known.length && known[this.#next].since < moment; this.#next++) {
      this.#sum = this.#add(this.#sum, known[this.#next].what)
    }
    return this.#sum
  }
}

/** Reads that must know of everything before them, in the order in which they were sent. */
function inOrder(reads: readonly AccountRead[]): AccountRead[] {
  return reads.filter(({ mayBeOld }) => !mayBeOld).toSorted((a, b) => a.sentAt - b.sentAt)
}

function text({ debitsPosted, creditsPosted, debitsPending, creditsPending }: Counters): string {
  return `${debitsPosted}/${creditsPosted} (${debitsPending}/${creditsPending})`
}
