import { rename, rm } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { isThere, syncFolder, unlessMissing } from './snapshot-files.js'
import { isSnapshotId } from './snapshot-name.js'

const removedSuffix = '.removed'

/** Whether a folder of this name is one that was being removed. */
export function isRemovedFolder(name: string): boolean {
  return name.endsWith(removedSuffix) && isSnapshotId(basename(name, removedSuffix))
}

/** Removes a snapshot in one step, as others and a crash see it; one that is not there is no error. */
export async function removeFolder(folder: string): Promise<void> {
  const aside = folder + removedSuffix
  if ((await unlessMissing(rename(folder, aside).then(() => true))) === undefined) return
  await syncFolder(dirname(folder))
  await rm(aside, { recursive: true, force: true })
}

/**
 * Removes what a builder has left, unless it has finished after all; resolves with whether anything
 * was removed.
 */
export async function removeUnlessFinished(folder: string): Promise<boolean> {
  const aside = folder + removedSuffix
  if ((await unlessMissing(rename(folder, aside).then(() => true))) === undefined) return false
  // Now nothing can be finished in it, so that what is asked once stays so.
  if (await isThere(join(aside, 'manifest'))) {
    await rename(aside, folder)
    return false
  }
  await rm(aside, { recursive: true, force: true })
  return true
}
