import { open } from 'node:fs/promises'
import { join } from 'node:path'
import { type Teardown, temporaryFolder } from '../postgres.js'

const preload = new URL('./jumping-clock.js', import.meta.url).href

/** The wall clock of servers, which jumps when it is told to, while they run. */
export class ServerClock {
  /** Environment of a server that goes by this clock. */
  readonly settings: { NODE_OPTIONS: string; DAYBOOK_TEST_CLOCK: string }
  readonly #path: string
  #offsetMs = 0

  static async start(t: Teardown): Promise<ServerClock> {
    const clock = new ServerClock(join(await temporaryFolder(t), 'offset'))
    await clock.jumpTo(0)
    return clock
  }

  private constructor(path: string) {
    this.#path = path
    this.settings = { NODE_OPTIONS: `--import=${preload}`, DAYBOOK_TEST_CLOCK: path }
  }

  /** What the servers take for now, in milliseconds since 1970. */
  get now(): number {
    return Date.now() + this.#offsetMs
  }

  /** Sets the clock to so much after the real time, or before it. */
  async jumpTo(offsetMs: number): Promise<void> {
    this.#offsetMs = offsetMs
    const bytes = Buffer.alloc(8)
    bytes.writeDoubleLE(offsetMs)
    // Written over in one piece: a reader finds the old value or the new one.
    const file = await open(this.#path, 'a+').then(async (made) => {
      await made.close()
      return await open(this.#path, 'r+')
    })
    await file.write(bytes, 0, bytes.length, 0).finally(() => file.close())
  }
}
