import { setTimeout as pause } from 'node:timers/promises'
import { Follower, type FollowerParts, type FollowerProgress } from './follower.js'
import { Rest } from './rest.js'

export interface FollowerListener {
  onProgress(progress: FollowerProgress): void
  /** How far another process, which writes the read models, has come. */
  onProjected(positions: [stream: number, seq: number][]): void
  onTrouble(error: Error): void
}

/**
 * Between two looks at the journal, when everything has been followed: rows in small batches cost
 * posting more than they are worth. It bounds the lag from below, but for readers that wait.
 */
const restMsDefault = 100
/** After an error, or while another process follows. */
const retryMs = 1000

/**
 * Follows the journal for as long as its thread lives, whatever happens to Postgres meanwhile: after
 * each error it opens its sessions anew and goes on from where the read models are. It rests when it
 * has followed everything, unless `rest` is interrupted.
 */
export async function runFollower(
  parts: FollowerParts,
  listener: FollowerListener,
  { rest = new Rest(), restMs = restMsDefault }: { rest?: Rest; restMs?: number } = {},
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
        await follower.step()
        listener.onProgress(follower.progress)
        const { records, recordsTotal } = follower.progress
        if (records === recordsTotal) await rest.take(restMs)
      }
    } catch (error) {
      listener.onTrouble(error as Error)
    } finally {
      follower?.close()
    }
    await pause(retryMs)
  }
}
