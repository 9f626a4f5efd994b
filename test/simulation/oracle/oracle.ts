import { formatKey } from '../../../src/key.js'
import { EngineNames } from '../../actors/engine-names.js'
import type { ClientAnswer } from '../commands.js'
import type { Commit, Tables } from '../postgres/simulated-postgres.js'
import type { SimulatedProcess } from '../process.js'
import { isDefinite, type Request } from '../request.js'
import { AnswerCheck } from './answer-check.js'
import { CommittedBook } from './committed-book.js'
import { JournalFollower } from './journal-follower.js'
import { StreamOwners } from './stream-owners.js'
import { expect } from './violation.js'

/** When another process took the book from one, and how many commits there were then. */
interface TakenOver {
  atMs: number
  commit: number
}

/**
 * Sees every commit and every answer, keeps a plain model of what is committed, and throws a
 * Violation as soon as a promise of design §1 is broken.
 */
export class Oracle {
  readonly book: CommittedBook
  readonly #follower: JournalFollower
  readonly #answers: AnswerCheck
  readonly #owners: StreamOwners
  readonly #names = new EngineNames()
  readonly #takenOver = new Map<string, TakenOver>()
  readonly #leaseMs: number

  constructor(tables: () => Tables, leaseMs: number) {
    this.#leaseMs = leaseMs
    this.#owners = new StreamOwners(tables)
    this.book = new CommittedBook(this.#owners)
    this.#follower = new JournalFollower(tables, (record) => this.book.follow(record))
    this.#answers = new AnswerCheck(this.book, {
      accountId: (name) => formatKey(this.#names.keyOf(name)),
      transactionId: (name) => formatKey(this.#names.targetKey(name)),
    })
  }

  /** Commits so far. */
  get commit(): number {
    return this.#follower.commit
  }

  committed(commit: Commit, nowMs: number): void {
    const closes = commit.streams.some(({ before, after }) => after.closed && !before?.closed)
    if (closes) this.book.assertNothingUntold()
    this.#follower.committed(commit)
    for (const { before, after } of commit.streams) {
      const owner = before?.owner
      if (owner && after.owner !== owner && !this.#takenOver.has(owner)) {
        this.#takenOver.set(owner, { atMs: nowMs, commit: this.commit })
      }
    }
  }

  /** An answer leaves the process. */
  answered(request: Request, answer: ClientAnswer, nowMs: number): void {
    const takenOver = this.#takenOver.get(request.process?.owner ?? '')
    if (takenOver !== undefined && restsOnState(answer)) {
      expect(
        nowMs < takenOver.atMs + this.#leaseMs,
        8,
        () =>
          `${request.process?.name} answers ${nowMs - takenOver.atMs} ms after it was taken over`,
      )
    }
    // A process that was taken over may still show what was true then, for as long as its lease.
    const from = Math.min(request.sentAtCommit, takenOver?.commit ?? Number.POSITIVE_INFINITY)
    this.#answers.check(request, answer, { from, to: this.commit })
  }

  /** A process has ended by itself: that is right only if another one has taken over. */
  ended(process: SimulatedProcess, fault: Error & { code?: string }): void {
    const isTaken = this.#takenOver.has(process.owner)
    const isExpected = process.hasServed
      ? fault.code === 'fenced' && isTaken
      : isTaken || isOfPostgres(fault)
    expect(isExpected, 0, () => `${process.name} has stopped: ${fault.stack}`)
  }

  wasTakenOver(process: SimulatedProcess): boolean {
    return this.#takenOver.has(process.owner)
  }

  /** Everything has been asked again and answered, and nothing is under way. */
  finish(): void {
    this.book.assertNothingUntold()
    this.book.assertConverged()
    this.#answers.finish()
  }
}

/** Whether the answer shows something of the book, be it that something was refused. */
function restsOnState(answer: ClientAnswer): boolean {
  return answer.outcome === 'batch' || isDefinite(answer)
}

/** A start may fail because Postgres did: whoever has started it tries again. */
function isOfPostgres(fault: Error & { code?: string }): boolean {
  const codes = [undefined, 'still_held', 'layout_changed', 'fenced']
  return codes.includes(fault.code) || /^([0-9A-Z]{5}|E[A-Z]+)$/.test(fault.code ?? '')
}
