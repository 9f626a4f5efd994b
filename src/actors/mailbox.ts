import { batchCountWord, CommandKind, commandBytes } from './command.js'
import { frameHeaderWords, frameNumber } from './frame.js'

/** A frame of commands that wait. */
interface WaitingFrame {
  words: Uint32Array
  /** Word of the next command. */
  at: number
  /** On the monotonic clock. */
  arrivedAt: number
}

/** Commands that a shard has been sent and has not carried out yet, in their order. */
export class Mailbox {
  readonly #frames: WaitingFrame[] = []
  /** Commands that wait; an item of a batch counts as one. */
  commands = 0

  get isEmpty(): boolean {
    return this.#frames.length === 0
  }

  put(frame: ArrayBuffer, arrivedAt: number): void {
    this.commands += frameNumber(frame)
    this.#frames.push({ words: new Uint32Array(frame), at: frameHeaderWords, arrivedAt })
  }

  /** Takes the next command: `execute` carries it out and returns the word after it. */
  next(execute: (words: Uint32Array, at: number) => number): void {
    const frame = this.#frames[0]
    const { words, at } = frame
    const commands = isBatch(words, at) ? words[at + batchCountWord] + 1 : 1
    frame.at = execute(words, at)
    this.commands -= commands
    if (isFinished(frame)) this.#frames.shift()
  }

  /**
   * Takes the frames that have waited since `arrivedBefore`, and gives each command in them to
   * `refuse`, with all its items if it is a batch. Returns the number of frames.
   */
  takeOverdue(
    arrivedBefore: number,
    refuse: (words: Uint32Array, at: number, items: readonly number[]) => void,
  ): number {
    let taken = 0
    while (!this.isEmpty && this.#frames[0].arrivedAt <= arrivedBefore) {
      const frame = this.#frames[0]
      while (!isFinished(frame)) this.#refuseNext(frame, refuse)
      this.#frames.shift()
      taken += 1
    }
    return taken
  }

  #refuseNext(
    frame: WaitingFrame,
    refuse: (words: Uint32Array, at: number, items: readonly number[]) => void,
  ): void {
    const { words, at } = frame
    const count = isBatch(words, at) ? words[at + batchCountWord] : 0
    const items: number[] = []
    frame.at += commandBytes(words, at) / 4
    for (let index = 0; index < count; index++) {
      items.push(frame.at)
      frame.at += commandBytes(words, frame.at) / 4
    }
    this.commands -= count + 1
    refuse(words, at, items)
  }
}

function isBatch(words: Uint32Array, at: number): boolean {
  return (words[at] & 0xff) === CommandKind.batch
}

function isFinished({ words, at }: WaitingFrame): boolean {
  return at >= words.length || (words[at] & 0xff) === 0
}
