import { fork } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import type { LoadJob, LoadResult } from './load.js'

/** Time beyond the planned run in which the last answers must have come. */
const DRAIN_DEADLINE_MS = 60_000

/** Runs a job in a generator process of its own. Rejects if it fails or `stopping` is aborted. */
export function runLoad(job: LoadJob, stopping: AbortSignal): Promise<LoadResult> {
  stopping.throwIfAborted()
  const child = fork(fileURLToPath(new URL('./load.js', import.meta.url)), {
    stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
    // Ctrl-C is for the bench, which then ends this process itself.
    detached: true,
  })
  return new Promise<LoadResult>((resolve, reject) => {
    const deadline = setTimeout(
      () => end(new Error('the generator did not finish; answers are missing')),
      job.warmupMs + job.measureMs + DRAIN_DEADLINE_MS,
    )
    const abort = (): void => end(stopping.reason)
    const end = (error: unknown): void => {
      clearTimeout(deadline)
      stopping.removeEventListener('abort', abort)
      child.removeAllListeners()
      child.kill('SIGKILL')
      reject(error)
    }
    stopping.addEventListener('abort', abort, { once: true })
    child.once('error', end)
    child.once('exit', (code) => end(new Error(`the generator ended with ${code}`)))
    child.once('message', (result: LoadResult) => {
      clearTimeout(deadline)
      stopping.removeEventListener('abort', abort)
      child.removeAllListeners('exit')
      resolve(result)
    })
    child.send(job)
  })
}
