import pg from 'pg'
import type { Database } from './database.js'
import { paddedLength, Word } from './record.js'

/**
 * Reads single records that are known to be durable, by position. Replaced by a projection where
 * that is faster; the journal is always right.
 */
export interface JournalReader {
  /** The words of the record at (stream, seq); throws if there is none. */
  readRecord(stream: number, seq: number): Promise<Uint32Array>
  close(): Promise<void>
}

/** Connections for reading, and how many reads may wait for one of them. */
const connectionsMax = 4
const waitingReadsMax = 4096

export function postgresReader(
  connectionString: string,
  options: { timeoutMs: number; onError: (error: Error) => void },
): JournalReader {
  const pool = new pg.Pool({
    connectionString,
    max: connectionsMax,
    connectionTimeoutMillis: options.timeoutMs,
    query_timeout: options.timeoutMs,
    application_name: 'daybook reader',
  })
  pool.on('error', options.onError)
  return {
    async readRecord(stream, seq) {
      if (pool.waitingCount >= waitingReadsMax)
        throw new Error('too many reads wait for the journal')
      const values = [stream, seq]
      const { rows } = await pool.query<ChunkRow>({ name: 'read-record', text: chunkText, values })
      return recordIn(rows, { stream, seq })
    },
    close: () => pool.end(),
  }
}

/** A reader that opens a connection for each record. */
export function plainReader(database: Database): JournalReader {
  return {
    async readRecord(stream, seq) {
      const connection = await database.connect({ name: 'daybook reader' })
      try {
        const { rows } = await connection.query<ChunkRow>(chunkText, [stream, seq])
        return recordIn(rows, { stream, seq })
      } finally {
        await connection.end()
      }
    },
    close: () => Promise.resolve(),
  }
}

/** The chunk of a record, with all its parts. */
const chunkText = `select first_seq, payload from daybook.journal
  where stream = $1 and first_seq = (
    select first_seq from daybook.journal
    where stream = $1 and first_seq <= $2 and part = 0
    order by first_seq desc limit 1)
  order by part`

interface ChunkRow {
  first_seq: string
  payload: Buffer
}

export function recordIn(
  rows: readonly ChunkRow[],
  { stream, seq }: { stream: number; seq: number },
): Uint32Array {
  if (rows.length === 0) throw new Error(`no record at ${stream}-${seq}`)
  return recordAt(Buffer.concat(rows.map((row) => row.payload)), seq - Number(rows[0].first_seq))
}

/** The record at `index` of a chunk's payload, in words of its own. */
function recordAt(payload: Buffer, index: number): Uint32Array {
  const words = new Uint32Array(payload.length / 4)
  new Uint8Array(words.buffer).set(payload)
  let at = 0
  for (let skipped = 0; skipped < index; skipped++) at += paddedLength(words[at + Word.length]) / 4
  if (!(at < words.length)) throw new Error('the stream ends before this record')
  return words.slice(at, at + paddedLength(words[at + Word.length]) / 4)
}
