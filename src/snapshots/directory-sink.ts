import { mkdir, rename, rm } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { thisBuilder } from './building-process.js'
import { removeFolder } from './removed-folder.js'
import { makeFolder, syncFolder, writeDurably } from './snapshot-files.js'
import { blockName } from './snapshot-name.js'
import type { SnapshotSink } from './store.js'

/** Begins a snapshot in `folder`; rejects with EEXIST if there is one. */
export async function beginSnapshotFolder(folder: string): Promise<SnapshotSink> {
  await makeFolder(dirname(folder))
  await mkdir(folder, { mode: 0o700 })
  try {
    const builder = JSON.stringify(await thisBuilder())
    await writeDurably(join(folder, 'builder'), Buffer.from(builder))
  } catch (error) {
    await removeFolder(folder).catch(() => undefined)
    throw error
  }
  return new DirectorySink(folder)
}

class DirectorySink implements SnapshotSink {
  readonly #folder: string
  #isOver = false

  constructor(folder: string) {
    this.#folder = folder
  }

  async put(number: number, bytes: Buffer): Promise<void> {
    this.#assertBuilding()
    await writeDurably(join(this.#folder, blockName(number)), bytes)
  }

  async finish(manifest: Buffer): Promise<void> {
    this.#assertBuilding()
    // The names of the blocks, and that of the folder, are durable before that of the manifest.
    await syncFolder(this.#folder)
    await syncFolder(dirname(this.#folder))
    const unfinished = join(this.#folder, 'manifest.new')
    await writeDurably(unfinished, manifest, 'w')
    await rename(unfinished, join(this.#folder, 'manifest'))
    await syncFolder(this.#folder)
    this.#isOver = true
    // Nobody reads it any more; one that stays does no harm.
    await rm(join(this.#folder, 'builder')).catch(() => undefined)
  }

  async abandon(): Promise<void> {
    if (this.#isOver) return
    await removeFolder(this.#folder)
    this.#isOver = true
  }

  #assertBuilding(): void {
    if (this.#isOver) throw new Error(`the snapshot in ${this.#folder} is finished or given up`)
  }
}
