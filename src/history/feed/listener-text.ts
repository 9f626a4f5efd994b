import { Readable } from 'node:stream'
import type { Clock, Timer } from '../../clock.js'

export interface ListenerTextParts {
  clock: Pick<Clock, 'schedule' | 'monotonic'>
  /** When nothing has been said for so long, a comment is. */
  heartbeatMs: number
  /** Who takes nothing for so long, although there is something, is cut off. */
  stallMs: number
  /** More is wanted; asked once until something comes. */
  onWant(): void
  onCutOff(): void
  /** It has ended, for whatever reason. */
  onClose(): void
}

/** So much waits for a receiver in this process, and one piece more. */
const waitingBytesMax = 128 * 1024
/** Looks at a receiver within the time after which it is cut off. */
const looks = 4

/**
 * What one listener is sent, as its response reads it. It asks for more only when there is room, so
 * that a receiver that hangs costs what waits here and in the socket, and that only for a while.
 */
export class ListenerText extends Readable {
  readonly #parts: ListenerTextParts
  readonly #tickMs: number
  #timer: Timer | undefined
  #isWanting = false
  #isFinished = false
  #pushedBytes = 0
  #pushedAtMs: number
  #takenBytes = 0
  #takenAtMs: number

  constructor(parts: ListenerTextParts) {
    super({ highWaterMark: waitingBytesMax })
    this.#parts = parts
    this.#tickMs = Math.max(1, Math.floor(Math.min(parts.heartbeatMs, parts.stallMs) / looks))
    this.#pushedAtMs = parts.clock.monotonic()
    this.#takenAtMs = this.#pushedAtMs
  }

  /** Whether it has asked for something that has not come. */
  get isWanting(): boolean {
    return this.#isWanting
  }

  /** Text that was asked for. */
  deliver(bytes: Uint8Array): void {
    this.#isWanting = false
    this.#say(bytes)
  }

  /** Its last words; what waits before them is still sent. */
  finish(text: string): void {
    if (this.destroyed || this.#isFinished) return
    this.#say(Buffer.from(text))
    this.#isFinished = true
    this.push(null)
  }

  /** Its first words; from now on it is looked after. */
  begin(text: string): void {
    this.#say(Buffer.from(text))
    this.#timer = this.#nextLook()
  }

  override _read(): void {
    if (this.#isWanting || this.#isFinished) return
    this.#isWanting = true
    this.#parts.onWant()
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    this.#timer?.cancel()
    this.#parts.onClose()
    done(error)
  }

  #say(bytes: Uint8Array): void {
    if (this.destroyed || this.#isFinished) return
    this.#pushedBytes += bytes.length
    this.#pushedAtMs = this.#parts.clock.monotonic()
    this.push(bytes)
  }

  #nextLook(): Timer {
    return this.#parts.clock.schedule(this.#tickMs, () => {
      this.#look()
      if (!this.destroyed) this.#timer = this.#nextLook()
    })
  }

  #look(): void {
    const { clock, heartbeatMs, stallMs, onCutOff } = this.#parts
    const now = clock.monotonic()
    const taken = this.#pushedBytes - this.readableLength
    if (taken > this.#takenBytes || this.readableLength === 0) {
      this.#takenBytes = taken
      this.#takenAtMs = now
    }
    if (now - this.#takenAtMs >= stallMs) {
      onCutOff()
      this.destroy()
    } else if (this.readableLength === 0 && now - this.#pushedAtMs > heartbeatMs - this.#tickMs) {
      this.#say(Buffer.from(':\n\n'))
    }
  }
}
