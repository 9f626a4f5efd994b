import { mkdir, open, readFile, stat } from 'node:fs/promises'
import { dirname } from 'node:path'

/** Writes a file of mode 0600, with its bytes on the disk; its name is so only after `syncFolder`. */
export async function writeDurably(
  path: string,
  bytes: Buffer,
  flag: 'w' | 'wx' = 'wx',
): Promise<void> {
  const file = await open(path, flag, 0o600)
  try {
    await file.writeFile(bytes)
    await file.sync()
  } finally {
    await file.close()
  }
}

/** Makes the names in a folder durable. */
export async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, 'r')
  try {
    await folder.sync()
  } finally {
    await folder.close()
  }
}

/** Makes a folder of mode 0700 and those above it that are missing, all of them durable. */
export async function makeFolder(path: string): Promise<void> {
  const first = await mkdir(path, { recursive: true, mode: 0o700 })
  // The name of each stands in the folder above it.
  for (let each = path; ; each = dirname(each)) {
    await syncFolder(dirname(each))
    if (first === undefined || each === first) return
  }
}

/** The bytes of a file; undefined if there is none. */
export async function readIfThere(path: string): Promise<Buffer | undefined> {
  return await unlessMissing(readFile(path))
}

export async function isThere(path: string): Promise<boolean> {
  return (await unlessMissing(stat(path))) !== undefined
}

/** What `answer` resolves with; undefined if there is no such file. */
export async function unlessMissing<T>(answer: Promise<T>): Promise<T | undefined> {
  try {
    return await answer
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw error
  }
}
