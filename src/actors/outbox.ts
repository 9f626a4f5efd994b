import { FrameWriter } from './frame.js'

/**
 * What waits to leave a shard for one receiver, by what it rests on: nothing more, the batch in
 * flight, the open batch. Nothing leaves before all that it rests on is durable.
 *
 *     open ──batch sent──▶ in flight ──batch committed──▶ ready ──▶ receiver
 */
export class Outbox {
  readonly ready = new FrameWriter()
  inFlight = new FrameWriter()
  open = new FrameWriter()

  /** The open batch has been sent. */
  batchSent(): void {
    const empty = this.inFlight
    this.inFlight = this.open
    this.open = empty
  }

  /** The batch in flight is durable. */
  batchCommitted(): void {
    this.ready.append(this.inFlight)
  }

  get waitingBytes(): number {
    return this.inFlight.byteLength + this.open.byteLength
  }
}
