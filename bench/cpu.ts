import { readFileSync } from 'node:fs'

/** Linux counts a process's time in ticks of 1/100 s on every machine that Node runs on. */
const TICKS_PER_SECOND = 100

interface Times {
  own: number
  reapedChildren: number
}

/** CPU seconds of a process with all of its threads; NaN where there is no /proc. */
export function cpuSecondsOfProcess(pid: number): number {
  return readTimes(pid)?.own ?? Number.NaN
}

/** CPU seconds of a process's first thread, which in Node runs the event loop and HTTP. */
export function cpuSecondsOfMainThread(pid: number): number {
  return readTimes(`${pid}/task/${pid}`)?.own ?? Number.NaN
}

/**
 * CPU seconds of a process, its children, and those children that it has already reaped: Postgres
 * is a postmaster with a child for each connection.
 */
export function cpuSecondsOfFamily(pid: number): number {
  const parent = readTimes(pid)
  if (!parent) return Number.NaN
  let seconds = parent.own + parent.reapedChildren
  for (const child of childrenOf(pid)) seconds += readTimes(child)?.own ?? 0
  return seconds
}

function childrenOf(pid: number): number[] {
  const text = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim()
  return text === '' ? [] : text.split(' ').map(Number)
}

/** `process` is a folder below /proc: that of a process, or of one of its threads. */
function readTimes(process: number | string): Times | undefined {
  try {
    const stat = readFileSync(`/proc/${process}/stat`, 'utf8')
    // The command's name may hold spaces and brackets; the fields are counted from behind it.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    const [user, system, childUser, childSystem] = fields.slice(11, 15).map(Number)
    return {
      own: (user + system) / TICKS_PER_SECOND,
      reapedChildren: (childUser + childSystem) / TICKS_PER_SECOND,
    }
  } catch {
    // The process has ended, or this is not Linux.
    return undefined
  }
}
