import { type ChildProcess, spawn } from 'node:child_process'

const START_DEADLINE_MS = 60_000
const STOP_DEADLINE_MS = 20_000
const ERROR_TAIL_CHARACTERS = 4000

/** A server under test, in a process of its own. */
export interface Server {
  readonly pid: number
  readonly host: string
  readonly port: number
  /** Asks it to stop, and kills it if it does not. */
  stop(): Promise<void>
}

/** As `npm start` has it: short-lived objects of many requests at once need room. The peer too. */
const SERVER_WORDS = ['--max-semi-space-size=64']

/**
 * Starts a Node program, with `nodeWords` for Node itself, and waits for the line `… serves on http://HOST:PORT` on its stdout.
 * It leads its own process group, so that Ctrl-C reaches the bench alone, which then stops
 * everything in order. Throws with the end of its stderr if it exits before it serves.
 */
export async function startServer(
  program: string,
  environment: Record<string, string>,
  nodeWords: readonly string[] = [],
): Promise<Server> {
  const child = spawn(process.execPath, [...SERVER_WORDS, ...nodeWords, program], {
    env: { ...process.env, NODE_ENV: 'production', ...environment },
    stdio: ['ignore', 'pipe', 'pipe'],
    detached: true,
  })
  const errors = keepTail(child)
  const { host, port } = await waitForAddress(child, program, errors)
  return { pid: child.pid ?? 0, host, port, stop: () => stopChild(child) }
}

function keepTail(child: ChildProcess): () => string {
  let tail = ''
  child.stderr?.on('data', (part: Buffer) => {
    tail = (tail + part.toString('utf8')).slice(-ERROR_TAIL_CHARACTERS)
  })
  return () => tail
}

function waitForAddress(
  child: ChildProcess,
  program: string,
  errors: () => string,
): Promise<{ host: string; port: number }> {
  return new Promise((resolve, reject) => {
    const fail = (reason: string): void => {
      child.kill('SIGKILL')
      reject(new Error(`${program} ${reason}\n${errors()}`))
    }
    const deadline = setTimeout(() => fail('did not serve in time'), START_DEADLINE_MS)
    child.once('error', reject)
    child.once('exit', (code) => {
      clearTimeout(deadline)
      fail(`ended with ${code} before it served`)
    })
    let output = ''
    child.stdout?.on('data', (part: Buffer) => {
      output = (output + part.toString('utf8')).slice(-ERROR_TAIL_CHARACTERS)
      const address = /serves on http:\/\/([^:/\s]+):(\d+)/.exec(output)
      if (!address) return
      clearTimeout(deadline)
      child.removeAllListeners('exit')
      resolve({ host: address[1], port: Number(address[2]) })
    })
  })
}

function stopChild(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return Promise.resolve()
  return new Promise((resolve) => {
    const deadline = setTimeout(() => child.kill('SIGKILL'), STOP_DEADLINE_MS)
    child.once('exit', () => {
      clearTimeout(deadline)
      resolve()
    })
    child.kill('SIGTERM')
  })
}
