import { SnapshotFault } from '../../src/snapshots/manifest.js'
import type { SnapshotName, SnapshotStore } from '../../src/snapshots/store.js'
import { below } from '../actors/random.js'
import type { Scheduler, Thread } from './scheduler.js'

interface Shelved extends SnapshotName {
  blocks: Buffer[]
  /** Undefined while it is being built, and for ever if its builder died. */
  manifest: Buffer | undefined
}

/** Where the processes of a world keep their snapshots; it outlives them, and loses bits. */
export class SnapshotShelf {
  readonly #scheduler: Scheduler
  readonly #random: () => number
  readonly #snapshots: Shelved[] = []
  #awayUntilMs = 0

  constructor(scheduler: Scheduler, random: () => number) {
    this.#scheduler = scheduler
    this.#random = random
  }

  /** The shelf as one thread reaches it. */
  storeFor(thread: Thread): SnapshotStore {
    const after = <T>(work: () => T) => this.#after(thread, work)
    return {
      list: (bookId) => after(() => this.#list(bookId)),
      begin: (name) => after(() => this.#begin(name, after)),
      readBlock: (name, number) => after(() => this.#read(name, number)),
      remove: (name) => after(() => this.#remove(name)),
      // What is left half done is in nobody's way here.
      sweep: () => after(() => 0),
      close: () => Promise.resolve(),
    }
  }

  /** Nothing can be stored or read for a while. */
  away(forMs: number): void {
    this.#awayUntilMs = this.#scheduler.nowMs + forMs
  }

  heal(): void {
    this.#awayUntilMs = 0
  }

  /** Flips a bit in the newest snapshot; returns of what, or undefined if there is none. */
  damage(): 'manifest' | 'block' | undefined {
    const newest = this.#snapshots.findLast(({ manifest }) => manifest !== undefined)
    if (newest?.manifest === undefined) return undefined
    const isManifest = this.#random() < 0.3 || newest.blocks.length === 0
    const block = below(this.#random, Math.max(1, newest.blocks.length))
    const bytes = Buffer.from(isManifest ? newest.manifest : newest.blocks[block])
    // Not the version of a manifest: a newer one is refused, and that for good reason.
    const at = isManifest
      ? 12 + below(this.#random, bytes.length - 12)
      : below(this.#random, bytes.length)
    bytes[at] ^= 1 << below(this.#random, 8)
    if (isManifest) newest.manifest = bytes
    else newest.blocks[block] = bytes
    return isManifest ? 'manifest' : 'block'
  }

  #after<T>(thread: Thread, work: () => T): Promise<T> {
    return new Promise((resolve, reject) => {
      thread.after(0.2 + this.#random() * 3, () => {
        try {
          if (this.#scheduler.nowMs < this.#awayUntilMs)
            throw new Error('the shelf is out of reach')
          resolve(work())
        } catch (error) {
          reject(error)
        }
      })
    })
  }

  #list(bookId: string) {
    return this.#snapshots
      .flatMap(({ manifest, ...name }) =>
        manifest !== undefined && name.bookId === bookId ? [{ ...name, manifest }] : [],
      )
      .sort((one, other) => (one.id < other.id ? 1 : -1))
  }

  #begin(name: SnapshotName, after: <T>(work: () => T) => Promise<T>) {
    const { bookId, id } = name
    const shelved: Shelved = { bookId, id, blocks: [], manifest: undefined }
    this.#snapshots.push(shelved)
    return {
      put: (number: number, bytes: Buffer) =>
        after(() => {
          shelved.blocks[number] = Buffer.from(bytes)
        }),
      finish: (manifest: Buffer) =>
        after(() => {
          shelved.manifest = Buffer.from(manifest)
        }),
      abandon: () => after(() => this.#remove(name)),
    }
  }

  #read({ id }: SnapshotName, number: number): Buffer {
    const bytes = this.#snapshots.find((shelved) => shelved.id === id)?.blocks[number]
    if (bytes === undefined) throw new SnapshotFault('damaged_snapshot', 'there is no such block')
    return bytes
  }

  #remove({ id }: SnapshotName): void {
    const index = this.#snapshots.findIndex((shelved) => shelved.id === id)
    if (index >= 0) this.#snapshots.splice(index, 1)
  }
}
