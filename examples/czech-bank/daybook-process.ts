import { type ChildProcess, spawn } from 'node:child_process'
import { closeSync, mkdirSync, openSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'

const DAYBOOK_MAIN = fileURLToPath(new URL('../../src/main.js', import.meta.url))
/** The first start makes a database, which takes a while on a slow disk. */
const START_MS_MAX = 120_000
const STOP_MS_MAX = 30_000

type Mode = 'starting' | 'serving' | 'stopping' | 'ended'

interface Ending {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
}

/**
 * A Daybook of our own, as a child process on any free port.
 *
 * starting -> serving   it printed its address
 * serving  -> stopping  `stop` or `kill` was called
 * any      -> ended     the process is gone; if nobody asked for it, `onLost` is told
 */
export class DaybookProcess {
  readonly #child: ChildProcess
  readonly #ended: Promise<Ending>
  readonly #endWithUs = (): void => void this.#child.kill('SIGTERM')
  #mode: Mode = 'starting'
  #url = ''

  /**
   * Starts Daybook on the data folder and waits until it serves. Its log is `daybook.log` in that
   * folder. Throws if it ends instead, takes more than two minutes, or the signal is aborted; it
   * is then stopped again. `settings` go before those of the environment.
   */
  static async start(options: {
    dataFolder: string
    settings?: Record<string, string>
    signal?: AbortSignal
    onLost?: (error: Error) => void
  }): Promise<DaybookProcess> {
    mkdirSync(options.dataFolder, { recursive: true })
    const logFile = join(options.dataFolder, 'daybook.log')
    const daybook = new DaybookProcess(options, logFile)
    try {
      await daybook.#untilServing(logFile, options.signal)
    } catch (error) {
      await daybook.stop().catch(() => undefined)
      throw error
    }
    return daybook
  }

  private constructor(
    {
      dataFolder,
      settings,
      onLost,
    }: {
      dataFolder: string
      settings?: Record<string, string>
      onLost?: (error: Error) => void
    },
    logFile: string,
  ) {
    // The data folder is ours alone. A database of the reader's own, named in the environment,
    // might have a Daybook on it, which this one would take over.
    const { DATABASE_URL: _, ...environment } = process.env
    const log = openSync(logFile, 'a')
    this.#child = spawn(process.execPath, [DAYBOOK_MAIN], {
      env: { ...environment, ...settings, DAYBOOK_PORT: '0', DAYBOOK_DATA_DIR: dataFolder },
      stdio: ['ignore', 'pipe', log],
      // Ctrl-C goes to every process of the terminal's group. Daybook is stopped by us instead,
      // when the batch under way has been answered.
      detached: true,
    })
    closeSync(log)
    process.once('exit', this.#endWithUs)
    this.#ended = new Promise((resolve) => {
      this.#child.once('error', () => resolve({ code: null, signal: null }))
      this.#child.once('exit', (code, signal) => resolve({ code, signal }))
    })
    void this.#ended.then((ending) => {
      const lost = this.#mode === 'serving'
      this.#mode = 'ended'
      process.removeListener('exit', this.#endWithUs)
      if (lost) onLost?.(new Error(`Daybook ended (${endingText(ending)}), see ${logFile}`))
    })
  }

  /** E.g. `http://127.0.0.1:41234` */
  get url(): string {
    return this.#url
  }

  /** Asks Daybook to stop and waits until it has. Throws if it had to be killed, or failed. */
  async stop(): Promise<void> {
    if (this.#mode === 'ended') return
    this.#mode = 'stopping'
    this.#child.kill('SIGTERM')
    const late = new AbortController()
    const ending = await Promise.race([
      this.#ended,
      sleep(STOP_MS_MAX, undefined, { signal: late.signal, ref: false }).catch(() => undefined),
    ])
    late.abort()
    if (ending === undefined) {
      await this.kill()
      throw new Error(`Daybook did not stop within ${STOP_MS_MAX / 1_000} s and was killed`)
    }
    if (ending.code !== 0) throw new Error(`Daybook did not stop well (${endingText(ending)})`)
  }

  /** kill -9, as a power cut would. */
  async kill(): Promise<void> {
    if (this.#mode === 'ended') return
    this.#mode = 'stopping'
    this.#child.kill('SIGKILL')
    await this.#ended
  }

  async #untilServing(logFile: string, signal: AbortSignal | undefined): Promise<void> {
    const output = this.#child.stdout
    if (output === null) throw new Error('Daybook has no standard output')
    // Goes on reading afterwards: a full pipe would stall the server.
    const lines = createInterface({ input: output })
    const timeout = AbortSignal.timeout(START_MS_MAX)
    const limits = signal === undefined ? timeout : AbortSignal.any([signal, timeout])
    await new Promise<void>((resolve, reject) => {
      lines.on('line', (line) => {
        const address = /^Daybook serves on (http:\S+)/.exec(line)
        if (address === null || this.#mode !== 'starting') return
        this.#url = address[1]
        this.#mode = 'serving'
        resolve()
      })
      void this.#ended.then((ending) =>
        reject(new Error(`Daybook did not start (${endingText(ending)}), see ${logFile}`)),
      )
      limits.addEventListener('abort', () => reject(limits.reason), { once: true })
      if (limits.aborted) reject(limits.reason)
    })
  }
}

function endingText({ code, signal }: Ending): string {
  if (signal !== null) return `signal ${signal}`
  return code === null ? 'could not be run' : `exit code ${code}`
}
