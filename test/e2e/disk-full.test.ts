import pg from 'pg'
import t, { type Test } from 'tap'
import type { TemporaryPostgres } from '../postgres.js'
import { FaultRounds } from './fault-rounds.js'
import { Load } from './load.js'
import { roundsOr } from './rounds.js'
import { isTrueWithin, ServerProcess, until } from './server.js'
import { type SmallDisk, smallDisk } from './small-disk.js'

t.setTimeout(120_000 + roundsOr(5) * 120_000)

/** How long Postgres may take to come back by itself. */
const recoveryMsMax = 20_000

/** Short, so that clients hear soon that the journal is away. */
const impatient = {
  DAYBOOK_COMMIT_TIMEOUT_MS: '1000',
  DAYBOOK_ADMISSION_TIMEOUT_MS: '500',
  DAYBOOK_REQUEST_TIMEOUT_MS: '1000',
}

const disk = await smallDisk(t)
for (const rounds of FaultRounds.of('disk full')) {
  const name = `a full disk under load of ${rounds.shards} loses nothing, and the server goes on`
  const way = typeof disk === 'string' ? { skip: disk } : {}
  t.test(name, way, async (t) => {
    if (typeof disk !== 'string') await fillsDisk(t, disk, rounds)
  })
}

async function fillsDisk(t: Test, disk: SmallDisk, rounds: FaultRounds): Promise<void> {
  const { postgres } = disk
  rounds.way = disk.way
  t.comment(`the disk is ${disk.way}`)
  const DATABASE_URL = await postgres.createDatabase()
  const load = new Load({ goOnWhenLost: true })
  const server = await ServerProcess.start(t, { DATABASE_URL, ...rounds.settings, ...impatient })
  t.teardown(() => load.stop())
  t.teardown(() => disk.free())
  await load.open(server.url)
  while (rounds.hasMore) {
    load.start(server.url)
    await load.acknowledged(50 + Math.random() * 100)
    // Every other time not only the tables have no room, but the log of Postgres itself.
    const writer = rounds.done % 2 === 1 ? await LogWriter.connect(DATABASE_URL) : undefined
    await disk.fill()
    const { http503, http504 } = load.log.counts
    await writer?.writeUntilLost()
    await until('the server says that it cannot write', () => {
      const { counts } = load.log
      return counts.http503 > http503 || counts.http504 > http504
    })
    t.equal(server.ending, undefined, 'the server is there')
    await disk.free()
    t.comment(`Postgres ${await bringBack(postgres, DATABASE_URL)}`)
    await load.acknowledged(50)
    await load.stop()
    t.equal(server.ending, undefined, 'the server goes on')
    await rounds.check(t, { url: server.url, connectionString: DATABASE_URL, load })
  }
}

/**
 * With room again Postgres goes on by itself, or has ended and is started. Version 18 may also hang,
 * when the checkpoint at the end of its recovery had no room: an operator kills it, and so do we.
 */
async function bringBack(postgres: TemporaryPostgres, connectionString: string): Promise<string> {
  const isRunning = await postgres.isRunning()
  const isBack = isRunning && (await isTrueWithin(recoveryMsMax, () => accepts(connectionString)))
  if (isRunning && !isBack) await postgres.kill()
  await postgres.start()
  if (isBack) return 'is there'
  return isRunning ? 'hangs in its recovery, and is killed' : 'has ended and is started again'
}

async function accepts(connectionString: string): Promise<boolean> {
  const client = new pg.Client({ connectionString, connectionTimeoutMillis: 5000 })
  client.on('error', () => undefined)
  return await client.connect().then(
    () => client.end().then(() => true),
    () => false,
  )
}

/** Has Postgres write to its log more than lies in reserve, which ends all that it does. */
class LogWriter {
  readonly #client: pg.Client

  static async connect(connectionString: string): Promise<LogWriter> {
    const client = new pg.Client({ connectionString })
    client.on('error', () => undefined)
    await client.connect()
    return new LogWriter(client)
  }

  private constructor(client: pg.Client) {
    this.#client = client
  }

  async writeUntilLost(): Promise<void> {
    const text = `select pg_logical_emit_message(false, 'fill', repeat('x', 1 << 20))`
    const isLost = () =>
      this.#client.query(text).then(
        () => false,
        // A mere error would leave the session, and Postgres, as they were.
        ({ severity }: { severity?: string }) => severity !== 'ERROR',
      )
    await until('Postgres gives up', isLost)
    await this.#client.end().catch(() => undefined)
  }
}
