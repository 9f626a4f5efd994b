import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import { type AddressInfo, createServer } from 'node:net'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import type { NodePhase } from '../../src/node.js'
import type { Teardown } from '../postgres.js'
import '../plain-children.js'

const MAIN = fileURLToPath(new URL('../../src/main.js', import.meta.url))
const START_MS_MAX = 60_000
const END_MS_MAX = 45_000
const LOG_LINES_MAX = 200

export interface Ending {
  code: number | null
  signal: NodeJS.Signals | null
}

/**
 * The real server, as a child process on any free port. It is killed at the end of the test if it
 * still runs then.
 */
export class ServerProcess {
  readonly #child: ChildProcess
  readonly #log: string[] = []
  #ending: Ending | undefined
  #url: string | undefined
  readonly #ended: Promise<Ending>

  /** Starts the server and waits until it serves; throws, with the end of its log, if it ends. */
  static async start(t: Teardown, environment: Record<string, string>): Promise<ServerProcess> {
    const server = ServerProcess.spawn(t, environment)
    const served = () => server.#url !== undefined || server.#ending !== undefined
    if (!(await isTrueWithin(START_MS_MAX, served)) || server.#ending !== undefined) {
      throw new Error(`the server did not start:\n${server.log}`)
    }
    return server
  }

  /** Starts the server without waiting for anything. */
  static spawn(t: Teardown, environment: Record<string, string>): ServerProcess {
    const server = new ServerProcess(environment)
    t.teardown(() => server.end('SIGKILL'))
    return server
  }

  private constructor(environment: Record<string, string>) {
    // Nothing of the environment of the tests may name a database, least of all a real one.
    const inherited = Object.entries(process.env).filter(
      ([name]) => name !== 'DATABASE_URL' && !name.startsWith('DAYBOOK_'),
    )
    this.#child = spawn(process.execPath, [MAIN], {
      env: {
        ...Object.fromEntries(inherited),
        DAYBOOK_PORT: '0',
        DAYBOOK_HISTORY: 'off',
        ...environment,
      },
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    const killWithUs = () => this.#child.kill('SIGKILL')
    process.once('exit', killWithUs)
    this.#ended = new Promise((resolve) => {
      this.#child.once('exit', (code, signal) => {
        process.removeListener('exit', killWithUs)
        this.#ending = { code, signal }
        resolve(this.#ending)
      })
    })
    this.#readOutput()
  }

  /** E.g. `http://127.0.0.1:41234`; throws before the server serves. */
  get url(): string {
    if (this.#url === undefined) throw new Error('the server does not serve yet')
    return this.#url
  }

  /** Whether it has said so. */
  get serves(): boolean {
    return this.#url !== undefined
  }

  /** Whether its log says that it has come to a phase of its start. */
  hasEntered(phase: NodePhase): boolean {
    return this.log.includes(`"phase":"${phase}"`)
  }

  get port(): number {
    return Number(new URL(this.url).port)
  }

  get pid(): number {
    return this.#child.pid as number
  }

  /** How the process ended; undefined while it runs. */
  get ending(): Ending | undefined {
    return this.#ending
  }

  /** The last lines that the server logged. */
  get log(): string {
    return this.#log.join('\n')
  }

  /** Sends a signal and waits for nothing. */
  signal(signal: NodeJS.Signals): void {
    this.#child.kill(signal)
  }

  /** Sends a signal, kill -9 unless another is given, and waits until the process has ended. */
  async end(signal: NodeJS.Signals = 'SIGKILL'): Promise<Ending> {
    if (this.#ending === undefined) this.#child.kill(signal)
    return await this.ended()
  }

  /** Waits until the process has ended by itself. */
  async ended(): Promise<Ending> {
    if (await isTrueWithin(END_MS_MAX, () => this.#ending !== undefined)) return await this.#ended
    throw new Error(`the server does not end:\n${this.log}`)
  }

  /** The value of a metric, over all its labels. */
  async metric(name: string): Promise<number> {
    const text = await (await fetch(`${this.url}/metrics`)).text()
    const lines = text.matchAll(new RegExp(`^${name}(?:\\{[^}]*\\})? (\\S+)$`, 'gm'))
    return [...lines].reduce((sum, [, value]) => sum + Number(value), 0)
  }

  /** Resident memory now, in bytes; 0 where /proc does not tell. */
  async residentBytes(): Promise<number> {
    const status = await readFile(`/proc/${this.pid}/status`, 'utf8').catch(() => '')
    return Number(/^VmRSS:\s+(\d+) kB/m.exec(status)?.[1] ?? 0) * 1024
  }

  #readOutput(): void {
    const { stdout, stderr } = this.#child
    if (stdout === null || stderr === null) throw new Error('the server has no output')
    createInterface({ input: stdout }).on('line', (line) => {
      this.#url ??= /^Daybook serves on (http:\S+)/.exec(line)?.[1]
    })
    createInterface({ input: stderr }).on('line', (line) => {
      this.#log.push(line)
      if (this.#log.length > LOG_LINES_MAX) this.#log.shift()
    })
  }
}

/** Waits for a condition; false if it is still not true after `timeMsMax`. */
export async function isTrueWithin(
  timeMsMax: number,
  condition: () => boolean | Promise<boolean>,
): Promise<boolean> {
  const deadline = Date.now() + timeMsMax
  while (!(await condition())) {
    if (Date.now() > deadline) return false
    await sleep(10)
  }
  return true
}

/** Waits for a condition, for a minute at most; throws an error that names it. */
export async function until(
  what: string,
  condition: () => boolean | Promise<boolean>,
): Promise<void> {
  if (!(await isTrueWithin(60_000, condition))) throw new Error(`still not true: ${what}`)
}

/** A port that nobody listens on, for a server that is to be asked before it says where it is. */
export async function freePort(): Promise<number> {
  const listener = createServer().listen(0, '127.0.0.1')
  await once(listener, 'listening')
  const { port } = listener.address() as AddressInfo
  listener.close()
  await once(listener, 'close')
  return port
}
