import { type ChildProcess, spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import '../plain-children.js'

const program = fileURLToPath(new URL('../../src/cli/daybook.js', import.meta.url))

export interface Ended {
  code: number | null
  signal: NodeJS.Signals | null
  stdout: string
  stderr: string
}

/** `daybook` as a process of its own, with no settings but those that are given. */
export class CommandLine {
  readonly ended: Promise<Ended>
  readonly #child: ChildProcess

  constructor(words: string[], settings: Record<string, string>) {
    const inherited = Object.entries(process.env).filter(
      ([name]) => name !== 'DATABASE_URL' && !name.startsWith('DAYBOOK_'),
    )
    this.#child = spawn(process.execPath, [program, ...words], {
      env: { ...Object.fromEntries(inherited), ...settings },
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    let [stdout, stderr] = ['', '']
    this.#child.stdout?.on('data', (data: Buffer) => {
      stdout += data
    })
    this.#child.stderr?.on('data', (data: Buffer) => {
      stderr += data
    })
    this.ended = new Promise((resolve) => {
      this.#child.once('close', (code, signal) => resolve({ code, signal, stdout, stderr }))
    })
  }

  kill(signal: NodeJS.Signals): void {
    this.#child.kill(signal)
  }
}

/** Runs `daybook` to its end. */
export async function daybook(words: string[], settings: Record<string, string>): Promise<Ended> {
  return await new CommandLine(words, settings).ended
}
