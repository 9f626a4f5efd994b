import type { Dirent } from 'node:fs'
import { readdir, rm, stat } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { isAlive, parseBuilder } from './building-process.js'
import { beginSnapshotFolder } from './directory-sink.js'
import { SnapshotFault } from './manifest.js'
import { isRemovedFolder, removeFolder, removeUnlessFinished } from './removed-folder.js'
import { isThere, readIfThere, unlessMissing } from './snapshot-files.js'
import { blockName, checkedBookId, checkedName, isSnapshotId } from './snapshot-name.js'
import type { SnapshotName, SnapshotSink, SnapshotStore, StoredSnapshot } from './store.js'

/** Without a word for so long, a builder of whom nothing else is known has ended. */
const builderSilenceMsMax = 24 * 3_600_000

/**
 * Snapshots in a folder, which is made if it is missing:
 *
 * ```
 * <path>/<bookId>/<id>/builder        who builds it, until it is finished
 *                      000000.block   …
 *                      manifest       appears last, in one rename
 * <path>/<bookId>/<id>.removed/       what is being removed: renamed first, so that it goes at once
 * ```
 *
 * Files have mode 0600, folders 0700, and everything is on the disk when `finish` resolves. Errors
 * of the system carry on as they are, with their name (ENOSPC) as `code`. There are no deadlines: a
 * file system that hangs keeps its callers waiting.
 */
export function directorySnapshotStore({ path }: { path: string }): SnapshotStore {
  return new DirectorySnapshotStore(resolve(path))
}

class DirectorySnapshotStore implements SnapshotStore {
  readonly #path: string

  constructor(path: string) {
    this.#path = path
  }

  async list(bookId: string): Promise<StoredSnapshot[]> {
    const book = checkedBookId(bookId)
    const names = (await this.#entries(book)).map(({ name }) => name).filter(isSnapshotId)
    const snapshots: StoredSnapshot[] = []
    for (const id of names.sort().reverse()) {
      const manifest = await readIfThere(join(this.#path, book, id, 'manifest'))
      if (manifest !== undefined) snapshots.push({ bookId: book, id, manifest })
    }
    return snapshots
  }

  async begin(name: SnapshotName): Promise<SnapshotSink> {
    return await beginSnapshotFolder(this.#folder(name))
  }

  async readBlock(name: SnapshotName, number: number): Promise<Buffer> {
    const bytes = await readIfThere(join(this.#folder(name), blockName(number)))
    if (bytes !== undefined) return bytes
    throw new SnapshotFault('damaged_snapshot', `snapshot ${name.id} has no ${blockName(number)}`)
  }

  async remove(name: SnapshotName): Promise<void> {
    const folder = this.#folder(name)
    // One that is being built does not exist yet.
    if (await isThere(join(folder, 'manifest'))) await removeFolder(folder)
  }

  async sweep(bookId: string): Promise<number> {
    const book = checkedBookId(bookId)
    let removed = 0
    for (const { name } of await this.#entries(book)) {
      const path = join(this.#path, book, name)
      if (isSnapshotId(name)) {
        if ((await isForsaken(path)) && (await removeUnlessFinished(path))) removed += 1
      } else if (isRemovedFolder(name)) {
        await rm(path, { recursive: true, force: true })
        removed += 1
      }
    }
    return removed
  }

  async close(): Promise<void> {}

  /** Absolute; throws before any other name than of UUIDs becomes a part of it. */
  #folder(name: SnapshotName): string {
    const { bookId, id } = checkedName(name)
    return join(this.#path, bookId, id)
  }

  async #entries(book: string): Promise<Dirent[]> {
    const entries = await unlessMissing(readdir(join(this.#path, book), { withFileTypes: true }))
    return (entries ?? []).filter((entry) => entry.isDirectory())
  }
}

/**
 * Whether nobody builds a snapshot any more. A builder that can be seen from here has ended when its
 * thread has, so that one that crashes again and again does not fill the disk. Of any other, in
 * another container or on another machine that shares the folder, only time can tell: what has not
 * changed for a day is nobody's. To be wrong about it fails a build and nothing else.
 */
async function isForsaken(folder: string): Promise<boolean> {
  if (await isThere(join(folder, 'manifest'))) return false
  const builder = parseBuilder(String(await readIfThere(join(folder, 'builder'))))
  const alive = builder && (await isAlive(builder))
  if (alive !== undefined) return !alive
  const changed = await unlessMissing(stat(folder))
  return changed !== undefined && Date.now() - changed.mtimeMs > builderSilenceMsMax
}
