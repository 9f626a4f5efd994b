import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createServer } from 'node:net'
import { createInterface } from 'node:readline'
import { promisify } from 'node:util'
import { Redis } from 'ioredis'
import './plain-children.js'
import { type Teardown, temporaryFolder } from './postgres.js'

const binary = process.env.REDIS_TEST_SERVER || 'redis-server'

/** Why tests with Redis are to be skipped; false if they are not. Rejects in CI, where they must run. */
export async function noRedis(): Promise<string | false> {
  try {
    await promisify(execFile)(binary, ['--version'])
    return false
  } catch (error) {
    if (process.env.CI === 'true') throw new Error(`${binary} cannot be run`, { cause: error })
    return `${binary} cannot be run: install it, or name it in REDIS_TEST_SERVER`
  }
}

export interface TemporaryRedisOptions {
  /** Whether what it was given outlives a SIGKILL; otherwise it starts with what was saved last. */
  appendOnly?: boolean
  password?: string
}

/** A real Redis of its own on a free port of this machine, until the end of the test. */
export class TemporaryRedis {
  /** With the password, if there is one. */
  readonly url: string
  readonly #port: number
  readonly #arguments: string[]
  #server: ChildProcess | undefined

  static async start(t: Teardown, options: TemporaryRedisOptions = {}): Promise<TemporaryRedis> {
    const folder = await temporaryFolder(t)
    const redis = new TemporaryRedis(await freePort(), folder, options)
    t.teardown(() => redis.kill())
    await redis.start()
    return redis
  }

  private constructor(port: number, folder: string, options: TemporaryRedisOptions) {
    const { appendOnly = false, password } = options
    const user = password === undefined ? '' : `:${encodeURIComponent(password)}@`
    this.url = `redis://${user}127.0.0.1:${port}`
    this.#port = port
    this.#arguments = [
      ...['--port', String(port), '--bind', '127.0.0.1', '--dir', folder, '--save', ''],
      ...['--appendonly', appendOnly ? 'yes' : 'no'],
      ...(password === undefined ? [] : ['--requirepass', password]),
    ]
  }

  /** Starts it, again after `kill` or `stop`, on the same port. */
  async start(): Promise<void> {
    const server = spawn(binary, this.#arguments, { stdio: ['ignore', 'pipe', 'inherit'] })
    this.#server = server
    const said: string[] = []
    for await (const line of createInterface({ input: server.stdout })) {
      said.push(line)
      if (!/ready to accept connections/i.test(line)) continue
      server.stdout.resume()
      return
    }
    throw new Error(`redis-server did not start on port ${this.#port}: ${said.join('\n')}`)
  }

  /** Kills it with SIGKILL and waits for its end. */
  async kill(): Promise<void> {
    await this.#end('SIGKILL')
  }

  /** Stops it and waits for its end. */
  async stop(): Promise<void> {
    await this.#end('SIGTERM')
  }

  /** Freezes it: connections stand, and nothing is answered. */
  freeze(): void {
    this.#server?.kill('SIGSTOP')
  }

  thaw(): void {
    this.#server?.kill('SIGCONT')
  }

  async #end(signal: NodeJS.Signals): Promise<void> {
    const server = this.#server
    this.#server = undefined
    if (server === undefined || server.exitCode !== null || server.signalCode !== null) return
    const exited = once(server, 'exit')
    server.kill(signal)
    await exited
  }

  /** A client, which connects again by itself; closed at the end of the test. */
  client(t: Teardown): Redis {
    const client = new Redis(this.url, { retryStrategy: () => 5, maxRetriesPerRequest: null })
    client.on('error', () => undefined)
    t.teardown(() => client.disconnect())
    return client
  }
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  await new Promise((resolve) => server.close(resolve))
  if (address === null || typeof address === 'string') throw new Error('there is no port')
  return address.port
}
