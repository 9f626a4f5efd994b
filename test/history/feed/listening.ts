import { createParser, type EventSourceMessage } from 'eventsource-parser'
import { systemClock } from '../../../src/clock.js'
import type { FeedEvent } from '../../../src/history/feed/feed-event.js'
import type { FeedFault, ListenRequest } from '../../../src/history/feed/feed-messages.js'
import { ListenerSet } from '../../../src/history/feed/listener-set.js'
import { digestChain } from '../../../src/journal/digest.js'
import { postgresDatabase } from '../../../src/journal/postgres.js'
import type { JournalStore } from '../../../src/journal/session.js'
import { until } from '../../journal/faulty-store.js'
import type { Teardown } from '../../postgres.js'
import type { FeedJournal } from './journal-fixture.js'

/** What a listener of a {@link Listening} has been told. */
export interface Heard {
  id: number
  position?: string
  fault?: FeedFault
  /** While false nothing more is wanted. */
  isTaking: boolean
  messages: EventSourceMessage[]
  events(): FeedEvent[]
}

/** The set of listeners without its thread, over a journal that the test writes. */
export class Listening {
  /** Statements that have read chunks, by the seq after which they began. */
  readonly reads: number[] = []
  readonly troubles: string[] = []
  readonly #set: ListenerSet
  readonly #heard = new Map<number, Heard & { feed(text: string): void }>()
  #nextId = 1

  constructor(t: Teardown, { connectionString, store }: FeedJournal) {
    const { reads } = this
    const counted: JournalStore = {
      async open() {
        const session = await store.open()
        return {
          ...session,
          readHead: (stream) => session.readHead(stream),
          readChunks: (stream, afterSeq, toSeq) => {
            reads.push(afterSeq)
            return session.readChunks(stream, afterSeq, toSeq)
          },
          close: () => session.close(),
        }
      },
    }
    this.#set = new ListenerSet({
      database: postgresDatabase(connectionString, 10_000),
      ...{ store: counted, journal: counted, chain: digestChain(), clock: systemClock },
      tell: (news) => {
        if ('trouble' in news) this.troubles.push(news.trouble)
        else if ('began' in news) {
          const heard = this.#of(news.began)
          heard.position = news.position
          this.goOn(heard)
        } else if ('failed' in news) this.#of(news.failed).fault = news.fault
        else if ('text' in news) {
          const heard = this.#of(news.text)
          heard.position = news.position
          heard.feed(new TextDecoder().decode(news.bytes))
          if (heard.isTaking) this.goOn(heard)
        }
      },
    })
    t.teardown(() => {
      for (const heard of this.#heard.values()) this.leave(heard)
    })
  }

  /** Resolves when the listener has begun, or has been refused. */
  async listen(request: Partial<ListenRequest>, isTaking = true): Promise<Heard> {
    const messages: EventSourceMessage[] = []
    const parser = createParser({ onEvent: (message) => messages.push(message) })
    const heard = {
      ...{ id: this.#nextId++, isTaking, messages },
      feed: (text: string) => parser.feed(text),
      events: () =>
        messages.filter(({ event }) => event !== 'position').map(({ data }) => JSON.parse(data)),
    }
    const known: Heard & { feed(text: string): void } = heard
    this.#heard.set(heard.id, known)
    this.#set.receive({ listen: heard.id, request: { tenant: 4_000_000_000, ...request } })
    await until(() => known.position !== undefined || known.fault !== undefined)
    return known
  }

  goOn(heard: Heard): void {
    if (heard.isTaking) this.#set.receive({ want: heard.id })
  }

  leave({ id }: Heard): void {
    this.#set.receive({ leave: id })
  }

  #of(id: number) {
    const heard = this.#heard.get(id)
    if (heard === undefined) throw new Error(`nobody listens as ${id}`)
    return heard
  }
}
