import type { DigestChain } from '../journal/batch.js'
import { type BookRows, layoutOf, readBookRows, streamsOf } from '../journal/book-rows.js'
import type { Database, Queries } from '../journal/database.js'
import type { JournalSession, JournalStore } from '../journal/session.js'
import { readInWindows } from '../journal/windows.js'
import type { Anchor } from './anchor.js'
import type { Finding } from './finding.js'
import { MessageMatch } from './message-match.js'
import { findStrayRows } from './stray-rows.js'
import { StreamCheck } from './stream-check.js'

export interface VerifyOptions {
  database: Database
  store: JournalStore
  chain: DigestChain
  anchor?: Anchor
  /** Records checked, and to check in all. */
  onProgress(done: number, total: number): void
}

export interface VerifyResult {
  /** The rows that were checked against; a server may have gone on since. */
  book: BookRows
  records: number
  /** At most one for each stream: its first bad position. */
  findings: Finding[]
}

/**
 * Checks the whole journal, up to the heads that it had when the check began: the chain of every
 * stream, each record, the messages between the streams, rows that belong to nothing, and the heads
 * that were anchored. Only reads; a server may be writing.
 */
export async function verifyJournal(options: VerifyOptions): Promise<VerifyResult> {
  const { database, anchor } = options
  const connection = await database.connect({ name: 'daybook verify' })
  try {
    const book = await readBookRows(connection)
    if (anchor !== undefined && anchor.bookId !== book.id) {
      throw new Error(`the heads are of book ${anchor.bookId}, and this is book ${book.id}`)
    }
    const total = book.streams.reduce((sum, { head }) => sum + head, 0)
    const findings: Finding[] = []
    let records = 0
    const session = await options.store.open()
    try {
      for (let generation = 1; generation <= book.generation; generation++) {
        const check = new GenerationCheck(book, generation, options)
        await check.run(session, (done) => options.onProgress(records + done, total))
        records += check.records
        findings.push(...check.findings())
      }
    } finally {
      session.close()
    }
    findings.push(...lostStreams(book, anchor))
    findings.push(...(await findStrayRows(connection as Queries)))
    return { book, records, findings: firstOfEach(findings) }
  } finally {
    await connection.end()
  }
}

/** Records that are read of one stream before the others get their turn. */
const turnRecords = 50_000

/** The streams of one generation, read turn by turn in the order of time. */
class GenerationCheck {
  readonly #checks: StreamCheck[]
  readonly #matches = new Map<string, MessageMatch>()
  readonly #isClosed: boolean

  constructor(book: BookRows, generation: number, { chain, anchor }: VerifyOptions) {
    const layout = layoutOf(book, generation)
    this.#isClosed = generation < book.generation
    const log = {
      sent: (from: number, to: number, seq: number) => this.#match(from, to).send(seq),
      applied: (from: number, to: number, record: { seq: number; causeSeq: number }) =>
        this.#match(from, to).apply(record),
    }
    this.#checks = streamsOf(book, generation).map((row) => {
      const anchored = anchor?.heads.find(({ stream }) => stream === row.id)
      return new StreamCheck(row, layout, { chain, log, anchored })
    })
  }

  get records(): number {
    return this.#checks.reduce((sum, check) => sum + check.records, 0)
  }

  async run(session: JournalSession, onProgress: (done: number) => void): Promise<void> {
    const readTo = new Map(this.#checks.map((check) => [check, 0]))
    while (readTo.size > 0) {
      const [check, afterSeq] = [...readTo].reduce((one, other) =>
        other[0].lastTimeMs < one[0].lastTimeMs ? other : one,
      )
      const { id, head } = check.row
      const toSeq = Math.min(head, afterSeq + turnRecords)
      for await (const chunk of readInWindows(session, id, { afterSeq, toSeq })) check.read(chunk)
      if (toSeq === head) check.end()
      if (toSeq === head || check.finding !== undefined) readTo.delete(check)
      else readTo.set(check, toSeq)
      onProgress(this.records)
    }
    for (const match of this.#matches.values()) match.end()
  }

  findings(): Finding[] {
    const own = this.#checks.flatMap(({ finding }) => finding ?? [])
    const damaged = new Set(own.map(({ stream }) => stream))
    // What a damaged stream has sent is not known: the others cannot be judged by it.
    const matches = [...this.#matches].filter(([name]) => !damaged.has(Number(name.split(' ')[0])))
    return [...own, ...matches.flatMap(([, match]) => match.finding ?? []), ...this.#lost(damaged)]
  }

  /** Messages of a closed generation that nobody has applied: it is closed when all are. */
  #lost(damaged: ReadonlySet<number>): Finding[] {
    if (!this.#isClosed) return []
    return [...this.#matches].flatMap(([name, match]) => {
      const [from, to] = name.split(' ').map(Number)
      if (match.waiting === 0 || damaged.has(from) || damaged.has(to)) return []
      const head = this.#checks.find(({ row }) => row.id === to)?.row.head ?? 0
      const what = `${match.waiting} messages of stream ${from} were never applied`
      return [{ stream: to, seq: head + 1, lastSeq: head + 1, code: 'message', what }]
    })
  }

  #match(from: number, to: number): MessageMatch {
    const name = `${from} ${to}`
    let match = this.#matches.get(name)
    if (match === undefined) {
      match = new MessageMatch(from, to)
      this.#matches.set(name, match)
    }
    return match
  }
}

/** Streams that were anchored and are not in the book any more. */
function lostStreams(book: BookRows, anchor: Anchor | undefined): Finding[] {
  return (anchor?.heads ?? [])
    .filter(({ stream }) => book.streams.every(({ id }) => id !== stream))
    .map(({ stream, seq }) => ({
      ...{ stream, seq: 1, lastSeq: seq, code: 'cut_off' as const },
      what: `its head was written down as ${seq}, and there is no such stream`,
    }))
}

function firstOfEach(findings: readonly Finding[]): Finding[] {
  const first = new Map<number, Finding>()
  for (const finding of findings) {
    const other = first.get(finding.stream)
    if (other === undefined || finding.seq < other.seq) first.set(finding.stream, finding)
  }
  return [...first.values()].sort((one, other) => one.stream - other.stream)
}
