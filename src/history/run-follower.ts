import { Follower, type FollowerParts, type FollowerProgress } from './follower.js'

export interface FollowerListener {
  onProgress(progress: FollowerProgress): void
  onTrouble(error: Error): void
}

/** Between two looks at the journal when there was nothing new; it bounds the lag from below. */
const pollMs = 50
/** After an error, or while another process follows. */
const retryMs = 1000

/**
 * Follows the journal until `signal` is aborted, whatever happens to Postgres meanwhile: after each
 * error it opens its sessions anew and goes on from where the read models are.
 */
export async function runFollower(
  parts: FollowerParts,
  listener: FollowerListener,
  signal: AbortSignal,
): Promise<void> {
  const pause = (ms: number) =>
    new Promise<void>((resolve) => {
      const timer = setTimeout(done, ms)
      function done() {
        clearTimeout(timer)
        signal.removeEventListener('abort', done)
        resolve()
      }
      signal.addEventListener('abort', done)
    })
  while (!signal.aborted) {
    let follower: Follower | undefined
    try {
      follower = await Follower.open(parts)
      while (!signal.aborted && !(await follower.lock())) await pause(retryMs)
      if (signal.aborted) break
      await follower.load()
      while (!signal.aborted) {
        const records = await follower.step()
        listener.onProgress(follower.progress)
        if (records === 0) await pause(pollMs)
      }
    } catch (error) {
      listener.onTrouble(error as Error)
      await pause(retryMs)
    } finally {
      follower?.close()
    }
  }
}
