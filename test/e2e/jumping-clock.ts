/**
 * Loaded before the server (NODE_OPTIONS=--import=…), and into each of its worker threads: the wall
 * clock is the real one plus what stands in the file DAYBOOK_TEST_CLOCK, so that a test can let it
 * jump. Timers and the monotonic clock go on as they are, as they do when a real clock is set.
 */
import { openSync, readSync } from 'node:fs'

const path = process.env.DAYBOOK_TEST_CLOCK
if (path !== undefined) {
  const file = openSync(path, 'r')
  const bytes = Buffer.alloc(8)
  const realNow = Date.now
  Date.now = () => {
    readSync(file, bytes, 0, bytes.length, 0)
    return realNow() + bytes.readDoubleLE()
  }
}
