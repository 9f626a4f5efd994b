import type { Book } from '../../src/actors/book.js'
import { bookDigest, horizonOf } from '../../src/actors/digest.js'
import type { Database } from '../../src/journal/database.js'
import { postgresStore } from '../../src/journal/postgres-session.js'
import { readLayout } from '../../src/journal/take-over.js'
import { usableSnapshots } from '../../src/snapshots/choose-snapshot.js'
import { SnapshotFault } from '../../src/snapshots/manifest.js'
import type { SnapshotStore } from '../../src/snapshots/store.js'
import { booksOfJournal } from '../actors/journal-check.js'
import { below } from '../actors/random.js'
import type { Choices } from './choices.js'
import type { Chronicle } from './chronicle.js'
import type { Clients } from './clients.js'
import type { Command } from './commands.js'
import { describeCommand } from './in-words.js'
import type { Oracle } from './oracle/oracle.js'
import { expect } from './oracle/violation.js'
import type { SimulatedPostgres } from './postgres/simulated-postgres.js'
import type { Processes } from './processes.js'
import type { ReadModels } from './read-models.js'
import { isDefinite, isDone, isRead, isTransient } from './request.js'
import { leftoversOf } from './rest.js'
import { type Scheduler, Thread } from './scheduler.js'
import type { Script } from './script.js'
import type { SnapshotShelf } from './snapshot-shelf.js'

/** After the last fault, everything must be answered and at rest within this. */
const restMsMax = 300_000

export interface EndingParts {
  script: Script
  scheduler: Scheduler
  choices: Choices
  postgres: SimulatedPostgres
  shelf: SnapshotShelf
  oracle: Oracle
  processes: Processes
  clients: Clients
  chronicle: Chronicle
  readModels: ReadModels
}

/**
 * What comes after the last fault: everything must come to rest by itself, be known, be right, and
 * be the same after one more restart. Some processes stay frozen for ever, as a machine does that
 * has lost its power and is not missed.
 */
export class Ending {
  readonly #parts: EndingParts

  constructor(parts: EndingParts) {
    this.#parts = parts
  }

  async play(): Promise<void> {
    const { processes, clients, oracle, chronicle } = this.#parts
    this.#heal()
    await this.until('one process serves', () => processes.isOneServing)
    const answered = () =>
      clients.requests.every(({ answer, process }) => answer || process?.isFrozen)
    await this.until('every request has an answer', answered)
    // Before the last restart, which hides what a long life has left behind.
    await this.#rest()
    await this.#compareDigests()
    await this.#restart()
    await this.#askAgain()
    await this.#rest()
    await this.#readAll()
    await this.#compareDigests()
    processes.isOver = true
    chronicle.watch(() => oracle.finish())
  }

  #heal(): void {
    const { chronicle, postgres, processes, oracle, choices } = this.#parts
    chronicle.say('No more faults from here on.')
    postgres.heal()
    this.#parts.shelf.heal()
    this.#parts.readModels.isPrompt = true
    this.#parts.readModels.follow(Number.POSITIVE_INFINITY)
    // A backend whose client fell silent would stay for ever.
    postgres.terminateBackends(() => true)
    const random = choices.of('stays frozen')
    processes.heal((frozen) => oracle.wasTakenOver(frozen) && random() < 0.5)
  }

  /** Once more from the journal alone, mostly with another number of shards. */
  async #restart(): Promise<void> {
    const { processes, script } = this.#parts
    processes.shards = script.shardsAtLast
    processes.killAll()
    await this.until('one process serves', () => processes.isOneServing)
  }

  /** Whatever is over leaves nothing behind. */
  async #rest(): Promise<void> {
    const { processes, postgres, oracle } = this.#parts
    let left: string[] = []
    const isAtRest = () => {
      const { serving } = processes
      if (serving === undefined || !postgres.isIdle) return false
      left = leftoversOf(serving, oracle.book, processes.wallMs)
      return left.length === 0
    }
    await this.until(() => `nothing is left (${left.join(', ')})`, isAtRest)
  }

  /** Sends what is not known again until it is, and some of what was done to see it repeated. */
  async #askAgain(): Promise<void> {
    const { choices, clients } = this.#parts
    const random = choices.of('again')
    const open = clients.requests.filter(
      ({ command, answer }) =>
        !isRead(command) &&
        answer !== undefined &&
        (!isDefinite(answer) || isTransient(answer) || (isDone(answer) && random() < 0.3)),
    )
    for (const { command } of open) await this.#askUntilKnown(command)
  }

  async #askUntilKnown(command: Command): Promise<void> {
    const { processes, clients } = this.#parts
    for (let attempt = 0; ; attempt++) {
      await this.until('a process serves', () => processes.serving !== undefined)
      const request = clients.send(command, processes.serving)
      await this.until('an answer', () => request.answer !== undefined)
      const { answer } = request
      if (answer !== undefined && isDefinite(answer) && !isTransient(answer)) return
      await this.#wait(100)
      expect(attempt < 50, 10, () => `${describeCommand(command)} is never answered`)
    }
  }

  /** After a while in which nobody asked for anything, all that is there can be read. */
  async #readAll(): Promise<void> {
    const { script, oracle, choices } = this.#parts
    await this.#wait(script.settings.leaseMs * 1.5)
    const { accounts, transactions } = oracle.book
    const random = choices.of('reads')
    const commands: Command[] = [
      ...[...accounts.keys()].map((id) => ({ does: 'read account', id }) as const),
      ...[...transactions.keys()]
        .filter(() => random() < 0.5)
        .map((id) => ({ does: 'read transaction', id }) as const),
    ]
    for (const command of commands) await this.#readIt(command)
  }

  /** A message may take longer than a request is given; but not again and again. */
  async #readIt(command: Command): Promise<void> {
    const { clients, processes } = this.#parts
    for (let attempt = 0; ; attempt++) {
      const request = clients.send(command, processes.serving)
      await this.until('a read is answered', () => request.answer !== undefined)
      const { outcome } = request.answer ?? {}
      if (outcome === 'account' || outcome === 'read') return
      expect(attempt < 10, 10, () => `${describeCommand(command)} is never answered`)
    }
  }

  /** What is in memory is what any number of shards would read from the journal. */
  async #compareDigests(): Promise<void> {
    const { choices, scheduler, postgres, oracle, chronicle, processes, shelf } = this.#parts
    const shards = 1 + below(choices.of('digest'), 4)
    const checker = new Thread(scheduler, 'checker', (error) => chronicle.fail(error))
    const database = postgres.databaseFor(checker, restMsMax)
    for (;;) {
      await this.until('all is quiet', () => this.#isQuiet)
      const { commit } = oracle
      let read: readonly Book[][] | undefined
      checker.after(0, () => {
        readBooks(database, shelf.storeFor(checker), shards).then(
          (books) => {
            read = books
          },
          (error: Error) => chronicle.fail(error),
        )
      })
      await this.until('the journal is read', () => read !== undefined)
      await this.until('all is quiet', () => this.#isQuiet)
      // A hold may have expired meanwhile.
      if (oracle.commit !== commit) continue
      const { serving } = processes
      const own = serving?.shards.map(({ book }) => book) ?? []
      // What one of them has let go counts for none of them.
      const horizon = horizonOf([...own, ...(read ?? []).flat()])
      const digest = bookDigest(own, horizon)
      const digests = read?.map((books) => bookDigest(books, horizon)) ?? []
      const text = `${shards} shards read another digest than ${serving?.shardCount} have in memory`
      expect(digests[0] === digest, 7, () => text)
      const strays = digests.filter((other) => other !== digest).length
      expect(strays === 0, 7, () => `${strays} snapshots lead to another digest than the journal`)
      return
    }
  }

  get #isQuiet(): boolean {
    const { processes, postgres } = this.#parts
    const { serving } = processes
    return (
      serving !== undefined &&
      postgres.isIdle &&
      serving.shards.every(({ gauges }) => gauges.openRecords === 0 && gauges.coordinations === 0)
    )
  }

  async #wait(forMs: number): Promise<void> {
    const untilMs = this.#parts.scheduler.nowMs + forMs
    await this.#run(() => false, untilMs)
  }

  /** Lets the world go on until it is so; that it comes to be so is a promise. */
  async until(what: string | (() => string), isDone: () => boolean): Promise<void> {
    const end = await this.#run(isDone, this.#parts.scheduler.nowMs + restMsMax)
    const text = () => (typeof what === 'string' ? what : what())
    expect(end === 'done', 10, () => `it stalls: ${text()} never comes true (${end})`)
  }

  async #run(isDone: () => boolean, untilMs: number): Promise<'done' | 'idle' | 'time is up'> {
    const { scheduler, chronicle } = this.#parts
    const end = await scheduler.run(() => chronicle.violation !== undefined || isDone(), untilMs)
    if (chronicle.violation !== undefined) throw chronicle.violation
    return end
  }
}

/** What the journal comes to from its beginning, and from each snapshot that can be used. */
async function readBooks(
  database: Database,
  snapshots: SnapshotStore,
  shards: number,
): Promise<Book[][]> {
  const connection = await database.connect({ name: 'checker' })
  const book = await readLayout(connection)
  await connection.end()
  const store = postgresStore(database)
  const read = [await booksOfJournal(book, store, shards)]
  const session = await store.open()
  const usable = await usableSnapshots(snapshots, book, session, () => undefined)
  session.close()
  for (const snapshot of usable) {
    try {
      read.push(await booksOfJournal(book, store, shards, { snapshot, snapshots }))
    } catch (error) {
      if (!(error instanceof SnapshotFault)) throw error
    }
  }
  return read
}
