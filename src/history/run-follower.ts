import { setTimeout as pause } from 'node:timers/promises'
import { Follower, type FollowerParts, type FollowerProgress } from './follower.js'

export interface FollowerListener {
  onProgress(progress: FollowerProgress): void
  /** How far another process, which writes the read models, has come. */
  onProjected(positions: [stream: number, seq: number][]): void
  onTrouble(error: Error): void
}

/** Between two looks at the journal when there was nothing new; it bounds the lag from below. */
const pollMs = 50
/** After an error, or while another process follows. */
const retryMs = 1000

/**
 * Follows the journal for as long as its thread lives, whatever happens to Postgres meanwhile: after
 * each error it opens its sessions anew and goes on from where the read models are.
 */
export async function runFollower(
  parts: FollowerParts,
  listener: FollowerListener,
): Promise<never> {
  for (;;) {
    let follower: Follower | undefined
    try {
      follower = await Follower.open(parts)
      while (!(await follower.lock())) {
        listener.onProjected(await follower.readProjected())
        await pause(retryMs)
      }
      await follower.load()
      for (;;) {
        const records = await follower.step()
        listener.onProgress(follower.progress)
        if (records === 0) await pause(pollMs)
      }
    } catch (error) {
      listener.onTrouble(error as Error)
    } finally {
      follower?.close()
    }
    await pause(retryMs)
  }
}
