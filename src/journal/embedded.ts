/**
 * Starts the Postgres that comes with Daybook, or finds it running.
 *
 * It runs in a session of its own, so that Ctrl-C in a terminal reaches only Daybook, which then
 * stops it in order; and it outlives a Daybook that was killed, so that the next one reuses it.
 *
 * States: initialise (no cluster yet) → find → attach (a postmaster is there) or launch (none)
 *         → await ready → serving. When the awaited postmaster exits, back to find: another
 *         process may have been faster, or was just stopping it.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { open, readFile, rename, stat } from 'node:fs/promises'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { Client } from 'pg'
import { initialiseCluster, ROLE, serverEnvironment } from './embedded-cluster.js'
import {
  EmbeddedPostgresError,
  type PostgresHome,
  resolvePostgresHome,
  unlessCode,
} from './embedded-home.js'
import { findPostmaster, identify, samePath } from './postmaster.js'

export interface EmbeddedPostgresOptions {
  /** Made if missing. Relative to the working directory. */
  directory: string
  /** 0 or absent: any free port. A server that is reused keeps the port it has. */
  port?: number
  /** Postgres settings, as in postgresql.conf; without effect on a server that is reused. */
  settings?: Record<string, string>
  log: (line: string) => void
  /** Ends a start early; has no effect once the server is ready. */
  signal?: AbortSignal
}

export interface EmbeddedPostgres {
  /** With password: not for logs. */
  connectionString: string
  pid: number
  /** True when the server was running already. */
  reused: boolean
  /** The folder that really holds cluster/ and postgres.log. */
  directory: string
  /** Fast shutdown, also of a reused server: open transactions are rolled back. Can be repeated. */
  stop(): Promise<void>
}

const DATABASE = 'daybook'
const POLL_MS = 25
const PROGRESS_MS = 5_000
const CONNECT_MS_MAX = 5_000
/** Crash recovery replays up to max_wal_size, and fsyncs every file of the cluster. */
const READY_MS_MAX = 600_000
const STOP_MS_MAX = 600_000
/** How long we go on after failures that another process causes and that pass by themselves. */
const CONFLICT_MS_MAX = 60_000
const LOG_BYTES_MAX = 16 * 1024 * 1024
const LOG_TAIL_BYTES_MAX = 2_000

interface Start {
  options: EmbeddedPostgresOptions
  home: PostgresHome
  password: string
}

/**
 * Resolves once the server accepts connections to the database `daybook`, which may take minutes
 * after a crash. Throws EmbeddedPostgresError.
 */
export async function startEmbeddedPostgres(
  options: EmbeddedPostgresOptions,
): Promise<EmbeddedPostgres> {
  try {
    options.signal?.throwIfAborted()
    const home = await resolvePostgresHome(options.directory, options.log)
    await initialiseCluster(home, options)
    const password = (await readFile(home.passwordFile, 'utf8')).trim()
    return await findOrLaunch({ options, home, password })
  } catch (error) {
    if (error instanceof EmbeddedPostgresError) throw error
    if (options.signal?.aborted) {
      const message = 'the start of the embedded Postgres was broken off'
      throw new EmbeddedPostgresError('embedded_postgres_aborted', message, error)
    }
    const reason = error instanceof Error ? error.message : String(error)
    const message = `the embedded Postgres in ${options.directory} cannot be started: ${reason}`
    throw new EmbeddedPostgresError('embedded_postgres_failed', message, error)
  }
}

async function findOrLaunch(start: Start): Promise<EmbeddedPostgres> {
  const { options, home } = start
  let conflictsEnd = Date.now() + CONFLICT_MS_MAX
  for (;;) {
    const found = await findPostmaster(home.data)
    if (found?.kind === 'server') {
      const { pid } = found
      const port = await untilReady(start, pid, async () => {
        return (await identify(pid, home.data)) !== 'server'
      })
      if (port !== undefined) {
        options.log(`the embedded Postgres was running already (pid ${pid}, port ${port})`)
        return handle(start, { pid, port, reused: true })
      }
      conflictsEnd = Date.now() + CONFLICT_MS_MAX
    } else {
      const logStart = await rotateLog(home)
      const launched = await launch(start, found?.pid)
      if (launched !== undefined) return handle(start, { ...launched, reused: false })
      const tail = await logTail(home, logStart)
      if (!isPassing(tail, options.port) || Date.now() > conflictsEnd) {
        const message = `the embedded Postgres did not start; the end of ${home.logFile}:\n${tail}`
        throw new EmbeddedPostgresError('embedded_postgres_start_failed', message)
      }
    }
    await sleep(POLL_MS, undefined, { signal: options.signal })
  }
}

/**
 * Another process was faster; backends of a killed postmaster have not ended yet; or somebody took
 * the free port between our choice and its use.
 */
function isPassing(tail: string, port: number | undefined): boolean {
  if (/lock file "postmaster\.pid"|pre-existing shared memory block/.test(tail)) return true
  return !port && /could not create any TCP\/IP sockets/.test(tail)
}

/** Spawns a postmaster and waits for it; undefined when it exits before it is ready. */
async function launch(
  start: Start,
  stalePid: number | undefined,
): Promise<{ pid: number; port: number } | undefined> {
  const { options, home } = start
  const fixed = {
    listen_addresses: '127.0.0.1',
    unix_socket_directories: '',
    logging_collector: 'off',
  }
  const settings = Object.entries({ ...options.settings, ...fixed })
  const port = options.port || (await freePort())
  // -D comes first: findPostmaster recognises our server by it.
  const words = ['-D', home.data, '-p', String(port)]
  for (const [name, value] of settings) words.push('-c', `${name}=${value}`)
  const logFile = await open(home.logFile, 'a', 0o600)
  let child: ChildProcess
  try {
    child = spawn(join(home.binaries, 'bin', 'postgres'), words, {
      ...home.account,
      // With this variable Postgres itself takes the lock file over, race-free, if the process in
      // it is alive but no Postgres: after a reboot, numbers are given out anew.
      env: serverEnvironment(
        stalePid === undefined ? {} : { PG_GRANDPARENT_PID: String(stalePid) },
      ),
      cwd: '/',
      detached: true,
      stdio: ['ignore', logFile.fd, logFile.fd],
    })
    await once(child, 'spawn')
  } finally {
    await logFile.close()
  }
  child.unref()
  const pid = child.pid as number
  const isGone = () => child.exitCode !== null || child.signalCode !== null
  try {
    const ready = await untilReady(start, pid, isGone)
    return ready === undefined ? undefined : { pid, port: ready }
  } catch (error) {
    if (!isGone()) child.kill('SIGINT')
    while (!isGone()) await sleep(POLL_MS)
    throw error
  }
}

/** Resolves with the port once the postmaster accepts connections; undefined when it is gone. */
async function untilReady(
  start: Start,
  pid: number,
  isGone: () => boolean | Promise<boolean>,
): Promise<number | undefined> {
  const { options, home } = start
  const begin = Date.now()
  let progress = begin + PROGRESS_MS
  let lastError: unknown
  while (!(await isGone())) {
    const found = await findPostmaster(home.data)
    // Connecting sooner would only fill the log of Postgres with refusals.
    if (found?.pid === pid && found.status === 'ready' && found.port !== undefined) {
      lastError = await tryToConnect(start, found.port)
      if (lastError === undefined) return found.port
    }
    const now = Date.now()
    if (now - begin > READY_MS_MAX) {
      const message = `the embedded Postgres (pid ${pid}) accepts no connection; see ${home.logFile}`
      throw new EmbeddedPostgresError('embedded_postgres_start_timeout', message, lastError)
    }
    if (now > progress) {
      progress = now + PROGRESS_MS
      const seconds = Math.round((now - begin) / 1000)
      options.log(`waiting for the embedded Postgres to accept connections since ${seconds} s`)
    }
    await sleep(POLL_MS, undefined, { signal: options.signal })
  }
  return undefined
}

/** Connects once, making the database if it is missing; resolves with a failure that may pass. */
async function tryToConnect(start: Start, port: number): Promise<unknown> {
  const { home, password } = start
  try {
    const folder = await query({ port, password, database: DATABASE }, 'show data_directory')
    if (await samePath(String(folder), home.data)) return undefined
    return new Error(`port ${port} belongs to the Postgres in ${folder}`)
  } catch (error) {
    const { code } = error as { code?: string }
    if (code === '28P01' || code === '28000') {
      const message = `the embedded Postgres refuses the password in ${home.passwordFile}`
      throw new EmbeddedPostgresError('embedded_postgres_wrong_password', message, error)
    }
    if (code !== '3D000') return error
    // A failure is left to the next try: somebody else may be making the database as well.
    const create = query({ port, password, database: 'postgres' }, `create database ${DATABASE}`)
    return create.then(
      () => error,
      (failure: unknown) => failure,
    )
  }
}

/** Runs one statement and returns the first column of its first row. */
async function query(
  target: { port: number; password: string; database: string },
  statement: string,
): Promise<unknown> {
  const connectionTimeoutMillis = CONNECT_MS_MAX
  const client = new Client({
    ...target,
    host: '127.0.0.1',
    user: ROLE,
    ssl: false,
    connectionTimeoutMillis,
  })
  client.on('error', () => undefined)
  try {
    await client.connect()
    const { rows } = await client.query<unknown[]>({ text: statement, rowMode: 'array' })
    return rows[0]?.[0]
  } finally {
    await client.end().catch(() => undefined)
  }
}

function handle(
  start: Start,
  server: { pid: number; port: number; reused: boolean },
): EmbeddedPostgres {
  const { pid, port, reused } = server
  const { home, password, options } = start
  let stopping: Promise<void> | undefined
  return {
    connectionString: `postgres://${ROLE}:${password}@127.0.0.1:${port}/${DATABASE}`,
    pid,
    reused,
    directory: home.directory,
    stop() {
      stopping ??= shutDown(pid, home, options.log).catch((error) => {
        stopping = undefined
        throw error
      })
      return stopping
    },
  }
}

async function shutDown(
  pid: number,
  home: PostgresHome,
  log: (line: string) => void,
): Promise<void> {
  const begin = Date.now()
  let progress = begin + PROGRESS_MS
  // Looked at each time, so that a number that was given out anew is never signalled or awaited.
  const isRunning = async () => (await identify(pid, home.data)) === 'server'
  if (await isRunning()) process.kill(pid, 'SIGINT')
  while (await isRunning()) {
    const now = Date.now()
    if (now - begin > STOP_MS_MAX) {
      const message = `the embedded Postgres (pid ${pid}) does not stop; see ${home.logFile}`
      throw new EmbeddedPostgresError('embedded_postgres_stop_timeout', message)
    }
    if (now > progress) {
      progress = now + PROGRESS_MS
      log(`waiting for the embedded Postgres to stop since ${Math.round((now - begin) / 1000)} s`)
    }
    await sleep(POLL_MS)
  }
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  server.close()
  await once(server, 'close')
  return typeof address === 'object' && address !== null ? address.port : 0
}

/** Keeps one old log beside the current one; returns where the current one ends, in bytes. */
async function rotateLog(home: PostgresHome): Promise<number> {
  const size = (await stat(home.logFile).catch(unlessCode('ENOENT')))?.size ?? 0
  if (size < LOG_BYTES_MAX) return size
  await rename(home.logFile, `${home.logFile}.old`).catch(unlessCode('ENOENT'))
  return 0
}

async function logTail(home: PostgresHome, logStart: number): Promise<string> {
  const content = await readFile(home.logFile)
  return content.subarray(logStart).toString('utf8').slice(-LOG_TAIL_BYTES_MAX).trim()
}
