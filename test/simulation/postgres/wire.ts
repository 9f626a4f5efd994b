import { skewed } from '../choices.js'
import type { Thread } from '../scheduler.js'
import type { Backend } from './backend.js'
import type { Server } from './server.js'
import { ServerError } from './server-error.js'
import type { Answer, Message } from './session.js'
import { lateMs, type StrikeEffect } from './strikes.js'
import type { JournalRow } from './tables.js'

/** The client's end of a connection. */
export interface ClientEnd {
  readonly name: string
  onReady(): void
  /** Some of the rows of a COPY TO. */
  onRows(rows: readonly JournalRow[]): void
  onAnswer(answer: Answer): void
  onWarning(code: string): void
  /** The connection is of no use any more. */
  onLost(error: Error): void
}

/** A client that has sent something hears of a silent link when the kernel gives up (tcp_retries2). */
const silenceMsMax = 925_000

/** A server sends rows as they come, so many at a time; long answers in so many pieces. */
const pieceRowsMin = 8
const piecesMax = 8

/**
 * One connection between a thread and the server: what is sent arrives in order, after a while. A
 * closed or dead client does not take back what it has sent.
 */
export class Wire {
  readonly #server: Server
  readonly #client: ClientEnd
  readonly #thread: Thread
  readonly #random: () => number
  #backend: Backend | undefined
  #lastToServerMs = 0
  #lastToClientMs = 0
  /** Nothing that is sent arrives any more, in either direction. */
  #isSilent = false
  #clientHasClosed = false
  /** Messages that have not arrived yet. */
  #onTheWay = 0

  constructor(server: Server, client: ClientEnd, thread: Thread, random: () => number) {
    this.#server = server
    this.#client = client
    this.#thread = thread
    this.#random = random
  }

  get isIdle(): boolean {
    const phase = this.#backend?.phase ?? 'idle'
    return this.#onTheWay === 0 && (this.#backend?.isGone !== false || phase === 'idle')
  }

  /** Whether nothing can come of this connection any more. */
  get isOver(): boolean {
    return this.#onTheWay === 0 && this.#clientHasClosed && this.#backend?.isGone !== false
  }

  /** Milliseconds that a statement takes without waiting. */
  workMs(): number {
    return skewed(this.#random, 0.02, 1)
  }

  /** The client asks for a connection. */
  dial(): void {
    const { strikes } = this.#server
    const strike =
      strikes.at(['connect'], 'on the way', isNotStandby) ??
      strikes.at(['connect'], 'half arrived', isNotStandby)
    if (strike === 'half-open') this.fallSilent()
    const hangsForMs = this.#server.conditions.hangsForMs()
    this.#toServer(hangsForMs + (strike === 'late' ? lateMs(this.#random) : 0), () => {
      if (strike === 'error') this.#lose(new ServerError('53300', 'too many clients already'))
      else if (strike === 'cut') this.#lose(reset())
      else this.#accept(strike)
    })
  }

  #accept(strike: StrikeEffect | undefined): void {
    if (this.#server.conditions.refuses()) {
      this.#lose(Object.assign(new Error('connect ECONNREFUSED'), { code: 'ECONNREFUSED' }))
      return
    }
    this.#backend = this.#server.startBackend(this.#client.name, this)
    if (strike === 'terminate') this.#backend.terminate()
    const late = this.#server.strikes.at(['connect'], 'before the answer', isNotStandby)
    if (late === 'cut') this.cut()
    if (late === 'half-open') this.fallSilent()
    if (late === 'terminate' || late === 'error') this.#backend.terminate()
    // The log-in takes a few messages to and fro.
    const logInMs = skewed(this.#random, 1, 20)
    this.#toClient(logInMs + (late === 'late' ? lateMs(this.#random) : 0), () =>
      this.#client.onReady(),
    )
  }

  /** The client sends a message. */
  request(message: Message): void {
    const { strikes } = this.#server
    const onTheWay = strikes.at(message.kinds, 'on the way', isNotStandby)
    const half =
      onTheWay === undefined ? strikes.at(message.kinds, 'half arrived', isNotStandby) : undefined
    if (half !== undefined && message.rows.length > 0) {
      this.#requestHalf(message, half)
      return
    }
    // Half of a message without rows is as good as nothing of it.
    const strike = onTheWay ?? half
    if (strike === 'cut') this.cut()
    else if (strike === 'half-open') this.fallSilent()
    else {
      if (strike === 'error') message.failure = new ServerError('53100', 'no space left on device')
      this.#toServer(strike === 'late' ? lateMs(this.#random) : 0, () => {
        if (strike === 'terminate') this.#backend?.terminate()
        this.#backend?.receive(message)
      })
    }
  }

  #requestHalf(message: Message, strike: StrikeEffect): void {
    message.arrived = Math.floor(this.#random() * message.rows.length)
    message.failsAfterItsRows = strike === 'error'
    this.#toServer(0, () => this.#backend?.receive(message))
    if (strike === 'cut') this.cut()
    else if (strike === 'half-open') this.fallSilent()
    else if (strike === 'terminate') this.#toServer(0, () => this.#backend?.terminate())
    else {
      const heldMs = strike === 'late' ? lateMs(this.#random) : 0
      this.#toServer(heldMs, () => this.#backend?.receiveRest(message))
    }
  }

  /** The client closes, or its process is dead. */
  close(): void {
    if (this.#clientHasClosed) return
    this.#clientHasClosed = true
    this.#toServer(0, () => this.#backend?.receiveEnd())
  }

  /** The client sees a reset at once; the server has what has been sent so far. */
  cut(): void {
    this.#thread.after(0, () => this.#client.onLost(reset()))
    this.close()
  }

  fallSilent(): void {
    if (this.#isSilent) return
    this.#isSilent = true
    this.#thread.after(silenceMsMax, () =>
      this.#client.onLost(Object.assign(new Error('read ETIMEDOUT'), { code: 'ETIMEDOUT' })),
    )
  }

  answer(answer: Answer, heldMs: number): void {
    this.#sendRows(answer, 1)
    this.#toClient(heldMs, () => this.#client.onAnswer(answer))
  }

  /** The connection breaks in the middle of an answer. */
  breakOff(answer: Answer): void {
    this.#sendRows(answer, this.#random())
    this.#lose(reset())
    this.close()
  }

  /** Sends rows in pieces, between which the client has time for other things. */
  #sendRows({ outcomes }: Answer, share: number): void {
    const rows = outcomes[0]?.copied ?? []
    const count = Math.floor(rows.length * share)
    const pieceRows = Math.max(pieceRowsMin, Math.ceil(count / piecesMax))
    for (let from = 0; from < count; from += pieceRows) {
      const piece = rows.slice(from, Math.min(from + pieceRows, count))
      this.#toClient(0, () => this.#client.onRows(piece))
    }
  }

  notice(code: string): void {
    this.#toClient(0, () => this.#client.onWarning(code))
  }

  /** The server closes; with `fatal` it says why before. */
  hangUpByServer(fatal: ServerError | undefined): void {
    this.#lose(fatal ?? new Error('Connection terminated unexpectedly'))
  }

  resetByServer(): void {
    this.#lose(reset())
  }

  #lose(error: Error): void {
    this.#toClient(0, () => this.#client.onLost(error))
  }

  #toServer(heldMs: number, task: () => void): void {
    if (this.#isSilent) return
    const { scheduler } = this.#server
    this.#lastToServerMs = this.#arrivalMs(this.#lastToServerMs, heldMs)
    this.#onTheWay += 1
    scheduler.after(this.#lastToServerMs - scheduler.nowMs, () => {
      this.#onTheWay -= 1
      task()
    })
  }

  #toClient(heldMs: number, task: () => void): void {
    const { nowMs } = this.#server.scheduler
    this.#lastToClientMs = this.#arrivalMs(this.#lastToClientMs, heldMs)
    this.#thread.after(this.#lastToClientMs - nowMs, () => {
      if (!this.#isSilent) task()
    })
  }

  /** Not before what was sent before it. */
  #arrivalMs(lastMs: number, heldMs: number): number {
    // Most take as long as a hop in a machine room, some as long as a packet that is sent again.
    const latencyMs = this.#random() < 0.01 ? 50 * this.#random() : skewed(this.#random, 0.05, 2)
    return Math.max(lastMs, this.#server.scheduler.nowMs + latencyMs + heldMs)
  }
}

function isNotStandby(effect: StrikeEffect): boolean {
  return effect !== 'standby cancelled'
}

function reset(): Error {
  return Object.assign(new Error('read ECONNRESET'), { code: 'ECONNRESET' })
}
