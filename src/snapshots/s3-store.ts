import { SnapshotFault } from './manifest.js'
import { type S3Address, S3Bucket } from './s3-bucket.js'
import {
  blockName,
  checkedBookId,
  checkedName,
  isSnapshotId,
  snapshotTimeMs,
} from './snapshot-name.js'
import type { SnapshotName, SnapshotSink, SnapshotStore, StoredSnapshot } from './store.js'

/** A snapshot is built within so long; what has no manifest after that is swept. */
const buildMsMax = 24 * 3_600_000
/** A builder stops that much earlier: clocks differ, and a sweep must never meet it. */
const marginMs = 3_600_000

/** Objects that are removed at the same time. */
const removalsMax = 8

/**
 * Snapshots in a bucket, as `<prefix>/<bookId>/<id>/000000.block` … and, last, `manifest`. Nothing
 * tells there whether a builder lives, so that time decides: a snapshot without a manifest is swept
 * when it was begun more than a day ago, and cannot be finished any more an hour before that.
 *
 * A call's requests are bounded one by one: none takes longer than `timeoutMs` milliseconds, its
 * repetitions included. Errors have the service's own code, or `http_<status>`, `no_answer` or
 * `timeout`. The credentials must allow reading, writing, deleting and listing. Throws a TypeError
 * for an endpoint, bucket or prefix that cannot be part of an address.
 */
export function s3SnapshotStore(address: S3Address & { prefix: string }): SnapshotStore {
  return new S3SnapshotStore(new S3Bucket(address), checkedPrefix(address.prefix))
}

class S3SnapshotStore implements SnapshotStore {
  readonly #bucket: S3Bucket
  /** In front of the book, with a slash at its end unless it is empty. */
  readonly #prefix: string

  constructor(bucket: S3Bucket, prefix: string) {
    this.#bucket = bucket
    this.#prefix = prefix
  }

  async list(bookId: string): Promise<StoredSnapshot[]> {
    const book = checkedBookId(bookId)
    const snapshots: StoredSnapshot[] = []
    for (const id of (await this.#ids(book)).reverse()) {
      const manifest = await this.#bucket.get(`${this.#folder({ bookId: book, id })}manifest`)
      if (manifest !== undefined) snapshots.push({ bookId: book, id, manifest })
    }
    return snapshots
  }

  /** Rejects if there is a snapshot of this id, and, before anything is built, without access. */
  async begin(name: SnapshotName): Promise<SnapshotSink> {
    const folder = this.#folder(name)
    if (await this.#bucket.has(`${folder}manifest`)) {
      throw new Error(`there is a snapshot ${name.id} already`)
    }
    return new S3Sink(this.#bucket, folder, snapshotTimeMs(checkedName(name).id))
  }

  async readBlock(name: SnapshotName, number: number): Promise<Buffer> {
    const bytes = await this.#bucket.get(this.#folder(name) + blockName(number))
    if (bytes !== undefined) return bytes
    throw new SnapshotFault('damaged_snapshot', `snapshot ${name.id} has no ${blockName(number)}`)
  }

  async remove(name: SnapshotName): Promise<void> {
    const folder = this.#folder(name)
    // One that is being built does not exist yet.
    if (await this.#bucket.has(`${folder}manifest`)) await removeFolder(this.#bucket, folder)
  }

  async sweep(bookId: string): Promise<number> {
    const book = checkedBookId(bookId)
    let removed = 0
    for (const id of await this.#ids(book)) {
      if (Date.now() - snapshotTimeMs(id) <= buildMsMax) continue
      const folder = this.#folder({ bookId: book, id })
      if (await this.#bucket.has(`${folder}manifest`)) continue
      if ((await removeFolder(this.#bucket, folder)) > 0) removed += 1
    }
    return removed
  }

  async close(): Promise<void> {}

  /** In the order of their making. */
  async #ids(book: string): Promise<string[]> {
    const ids: string[] = []
    for await (const names of this.#bucket.names(`${this.#prefix}${book}/`)) {
      ids.push(...names.filter(isSnapshotId))
    }
    return ids.sort()
  }

  /** Throws before any other name than of UUIDs becomes a part of a key. */
  #folder(name: SnapshotName): string {
    const { bookId, id } = checkedName(name)
    return `${this.#prefix}${bookId}/${id}/`
  }
}

class S3Sink implements SnapshotSink {
  readonly #bucket: S3Bucket
  readonly #folder: string
  readonly #begunMs: number
  #isOver = false

  constructor(bucket: S3Bucket, folder: string, begunMs: number) {
    this.#bucket = bucket
    this.#folder = folder
    this.#begunMs = begunMs
  }

  async put(number: number, bytes: Buffer): Promise<void> {
    this.#assertBuilding()
    await this.#bucket.put(this.#folder + blockName(number), bytes)
  }

  async finish(manifest: Buffer): Promise<void> {
    this.#assertBuilding()
    if (Date.now() - this.#begunMs > buildMsMax - marginMs) {
      throw new Error(`${this.#folder} has been built for too long: a sweep may have removed it`)
    }
    await this.#bucket.put(`${this.#folder}manifest`, manifest)
    this.#isOver = true
  }

  async abandon(): Promise<void> {
    if (this.#isOver) return
    await removeFolder(this.#bucket, this.#folder)
    this.#isOver = true
  }

  #assertBuilding(): void {
    if (this.#isOver) throw new Error(`the snapshot ${this.#folder} is finished or given up`)
  }
}

/** Removes a snapshot, its manifest first; resolves with the number of objects that were listed. */
async function removeFolder(bucket: S3Bucket, folder: string): Promise<number> {
  await bucket.delete(`${folder}manifest`)
  let removed = 0
  for await (const names of bucket.names(folder)) {
    const blocks = names.filter((name) => /^\d{6}\.block$/.test(name))
    for (let first = 0; first < blocks.length; first += removalsMax) {
      const some = blocks.slice(first, first + removalsMax)
      await Promise.all(some.map((name) => bucket.delete(folder + name)))
    }
    removed += blocks.length
  }
  return removed
}

function checkedPrefix(prefix: string): string {
  if (prefix === '') return ''
  const parts = prefix.split('/')
  // An address loses parts of dots on its way, and a signature would be for another key.
  if (parts.some((part) => part === '' || part === '.' || part === '..')) {
    throw new TypeError(`${JSON.stringify(prefix)} cannot stand in front of the keys of objects`)
  }
  return `${prefix}/`
}
