import type { FeedEvent } from '../../../src/history/feed/feed-event.js'
import { feedEvent } from '../../../src/history/feed/feed-event.js'
import { digestChain } from '../../../src/journal/digest.js'
import { postgresDatabase } from '../../../src/journal/postgres.js'
import { postgresStore } from '../../../src/journal/postgres-session.js'
import type { JournalSession, JournalStore, StreamState } from '../../../src/journal/session.js'
import { emptyBook, withClient } from '../../actors/book-database.js'
import type { Teardown, TemporaryPostgres } from '../../postgres.js'
import { batchOf, sampleRecord, wordsOf } from './feed-records.js'

const stream = 1
const owner = 'test'

/** Stream 1 of an empty book in a Postgres, with a writer and what its events must be. */
export class FeedJournal {
  readonly connectionString: string
  readonly store: JournalStore
  readonly events: FeedEvent[] = []
  readonly #session: JournalSession
  #state: StreamState

  static async make(t: Teardown, postgres: TemporaryPostgres): Promise<FeedJournal> {
    const connectionString = await postgres.createDatabase()
    await emptyBook(connectionString)
    await withClient(connectionString, (client) =>
      client.query('update daybook.stream set owner = $1 where id = $2', [owner, stream]),
    )
    const store = postgresStore(postgresDatabase(connectionString, 10_000))
    const session = await store.open()
    t.teardown(() => session.close())
    await session.ensurePartition(100_000)
    return new FeedJournal(connectionString, store, {
      session,
      state: await session.settle(stream, owner),
    })
  }

  private constructor(
    connectionString: string,
    store: JournalStore,
    { session, state }: { session: JournalSession; state: StreamState },
  ) {
    this.connectionString = connectionString
    this.store = store
    this.#session = session
    this.#state = state
  }

  get head(): number {
    return this.#state.head
  }

  /** Commits so many records as one batch. */
  async append(count: number, recordOf = sampleRecord): Promise<void> {
    const { epoch, head, digest } = this.#state
    const records = Array.from({ length: count }, (_, index) => recordOf(head + 1 + index))
    const batch = batchOf(stream, head + 1, records)
    const sealed = batch.seal(epoch, digest, digestChain())
    const newHead = head + count
    await this.#session.commit({
      ...{ stream, epoch, head, digest, newHead, newDigest: sealed.digest, copy: sealed.copy },
    })
    this.#state = { epoch, head: newHead, digest: sealed.digest }
    for (const [index, record] of records.entries()) {
      const event = feedEvent(wordsOf(record), 0, { stream, seq: head + 1 + index })
      if (event !== undefined) this.events.push(event)
    }
  }

  /** The events after a seq. */
  eventsAfter(afterSeq: number): FeedEvent[] {
    return this.events.filter((event) => seqOf(event) > afterSeq)
  }

  /** Takes away the chunks that end up to a seq, as archiving does. */
  async archive(upTo: number): Promise<void> {
    await withClient(this.connectionString, (client) =>
      client.query('delete from daybook.journal where first_seq + greatest(n, 1) - 1 <= $1', [
        upTo,
      ]),
    )
  }
}

export function seqOf({ position }: Pick<FeedEvent, 'position'>): number {
  return Number(position.split('-')[1])
}
