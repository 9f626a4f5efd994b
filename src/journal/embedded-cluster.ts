import { spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { chmod, chown, mkdir, open, readdir, rename, rm } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { EmbeddedPostgresError, exists, type PostgresHome, unlessCode } from './embedded-home.js'
import { isAlive } from './postmaster.js'

/** The superuser of the cluster. */
export const ROLE = 'daybook'
const OUTPUT_CHARACTERS_MAX = 2_000

/** Folders that this process is filling now, unlike those of a dead process with the same pid. */
const unfinished = new Set<string>()

/**
 * Makes the cluster in a folder of its own and renames it when it is complete and synced. If two
 * processes do so at once, the rename of the second fails, and it uses the cluster of the first.
 */
export async function initialiseCluster(
  home: PostgresHome,
  options: { log: (line: string) => void; signal?: AbortSignal | undefined },
): Promise<void> {
  await removeUnfinished(home)
  if (await exists(home.cluster)) return
  const begin = Date.now()
  const folder = `${home.cluster}.unfinished-${process.pid}-${randomBytes(6).toString('hex')}`
  unfinished.add(folder)
  try {
    await mkdir(join(folder, 'data'), { recursive: true, mode: 0o700 })
    const passwordFile = join(folder, 'password')
    const file = await open(passwordFile, 'wx', 0o600)
    await file.writeFile(`${randomBytes(24).toString('hex')}\n`)
    await file.sync()
    await file.close()
    const { account } = home
    for (const path of account ? [passwordFile, join(folder, 'data'), folder] : []) {
      await chown(path, account?.uid ?? 0, account?.gid ?? 0)
    }
    await chmod(folder, 0o700)
    await runInitdb(home, { data: join(folder, 'data'), passwordFile, signal: options.signal })
    await syncFolder(folder)
    await rename(folder, home.cluster).catch(unlessCode('ENOTEMPTY', 'EEXIST'))
    await syncFolder(dirname(home.cluster))
    options.log(`made the embedded Postgres in ${home.cluster} in ${Date.now() - begin} ms`)
  } finally {
    await rm(folder, { recursive: true, force: true })
    unfinished.delete(folder)
  }
}

/** Removes what a killed process left half made. */
async function removeUnfinished(home: PostgresHome): Promise<void> {
  for (const name of await readdir(home.directory)) {
    const owner = Number(/^cluster\.unfinished-(\d+)-/.exec(name)?.[1])
    const folder = join(home.directory, name)
    if (Number.isNaN(owner) || unfinished.has(folder)) continue
    if (owner !== process.pid && isAlive(owner)) continue
    // An initdb whose parent was killed may still be writing: then the next start removes it.
    await rm(folder, { recursive: true, force: true }).catch(() => undefined)
  }
}

async function runInitdb(
  home: PostgresHome,
  cluster: { data: string; passwordFile: string; signal: AbortSignal | undefined },
): Promise<void> {
  const words = [
    `--pgdata=${cluster.data}`,
    `--username=${ROLE}`,
    `--pwfile=${cluster.passwordFile}`,
    '--auth=scram-sha-256',
    '--encoding=UTF8',
    // The provider of Postgres itself: the order of text does not depend on the system's libraries.
    '--locale=C',
    '--locale-provider=builtin',
    '--builtin-locale=C.UTF-8',
    '--data-checksums',
  ]
  const child = spawn(join(home.binaries, 'bin', 'initdb'), words, {
    ...home.account,
    env: serverEnvironment({}),
    cwd: '/',
    stdio: ['ignore', 'pipe', 'pipe'],
    signal: cluster.signal,
  })
  let output = ''
  child.stdout.on('data', (chunk) => (output += chunk))
  child.stderr.on('data', (chunk) => (output += chunk))
  const closed = new Promise((resolve) => child.once('close', resolve))
  // Waits even when broken off: our caller removes the folder, and initdb must not write there then.
  const [code, signal] = await once(child, 'exit').finally(() => child.pid && closed)
  if (code === 0) return
  const tail = output.slice(-OUTPUT_CHARACTERS_MAX)
  const message = `initdb of the embedded Postgres failed (${code ?? signal}):\n${tail}`
  throw new EmbeddedPostgresError('embedded_postgres_initdb_failed', message)
}

/** Little of our own environment: PGDATA, PGPORT, LC_ALL and others would change the server. */
export function serverEnvironment(more: Record<string, string>): Record<string, string> {
  return { PATH: process.env.PATH ?? '/usr/bin:/bin', LC_ALL: 'C', TZ: 'UTC', ...more }
}

async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, 'r')
  await handle.sync().finally(() => handle.close())
}
