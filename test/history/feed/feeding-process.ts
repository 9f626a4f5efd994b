import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import '../../plain-children.js'
import type { Teardown } from '../../postgres.js'

const source = (path: string) =>
  JSON.stringify(new URL(`../../../src/${path}`, import.meta.url).href)

const program = `
  const { RedisFeed } = await import(${source('history/feed/redis-feed.js')})
  const { digestChain } = await import(${source('journal/digest.js')})
  const { postgresDatabase } = await import(${source('journal/postgres.js')})
  const { postgresStore } = await import(${source('journal/postgres-session.js')})
  const { systemClock } = await import(${source('clock.js')})
  const { connectionString, options } = JSON.parse(process.argv[1])
  const store = postgresStore(postgresDatabase(connectionString, 10_000))
  const listener = { onTrouble() {}, onBegun() {} }
  const parts = { store, chain: digestChain(), clock: systemClock, random: Math.random, listener }
  const feed = new RedisFeed(options, parts)
  setInterval(() => {}, 1e6)
  process.stdout.write('feeding\\n')
  await feed.run(new AbortController().signal)`

/** Another process that delivers a book into Redis until it is killed. */
export class FeedingProcess {
  readonly #child: ChildProcess

  static async start(t: Teardown, task: object): Promise<FeedingProcess> {
    const words = ['--input-type=module', '-e', program, JSON.stringify(task)]
    const child = spawn(process.execPath, words, { stdio: ['ignore', 'pipe', 'inherit'] })
    t.teardown(() => child.kill('SIGKILL'))
    const lines = createInterface({ input: child.stdout as NodeJS.ReadableStream })
    const said = await Promise.race([once(lines, 'line'), once(child, 'exit')])
    if (said[0] !== 'feeding') throw new Error('the feed ended before it had begun')
    return new FeedingProcess(child)
  }

  private constructor(child: ChildProcess) {
    this.#child = child
  }

  /** Kills it in the middle of whatever it does, and waits for its end. */
  async kill(): Promise<void> {
    const exited = once(this.#child, 'exit')
    this.#child.kill('SIGKILL')
    await exited
  }
}
