import { execFile } from 'node:child_process'
import { readFile, readlink } from 'node:fs/promises'
import { hostname } from 'node:os'
import { promisify } from 'node:util'

/** The process that builds a snapshot, so that another one can tell whether it still lives. */
export interface Builder {
  pid: number
  /** Where its number means this process: a running system, and a namespace of it. */
  place: string
  /** When it started, in whatever unit the system has: numbers of processes are used again. */
  start: string
}

export async function thisBuilder(): Promise<Builder> {
  const { pid } = process
  return { pid, place: await thisPlace(), start: (await startOf(pid)) ?? '' }
}

/** Whether a builder lives; undefined if that cannot be told from here. */
export async function isAlive(builder: Builder): Promise<boolean | undefined> {
  if (builder.place !== (await thisPlace())) return undefined
  return (await startOf(builder.pid)) === builder.start
}

/** Reads what `thisBuilder` gave; undefined if it is anything else, such as half of it. */
export function parseBuilder(text: string): Builder | undefined {
  try {
    const { pid, place, start } = JSON.parse(text) as Partial<Builder>
    if (typeof pid !== 'number' || typeof place !== 'string' || typeof start !== 'string') return
    return { pid, place, start }
  } catch {
    return undefined
  }
}

/** Two containers may share a folder, a host name and a number, but not the namespace of numbers. */
async function thisPlace(): Promise<string> {
  if (process.platform !== 'linux') return hostname()
  const [boot, namespace] = await Promise.all([
    readFile('/proc/sys/kernel/random/boot_id', 'utf8'),
    readlink('/proc/self/ns/pid'),
  ])
  return `${boot.trim()} ${namespace}`
}

/** Undefined if there is no such process, or only what is left of it until its parent asks. */
async function startOf(pid: number): Promise<string | undefined> {
  if (process.platform !== 'linux') {
    const listed = await promisify(execFile)('ps', ['-p', String(pid), '-o', 'lstart=']).catch(
      () => undefined,
    )
    return listed?.stdout.trim()
  }
  const text = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '')
  // The name in the second field may itself contain blanks and brackets; the start is field 22.
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ')
  return text === '' || fields[0] === 'Z' || fields[0] === 'X' ? undefined : fields[19]
}
