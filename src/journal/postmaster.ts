import { execFile } from 'node:child_process'
import { readFile, realpath } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { promisify } from 'node:util'

/**
 * What the file postmaster.pid of a data folder says. `server`: that process is the Postgres of
 * this folder. `foreign`: the number now belongs to something else, or to a zombie that nobody
 * waits for, so that the file is stale although the process seems to be alive.
 */
export interface Postmaster {
  kind: 'server' | 'foreign'
  pid: number
  /** Undefined while the server has not written it yet. */
  port: number | undefined
  status: 'starting' | 'ready' | 'stopping'
}

/** Reads postmaster.pid; undefined when there is none or its process is gone. */
export async function findPostmaster(data: string): Promise<Postmaster | undefined> {
  const text = await readFile(join(data, 'postmaster.pid'), 'utf8').catch(() => '')
  const lines = text.split('\n').map((line) => line.trim())
  const pid = Number(lines[0])
  if (!Number.isSafeInteger(pid) || pid <= 0) return undefined
  const kind = await identify(pid, data)
  if (kind === 'gone') return undefined
  const port = Number(lines[3]) || undefined
  const word = lines[7]
  const status = word === 'ready' || word === 'stopping' ? word : 'starting'
  return { kind, pid, port, status }
}

/** Whether the process is the postmaster of the data folder, another process, or none at all. */
export async function identify(pid: number, data: string): Promise<'server' | 'foreign' | 'gone'> {
  if (!isAlive(pid)) return 'gone'
  const words = await commandLine(pid)
  if (words === undefined) return isAlive(pid) ? 'server' : 'gone'
  // Only a postmaster keeps its command line; its children show `postgres: checkpointer` and such.
  if (basename(words[0] ?? '') !== 'postgres') return 'foreign'
  const folder = words[words.indexOf('-D') + 1]
  if (folder?.startsWith('/') !== true) return 'server'
  return (await samePath(folder, data)) ? 'server' : 'foreign'
}

export async function samePath(one: string, other: string): Promise<boolean> {
  const [left, right] = await Promise.all(
    [one, other].map((path) => realpath(path).catch(() => path)),
  )
  return left === right
}

/** Whether a process of that number exists; a zombie counts. */
export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM'
  }
}

/** The words of a command line, empty for a zombie; undefined when the system does not tell. */
async function commandLine(pid: number): Promise<string[] | undefined> {
  if (process.platform === 'linux') {
    const text = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => undefined)
    return text?.split('\0')
  }
  // ps joins the words with spaces; our own arguments begin with -D and the folder (see launch).
  const listed = await promisify(execFile)('ps', ['-p', String(pid), '-o', 'args=']).catch(
    () => undefined,
  )
  const parts = listed?.stdout.trim().match(/^(.*?\/?postgres) -D (.*?)(?: -[cp] .*)?$/)
  return parts ? [parts[1] ?? '', '-D', parts[2] ?? ''] : listed?.stdout.trim().split(' ')
}
