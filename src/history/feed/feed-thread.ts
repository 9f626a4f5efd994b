import { Worker } from 'node:worker_threads'
import type { Clock } from '../../clock.js'
import { positionText } from './feed-listener.js'
import type { FeedFault, FromFeed, ListenRequest, ToFeed } from './feed-messages.js'
import type { FeedTask } from './feed-worker.js'
import { ListenerText } from './listener-text.js'

export interface FeedOptions {
  clock: Clock
  listenersMax: number
  heartbeatMs: number
  stallMs: number
  /** A listener whose place is not found in this time is refused. */
  beginTimeoutMs: number
  onTrouble(message: string): void
  /** The thread has ended by itself; it is started again. */
  onEnd(error: Error): void
}

export interface FeedListenerGauges {
  listeners: number
  /** Events sent to all of them, and listeners that were cut off, since the process began. */
  events: number
  cutOff: number
  /** Records that the one furthest behind has before it. */
  lagRecords: number
}

interface Seat {
  request: ListenRequest
  /** Where it is; undefined until it has begun. */
  position: string | undefined
  text: ListenerText
  settle: { begun(): void; refused(fault: FeedRefusal): void }
}

/** What EventSource waits before it connects again. */
const reconnectMs = 1000
/** After the thread has ended by itself. */
const restartMs = 1000

/**
 * Those who listen to the feed, seen from the main thread, which only passes their text on. The
 * thread that reads for them starts with the first one. It can be lost at any time: each listener
 * then goes on from the position that its last text has brought it to.
 */
export class FeedThread {
  readonly #task: FeedTask
  readonly #options: FeedOptions
  readonly #startWorker: (task: FeedTask) => Worker
  readonly #seats = new Map<number, Seat>()
  #worker: Worker | undefined
  #nextId = 1
  #isStopping = false
  #events = 0
  #cutOff = 0
  #lagRecords = 0

  /** `startWorker` is there for tests that end a thread. */
  constructor(task: FeedTask, options: FeedOptions, startWorker = startFeedWorker) {
    this.#task = task
    this.#options = options
    this.#startWorker = startWorker
  }

  get gauges(): FeedListenerGauges {
    return {
      ...{ listeners: this.#seats.size, events: this.#events, cutOff: this.#cutOff },
      lagRecords: this.#lagRecords,
    }
  }

  /**
   * The text for a new listener, which begins with its position. Rejects with {@link FeedRefusal} if
   * there are too many, if it cannot begin there, or if the journal does not answer in time.
   */
  async listen(request: ListenRequest): Promise<ListenerText> {
    const { listenersMax, beginTimeoutMs, clock } = this.#options
    if (this.#isStopping) throw new FeedRefusal('stopping', 'the server is stopping')
    if (this.#seats.size >= listenersMax) {
      throw new FeedRefusal('too_many_listeners', `${listenersMax} listeners are connected`)
    }
    const id = this.#nextId++
    const text = this.#textOf(id)
    const tooLate = new FeedRefusal('journal_unavailable', 'the journal does not answer in time')
    const begun = new Promise<void>((resolve, reject) => {
      const settle = { begun: resolve, refused: reject }
      this.#seats.set(id, { request, position: undefined, text, settle })
    })
    const timer = clock.schedule(beginTimeoutMs, () => this.#seats.get(id)?.settle.refused(tooLate))
    this.#send({ listen: id, request })
    try {
      await begun
      return text
    } catch (error) {
      text.destroy()
      throw error
    } finally {
      timer.cancel()
    }
  }

  /** Ends every listener's text, so that the server can stop; new ones are refused. */
  endAll(): void {
    this.#isStopping = true
    for (const { text, settle } of this.#seats.values()) {
      settle.refused(new FeedRefusal('stopping', 'the server is stopping'))
      text.finish('')
    }
  }

  async stop(): Promise<void> {
    this.endAll()
    await this.#worker?.terminate()
  }

  #textOf(id: number): ListenerText {
    const { clock, heartbeatMs, stallMs } = this.#options
    return new ListenerText({
      ...{ clock, heartbeatMs, stallMs },
      onWant: () => this.#send({ want: id }),
      onCutOff: () => {
        this.#cutOff += 1
      },
      onClose: () => {
        if (this.#seats.delete(id)) this.#send({ leave: id })
      },
    })
  }

  #receive(news: FromFeed): void {
    if ('text' in news) {
      const seat = this.#seats.get(news.text)
      if (seat === undefined) return
      seat.position = news.position
      this.#events += news.events
      seat.text.deliver(news.bytes)
    } else if ('began' in news) this.#began(news.began, news.position)
    else if ('failed' in news) this.#failed(news.failed, news.fault)
    else if ('lag' in news) this.#lagRecords = news.lag
    else this.#options.onTrouble(news.trouble)
  }

  #began(id: number, position: string): void {
    const seat = this.#seats.get(id)
    if (seat === undefined) return
    if (seat.position === undefined) {
      seat.position = position
      seat.text.begin(`retry: ${reconnectMs}\n${positionText(position)}`)
      seat.settle.begun()
    }
    // It may have asked the thread before this one.
    else if (seat.text.isWanting) this.#send({ want: id })
  }

  #failed(id: number, fault: FeedFault): void {
    const seat = this.#seats.get(id)
    if (seat === undefined) return
    const { code, message, kept } = fault
    if (seat.position === undefined) seat.settle.refused(new FeedRefusal(code, message, kept))
    // A new thread may find that Postgres is away, which those who are connected wait for.
    else if (code === 'journal_unavailable') this.#listenAgain(id, seat)
    else {
      const words = code === 'journal_damaged' ? message : `the position ${message}`
      const data = JSON.stringify({ code, message: words, kept })
      seat.text.finish(`event: end\ndata: ${data}\n\n`)
    }
  }

  #listenAgain(id: number, seat: Seat): void {
    this.#options.clock.schedule(restartMs, () => {
      if (!this.#seats.has(id)) return
      const after = seat.position ?? seat.request.after
      this.#send({ listen: id, request: { ...seat.request, after } })
    })
  }

  #send(message: ToFeed): void {
    // Without a thread only those who listen are told of, and then all of them, by the next one.
    if (this.#worker === undefined && !this.#isStopping && 'listen' in message) this.#start()
    this.#worker?.postMessage(message)
  }

  #start(): void {
    const worker = this.#startWorker(this.#task)
    this.#worker = worker
    worker.on('message', (news: FromFeed) => this.#receive(news))
    worker.on('error', (error) => this.#options.onEnd(error as Error))
    worker.on('exit', () => {
      this.#worker = undefined
      this.#lagRecords = 0
      for (const [id, seat] of this.#seats) this.#listenAgain(id, seat)
    })
  }
}

export function startFeedWorker(task: FeedTask): Worker {
  return new Worker(new URL('./feed-worker.js', import.meta.url), {
    workerData: task,
    name: 'feed',
  })
}

/** Why somebody cannot listen; a fault of its position goes on after the name of that. */
export class FeedRefusal extends Error {
  readonly code: FeedFault['code'] | 'too_many_listeners' | 'stopping'
  readonly kept: string | undefined

  constructor(code: FeedRefusal['code'], message: string, kept?: string) {
    super(message)
    this.code = code
    this.kept = kept
  }
}
