import { recordTime } from '../actors/apply.js'
import type { Clock } from '../clock.js'
import type { DigestChain } from '../journal/batch.js'
import type { Database, DatabaseConnection } from '../journal/database.js'
import { Replay } from '../journal/replay.js'
import type { JournalSession, JournalStore } from '../journal/session.js'
import { keyOf } from '../key.js'
import {
  beginStream,
  buildIndexes,
  ensureSchema,
  type Followed,
  isIndexed,
  readBalances,
  readFollowed,
  readProjected,
  readStriped,
  tryLock,
  writeRows,
} from './history-store.js'
import { Projection } from './projection.js'
import { RunningBalances } from './running-balances.js'

export interface FollowerParts {
  database: Database
  store: JournalStore
  chain: DigestChain
  clock: Clock
  /** Records of a batch of rows, which decide its memory: some 30 MB for {@link batchRecords}. */
  recordsMax?: number
}

/** How far the read models are; seqs of all streams added up. */
export interface FollowerProgress {
  /** The indexes are there: the read models can be read. */
  indexed: boolean
  records: number
  recordsTotal: number
  /** By stream, the seq of the last record that has been followed. */
  followed: [stream: number, seq: number][]
  /** How long ago the last record that has been followed was recorded; 0 if it was the last of all. */
  lagMs: number
}

const batchRecords = 8192

/**
 * Tails the journal and writes the read models.
 *
 *     opened ─▶ locked ─▶ loaded ─▶ (rows ─▶ …) ─▶ caught up ─▶ (indexes) ─▶ …
 *
 * It reads what is committed, so that nothing in a read model can be lost, and stores with each
 * batch of rows how far it has come: it goes on from there after any end, skips nothing and repeats
 * nothing. Streams of an earlier generation are read to their end before those of the next one.
 */
export class Follower {
  readonly #parts: FollowerParts
  readonly #connection: DatabaseConnection
  readonly #session: JournalSession
  #streams = new Map<number, { followed: Followed; replay: Replay }>()
  #balances = new RunningBalances(false)
  #projection = new Projection(this.#balances)
  #indexed = false
  #records = 0
  #recordsTotal = 0
  #lagMs = 0

  private constructor(
    parts: FollowerParts,
    connection: DatabaseConnection,
    session: JournalSession,
  ) {
    this.#parts = parts
    this.#connection = connection
    this.#session = session
  }

  /** Opens its sessions; rejects if the database cannot be reached. */
  static async open(parts: FollowerParts): Promise<Follower> {
    const connection = await parts.database.connect({ name: 'daybook history' })
    try {
      // What is lost in a crash of Postgres is lost with its progress, and written again.
      await connection.query('set synchronous_commit = off')
      return new Follower(parts, connection, await parts.store.open())
    } catch (error) {
      connection.close()
      throw error
    }
  }

  get progress(): FollowerProgress {
    return {
      indexed: this.#indexed,
      records: this.#records,
      recordsTotal: this.#recordsTotal,
      followed: [...this.#streams].map(([stream, { followed }]) => [stream, followed.seq]),
      lagMs: this.#lagMs,
    }
  }

  /** Becomes the one that writes; false while another process is. */
  async lock(): Promise<boolean> {
    return await tryLock(this.#connection)
  }

  /** How far the read models are, whoever writes them; empty while they cannot be read. */
  async readProjected(): Promise<[stream: number, seq: number][]> {
    return await readProjected(this.#connection)
  }

  /** Finds out how far the read models are. */
  async load(): Promise<void> {
    await ensureSchema(this.#connection)
    const followed = await readFollowed(this.#connection)
    const fromOrigin = followed.every(({ seq }) => seq === 0)
    this.#indexed = await isIndexed(this.#connection)
    // Balances are looked up by index.
    if (!fromOrigin && !this.#indexed) await this.#index()
    this.#balances = new RunningBalances(fromOrigin)
    this.#projection = new Projection(this.#balances)
    this.#streams = new Map()
    for (const of of followed) this.#follow(of)
    for (const { tenant, id } of await readStriped(this.#connection)) {
      const key = keyOf(tenant, id)
      if (key !== undefined) this.#balances.noteStriped(tenant, key)
    }
  }

  /** Writes the rows of the next records; resolves with how many there were. */
  async step(): Promise<number> {
    const due = await this.#due()
    const moves: { from: Followed; to: Followed }[] = []
    this.#projection.clear()
    const { recordsMax = batchRecords } = this.#parts
    let records = 0
    for (const { stream, head } of due) {
      if (records >= recordsMax) break
      const move = await this.#read(stream, head, recordsMax - records)
      records += move.to.seq - move.from.seq
      moves.push(move)
    }
    if (records === 0) {
      this.#lagMs = 0
      if (!this.#indexed) await this.#index()
      return 0
    }
    await this.#lookUp()
    this.#projection.entries.fillIn(this.#balances)
    await writeRows(this.#connection, this.#projection, moves)
    for (const { to } of moves) {
      const own = this.#streams.get(to.stream)
      if (own !== undefined) own.followed = to
    }
    this.#records += records
    const oldestMs = Math.min(...moves.map(({ to }) => to.timeMs))
    const isBehind = this.#records < this.#recordsTotal
    this.#lagMs = isBehind ? Math.max(0, this.#parts.clock.now() - oldestMs) : 0
    return records
  }

  close(): void {
    this.#connection.close()
    this.#session.close()
  }

  /** Streams with records to be followed, of the first generation that has any. */
  async #due(): Promise<{ stream: number; head: number }[]> {
    const { rows } = await this.#connection.query<{ id: number; generation: number; head: string }>(
      'select id, generation, head from daybook.stream order by generation, id',
    )
    const due: { stream: number; head: number; generation: number }[] = []
    this.#records = 0
    this.#recordsTotal = 0
    for (const { id, generation, head } of rows) {
      const { followed } =
        this.#streams.get(id) ?? this.#follow(await beginStream(this.#connection, id))
      this.#records += followed.seq
      this.#recordsTotal += Number(head)
      if (Number(head) > followed.seq) due.push({ stream: id, head: Number(head), generation })
    }
    return due.filter(({ generation }) => generation === due[0].generation)
  }

  #follow(followed: Followed): { followed: Followed; replay: Replay } {
    const { stream } = followed
    const own = { followed, replay: new Replay(stream, followed, this.#parts.chain) }
    this.#streams.set(stream, own)
    return own
  }

  async #read(
    stream: number,
    head: number,
    recordsMax: number,
  ): Promise<{ from: Followed; to: Followed }> {
    const own = this.#streams.get(stream)
    if (own === undefined) throw new Error(`stream ${stream} is not followed`)
    const { followed: from, replay } = own
    let { timeMs } = from
    const toSeq = Math.min(head, from.seq + recordsMax)
    for await (const chunk of this.#session.readChunks(stream, from.seq, toSeq)) {
      replay.read(chunk, (words, at, seq) => {
        this.#projection.read(words, at, { stream, seq })
        timeMs = Math.max(timeMs, recordTime(words, at))
      })
    }
    return { from, to: { stream, seq: replay.seq, digest: replay.digest, timeMs } }
  }

  async #lookUp(): Promise<void> {
    const places = this.#projection.entries.unknown(this.#balances)
    if (places.length === 0) return
    const names = places.map((place) => this.#balances.nameOf(place))
    const balances = await readBalances(this.#connection, names)
    for (const [index, place] of places.entries()) this.#balances.set(place, balances[index])
  }

  async #index(): Promise<void> {
    await buildIndexes(this.#connection)
    this.#indexed = true
  }
}
