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

/** Rows of the next records of some streams, which move them on. */
interface RowBatch {
  projection: Projection
  records: number
  moves: { from: Followed; to: Followed }[]
}

/** A stream, as far as it has been read; its rows may be on their way. */
interface FollowedStream {
  followed: Followed
  replay: Replay
  /** Place of its last record, and the one that was last seen committed. */
  read: Followed
  generation: number
  head: number
}

/**
 * Tails the journal and writes the read models.
 *
 *     opened ─▶ locked ─▶ loaded ─▶ (rows ─▶ …) ─▶ caught up ─▶ (indexes) ─▶ …
 *
 * While it has a long way to go, the next rows are made while Postgres takes the ones before.
 *
 * It reads what is committed, so that nothing in a read model can be lost, and stores with each
 * batch of rows how far it has come: it goes on from there after any end, skips nothing and repeats
 * nothing. Streams of an earlier generation are read to their end before those of the next one.
 */
export class Follower {
  readonly #parts: FollowerParts
  readonly #connection: DatabaseConnection
  readonly #session: JournalSession
  #streams = new Map<number, FollowedStream>()
  #balances = new RunningBalances(false)
  /** The rows of one are written while the other one takes the next. */
  #projections: [Projection, Projection] = newProjections(this.#balances)
  #writing: Promise<void> | undefined
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
    this.#projections = newProjections(this.#balances)
    this.#streams = new Map()
    for (const of of followed) this.#follow(of)
    for (const { tenant, id } of await readStriped(this.#connection)) {
      const key = keyOf(tenant, id)
      if (key !== undefined) this.#balances.noteStriped(tenant, key)
    }
  }

  /**
   * Makes rows of the next records; resolves with how many there were. They are written when it
   * resolves, or, if there are more records, when the next step does.
   */
  async step(): Promise<number> {
    if (!this.#isBehind) await this.#look()
    const batch = await this.#readBatch()
    await this.#writing
    if (batch === undefined) {
      this.#lagMs = 0
      if (!this.#indexed) await this.#index()
      return 0
    }
    const writing = this.#write(batch)
    this.#writing = writing
    // Whoever waits for it next hears of it.
    writing.catch(() => undefined)
    if (!this.#isBehind) await writing
    return batch.records
  }

  close(): void {
    this.#connection.close()
    this.#session.close()
  }

  /** Whether there are records that are known of and have not been read. */
  get #isBehind(): boolean {
    return [...this.#streams.values()].some(({ read, head }) => read.seq < head)
  }

  /** Finds out which streams there are, and how far they are written. */
  async #look(): Promise<void> {
    await this.#writing
    const { rows } = await this.#connection.query<{ id: number; generation: number; head: string }>(
      'select id, generation, head from daybook.stream order by generation, id',
    )
    this.#recordsTotal = 0
    for (const { id, generation, head } of rows) {
      const own = this.#streams.get(id) ?? this.#follow(await beginStream(this.#connection, id))
      own.generation = generation
      own.head = Number(head)
      this.#recordsTotal += own.head
    }
    this.#noteProgress()
  }

  /** Rows of the next records of the first generation that has any. */
  async #readBatch(): Promise<RowBatch | undefined> {
    const behind = [...this.#streams.values()]
      .filter(({ read, head }) => read.seq < head)
      .sort((a, b) => a.generation - b.generation || a.followed.stream - b.followed.stream)
    const due = behind.filter(({ generation }) => generation === behind[0].generation)
    if (due.length === 0) return undefined
    const [projection, other] = this.#projections
    this.#projections = [other, projection]
    projection.clear()
    const { recordsMax = batchRecords } = this.#parts
    const batch: RowBatch = { projection, records: 0, moves: [] }
    for (const own of due) {
      if (batch.records >= recordsMax) break
      const move = await this.#read(own, recordsMax - batch.records, projection)
      batch.records += move.to.seq - move.from.seq
      batch.moves.push(move)
    }
    await this.#lookUp(projection)
    projection.entries.fillIn(this.#balances)
    return batch
  }

  async #write({ projection, moves }: RowBatch): Promise<void> {
    await writeRows(this.#connection, projection, moves)
    for (const { to } of moves) {
      const own = this.#streams.get(to.stream)
      if (own !== undefined) own.followed = to
    }
    this.#noteProgress()
    const oldestMs = Math.min(...moves.map(({ to }) => to.timeMs))
    const isBehind = this.#records < this.#recordsTotal
    this.#lagMs = isBehind ? Math.max(0, this.#parts.clock.now() - oldestMs) : 0
  }

  #noteProgress(): void {
    this.#records = 0
    for (const { followed } of this.#streams.values()) this.#records += followed.seq
  }

  #follow(followed: Followed): FollowedStream {
    const { stream, seq } = followed
    const replay = new Replay(stream, followed, this.#parts.chain)
    const own = { followed, replay, read: followed, generation: 0, head: seq }
    this.#streams.set(stream, own)
    return own
  }

  async #read(
    own: FollowedStream,
    recordsMax: number,
    projection: Projection,
  ): Promise<{ from: Followed; to: Followed }> {
    const { read: from, replay, head } = own
    const { stream } = from
    let { timeMs } = from
    const toSeq = Math.min(head, from.seq + recordsMax)
    for await (const chunk of this.#session.readChunks(stream, from.seq, toSeq)) {
      replay.read(chunk, (words, at, seq) => {
        projection.read(words, at, { stream, seq })
        timeMs = Math.max(timeMs, recordTime(words, at))
      })
    }
    own.read = { stream, seq: replay.seq, digest: replay.digest, timeMs }
    return { from, to: own.read }
  }

  async #lookUp({ entries }: Projection): Promise<void> {
    const places = entries.unknown
    if (places.length === 0) return
    // The connection is in a transaction until then.
    await this.#writing
    const names = places.map((place) => this.#balances.nameOf(place))
    const balances = await readBalances(this.#connection, names)
    for (const [index, place] of places.entries()) this.#balances.set(place, balances[index])
  }

  async #index(): Promise<void> {
    const second = await this.#parts.database.connect({ name: 'daybook history indexes' })
    try {
      await buildIndexes(this.#connection, second)
    } finally {
      second.close()
    }
    this.#indexed = true
  }
}

function newProjections(balances: RunningBalances): [Projection, Projection] {
  return [new Projection(balances), new Projection(balances)]
}
