import { execFile } from 'node:child_process'
import { open, realpath, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import {
  childrenOf,
  type Teardown,
  type TemporaryPostgres,
  temporaryFolder,
  temporaryPostgres,
} from '../postgres.js'

import { until } from './server.js'

/** A Postgres whose disk can be filled, and freed again. */
export interface SmallDisk {
  /** How it is done on this machine, for the record. */
  way: string
  postgres: TemporaryPostgres
  /** From here on Postgres cannot write anything that needs more room. */
  fill(): Promise<void>
  free(): Promise<void>
}

/** Room for a new cluster and what a test writes, many rounds of it; the rest is ballast. */
const diskMiB = 256
/** Few segments lie in reserve, so that the log soon needs a new one. */
const settings = { max_wal_size: '64MB', min_wal_size: '32MB', wal_keep_size: '0' }

const fileBytesMax = 65_536
const run = promisify(execFile)

/**
 * A file system in memory, mounted for the test; where mounting is not allowed, a limit on the size
 * of files that Postgres may write; where that cannot be had either, a sentence that says why.
 */
export async function smallDisk(t: Teardown): Promise<SmallDisk | string> {
  const reasons: string[] = []
  const ways =
    process.env.DAYBOOK_TEST_DISK === 'limit' ? [limitedFiles] : [mountedDisk, limitedFiles]
  for (const way of ways) {
    try {
      return await way(t)
    } catch (error) {
      reasons.push((error as Error).message.trim())
    }
  }
  return reasons.join('; ')
}

async function mountedDisk(t: Teardown): Promise<SmallDisk> {
  const directory = await temporaryFolder(t)
  await run('mount', ['-t', 'tmpfs', '-o', `size=${diskMiB}m,mode=755`, 'daybook-test', directory])
  // A process of Postgres may take a moment to let go of its files after it is said to have ended.
  const isUnmounted = () => run('umount', [directory]).then(Boolean, () => false)
  t.teardown(() => until('the file system is unmounted', isUnmounted))
  const postgres = await temporaryPostgres(t, { own: true, settings, directory })
  if ((await realpath(postgres.directory)) !== (await realpath(directory))) {
    throw new Error(`Postgres keeps its data in ${postgres.directory}, not in ${directory}`)
  }
  const ballast = join(directory, 'ballast')
  return {
    way: `a tmpfs of ${diskMiB} MiB`,
    postgres,
    fill: () => writeUntilFull(ballast),
    free: () => rm(ballast, { force: true }),
  }
}

async function writeUntilFull(path: string): Promise<void> {
  const zeros = Buffer.alloc(1 << 20)
  const file = await open(path, 'a')
  try {
    // What does not fit as a whole is written in part, and then nothing fits.
    for (;;) await file.write(zeros)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOSPC') throw error
  } finally {
    await file.close()
  }
}

/**
 * With a limit far below its segments Postgres cannot write its log, as when there is no room for
 * the next one. A single table that cannot grow is not to be had this way.
 */
async function limitedFiles(t: Teardown): Promise<SmallDisk> {
  const postgres = await temporaryPostgres(t, { own: true, settings })
  const { uid, gid } = await stat(`/proc/${postgres.pid}`)
  const limit = async (bytes: number | 'unlimited') => {
    const pids = [postgres.pid, ...(await childrenOf(postgres.pid))]
    // Only the soft limit, as the account of Postgres: it can be raised again without any right.
    const limits = pids.map((pid) =>
      run('prlimit', ['--pid', String(pid), `--fsize=${bytes}:`], { uid, gid }),
    )
    const failed = (await Promise.allSettled(limits)).filter(({ status }) => status === 'rejected')
    // Some may have ended meanwhile, and all of them once Postgres could not write.
    if (failed.length === pids.length && (await postgres.isRunning())) await limits[0]
  }
  await limit('unlimited')
  return {
    way: 'a limit on the size of files (prlimit --fsize)',
    postgres,
    fill: () => limit(fileBytesMax),
    free: () => limit('unlimited'),
  }
}
