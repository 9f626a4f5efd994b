import { closeSync, fdatasyncSync, openSync, readFileSync, rmSync, writeSync } from 'node:fs'
import { join, resolve } from 'node:path'

const BLOCK_BYTES = 8192
const SAMPLES = 200

export interface Disk {
  /** Such as ext4, from the mount that holds the folder; `unknown` without /proc. */
  fileSystem: string
  /** Milliseconds to overwrite 8 KB and fdatasync, as Postgres does at each commit: median. */
  flushMs: number
  flushP95Ms: number
}

/** Measures the disk below `directory`. */
export function measureDisk(directory: string): Disk {
  const samples = timeFlushes(join(directory, 'flush-time'))
  samples.sort((one, other) => one - other)
  return {
    fileSystem: fileSystemOf(directory),
    flushMs: samples[SAMPLES / 2],
    flushP95Ms: samples[Math.floor(SAMPLES * 0.95)],
  }
}

function timeFlushes(path: string): number[] {
  const file = openSync(path, 'w')
  try {
    // WAL files exist in full before they are written to, and a flush of an overwritten block is
    // cheaper than one that must also make the file longer.
    writeSync(file, Buffer.alloc(BLOCK_BYTES * SAMPLES))
    fdatasyncSync(file)
    const block = Buffer.alloc(BLOCK_BYTES, 1)
    return Array.from({ length: SAMPLES }, (_, index) => {
      const started = performance.now()
      writeSync(file, block, 0, BLOCK_BYTES, index * BLOCK_BYTES)
      fdatasyncSync(file)
      return performance.now() - started
    })
  } finally {
    closeSync(file)
    rmSync(path)
  }
}

function fileSystemOf(directory: string): string {
  const path = resolve(directory)
  let best = { point: '', type: 'unknown' }
  try {
    for (const line of readFileSync('/proc/mounts', 'utf8').split('\n')) {
      const [, point, type] = line.split(' ')
      if (!point || point.length < best.point.length) continue
      if (point === '/' || path === point || path.startsWith(`${point}/`)) best = { point, type }
    }
  } catch {
    // Not Linux; the type stays unknown.
  }
  return best.type
}
