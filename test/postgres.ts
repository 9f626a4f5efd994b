import { execFile } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { chmod, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import { Client } from 'pg'
import type { Test } from 'tap'
import { type EmbeddedPostgres, startEmbeddedPostgres } from '../src/journal/embedded.js'
import { identify } from '../src/journal/postmaster.js'

/** What the fixture needs of a test: both `t` of a file and `t` of a test inside it have it. */
export type Teardown = Pick<Test, 'teardown'>

export interface TemporaryPostgres {
  /** Of a superuser, to the database that the others are made from. */
  connectionString: string
  /** Makes an empty database, dropped at the end of the test, and resolves with its address. */
  createDatabase(name?: string): Promise<string>
  /** Kills the postmaster and all its backends with SIGKILL. Own cluster only. */
  kill(): Promise<void>
  /**
   * Stops it and waits for its end; `fast` rolls back and says goodbye, `immediate` has the backends
   * drop everything. Own cluster only.
   */
  stop(how: 'fast' | 'immediate'): Promise<void>
  /** Starts it again after `kill` or `stop`, or after its own end, on the same port. Own cluster only. */
  start(): Promise<void>
  /** Whether the postmaster runs. Own cluster only. */
  isRunning(): Promise<boolean>
  /** Of the postmaster. Own cluster only. */
  readonly pid: number
  /** That really holds the cluster. Own cluster only. */
  readonly directory: string
}

/**
 * Gives a test a Postgres until its end. Without `own`, the server in DAYBOOK_TEST_POSTGRES is
 * used if that is set, so that the files of a run can share one. One of its own may be given a
 * `directory`, which is not removed.
 */
export async function temporaryPostgres(
  t: Teardown,
  options: { own?: boolean; settings?: Record<string, string>; directory?: string } = {},
): Promise<TemporaryPostgres> {
  const shared = process.env.DAYBOOK_TEST_POSTGRES
  if (shared && !options.own) {
    const refuse = () => {
      throw new Error('a shared Postgres is not for killing: ask for { own: true }')
    }
    return {
      connectionString: shared,
      createDatabase: (name?: string) => createDatabaseIn(t, { server: shared, name }),
      ...{ kill: refuse, stop: refuse, start: refuse, isRunning: refuse },
      get pid() {
        return refuse()
      },
      get directory() {
        return refuse()
      },
    }
  }
  const { directory = await temporaryFolder(t) } = options
  const settings = { ...options.settings, hba_file: await trustingFile(t) }
  let server: EmbeddedPostgres = await startEmbeddedPostgres({ directory, settings, log: () => {} })
  const { connectionString } = server
  t.teardown(() => server.stop())
  const data = join(server.directory, 'cluster', 'data')
  const isRunning = async () => (await identify(server.pid, data)) === 'server'
  return {
    connectionString,
    createDatabase: (name) => createDatabaseIn(undefined, { server: connectionString, name }),
    kill: () => killPostgres(server.pid, data),
    async stop(how) {
      if (how === 'fast') return await server.stop()
      process.kill(server.pid, 'SIGQUIT')
      while (await isRunning()) await sleep(5)
    },
    async start() {
      const port = Number(new URL(connectionString).port)
      server = await startEmbeddedPostgres({ directory, settings, port, log: () => {} })
    },
    isRunning,
    get pid() {
      return server.pid
    },
    directory: server.directory,
  }
}

/**
 * Lets everybody on this machine in: a password costs both sides milliseconds, and tests connect
 * some ten thousand times. That it is asked for is tested in test/journal/embedded.test.ts.
 */
async function trustingFile(t: Teardown): Promise<string> {
  const file = join(await temporaryFolder(t), 'pg_hba.conf')
  await writeFile(file, 'host all all 127.0.0.1/32 trust\n')
  // Whatever the umask is: the account of the server has to read it.
  await chmod(file, 0o644)
  return file
}

/** A folder that the account of the server can enter when the test runs as root; removed at the end. */
export async function temporaryFolder(t: Teardown): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'daybook-'))
  await chmod(folder, 0o755)
  t.teardown(() => rm(folder, { recursive: true, force: true, maxRetries: 5 }))
  return folder
}

async function createDatabaseIn(
  t: Teardown | undefined,
  target: { server: string; name: string | undefined },
): Promise<string> {
  const name = target.name ?? `test_${randomBytes(6).toString('hex')}`
  await run(target.server, `create database "${name}"`)
  // A cluster of its own goes with its folder.
  t?.teardown(() => run(target.server, `drop database if exists "${name}" with (force)`))
  const address = new URL(target.server)
  address.pathname = `/${name}`
  return address.href
}

async function run(connectionString: string, statement: string): Promise<void> {
  const client = new Client({ connectionString })
  await client.connect()
  await client.query(statement).finally(() => client.end())
}

/** Kills a postmaster and the processes it started, as a power failure would, and waits for the end. */
export async function killPostgres(pid: number, data: string): Promise<void> {
  // Stopped first: it must not start another process between the listing and the kill.
  process.kill(pid, 'SIGSTOP')
  const children = await childrenOf(pid)
  for (const each of [pid, ...children]) kill(each)
  while ((await identify(pid, data)) === 'server' || (await anyAlive(children))) await sleep(5)
}

function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error
  }
}

/** Numbers of the processes that a process has started. */
export async function childrenOf(parent: number): Promise<number[]> {
  if (process.platform !== 'linux') {
    const { stdout } = await promisify(execFile)('ps', ['-axo', 'pid=,ppid='])
    const rows = stdout.trim().split('\n')
    const pairs = rows.map((row) => row.trim().split(/\s+/).map(Number))
    return pairs.filter(([, ppid]) => ppid === parent).map(([pid]) => pid as number)
  }
  const pids = (await readdir('/proc')).map(Number).filter((pid) => pid > 0)
  const parents = await Promise.all(pids.map(async (pid) => (await processState(pid)).parent))
  return pids.filter((_, index) => parents[index] === parent)
}

async function anyAlive(pids: number[]): Promise<boolean> {
  if (process.platform !== 'linux') return false
  const states = await Promise.all(pids.map(processState))
  return states.some(({ state }) => state !== undefined && state !== 'Z' && state !== 'X')
}

async function processState(pid: number): Promise<{ state?: string; parent?: number }> {
  const text = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '')
  // The name in the second field may itself contain blanks and brackets.
  const [state, parent] = text.slice(text.lastIndexOf(')') + 2).split(' ')
  return text === '' ? {} : { state, parent: Number(parent) }
}
