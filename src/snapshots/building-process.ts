import { execFile } from 'node:child_process'
import { readlinkSync } from 'node:fs'
import { readFile, readlink } from 'node:fs/promises'
import { hostname } from 'node:os'
import { promisify } from 'node:util'

/** The thread that builds a snapshot, so that another one can tell whether it still lives. */
export interface Builder {
  /** `<pid>/task/<thread>` on Linux; elsewhere a thread is not told from its process: `<pid>`. */
  thread: string
  /** Where these numbers mean this thread: a running system, and a namespace of it. */
  place: string
  /** When it started, in whatever unit the system has: numbers are used again. */
  start: string
}

/** The thread that calls. */
export async function thisBuilder(): Promise<Builder> {
  // Synchronously, because any other way another thread is asked for its number.
  const thread = isLinux ? readlinkSync('/proc/thread-self') : String(process.pid)
  return { thread, place: await thisPlace(), start: (await startOf(thread)) ?? '' }
}

/**
 * Whether a builder lives; undefined if that cannot be told from here. A process may well outlive
 * the thread in which it built, which has ended for want of memory, say.
 */
export async function isAlive(builder: Builder): Promise<boolean | undefined> {
  if (builder.place !== (await thisPlace())) return undefined
  return (await startOf(builder.thread)) === builder.start
}

/** Reads what `thisBuilder` gave; undefined if it is anything else, such as half of it. */
export function parseBuilder(text: string): Builder | undefined {
  try {
    const { thread, place, start } = JSON.parse(text) as Record<keyof Builder, unknown>
    if (typeof thread !== 'string' || !/^\d+(\/task\/\d+)?$/.test(thread)) return undefined
    if (typeof place !== 'string' || typeof start !== 'string') return undefined
    return { thread, place, start }
  } catch {
    return undefined
  }
}

const isLinux = process.platform === 'linux'

/** Two containers may share a folder, a host name and a number, but not the namespace of numbers. */
async function thisPlace(): Promise<string> {
  if (!isLinux) return hostname()
  const [boot, namespace] = await Promise.all([
    readFile('/proc/sys/kernel/random/boot_id', 'utf8'),
    readlink('/proc/self/ns/pid'),
  ])
  return `${boot.trim()} ${namespace}`
}

/** Undefined if there is no such thread, or only what is left of it until its parent asks. */
async function startOf(thread: string): Promise<string | undefined> {
  if (!isLinux) {
    const listed = await promisify(execFile)('ps', ['-p', thread, '-o', 'lstart=']).catch(
      () => undefined,
    )
    return listed?.stdout.trim()
  }
  const text = await readFile(`/proc/${thread}/stat`, 'utf8').catch(() => '')
  // The name in the second field may itself contain blanks and brackets; the start is field 22.
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ')
  return text === '' || fields[0] === 'Z' || fields[0] === 'X' ? undefined : fields[19]
}
