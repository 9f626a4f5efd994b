import type { BookRows } from './book-rows.js'
import type { Queries } from './database.js'
import { lastRecordUntil, timeAfter } from './moment.js'
import type { JournalSession } from './session.js'

/** What can be said of a stream without reading it. */
export interface StreamOverview {
  stream: number
  generation: number
  closed: boolean
  epoch: number
  head: number
  /** In hex. */
  digest: string
  owner: string | null
  /** Of its payloads, as some samples have it; null without records. */
  bytesEstimated: number | null
  /** ISO 8601; null without records. */
  lastRecordAt: string | null
  /** Records of the last minute; null if it is closed. */
  recordsLastMinute: number | null
}

export interface PartitionOverview {
  partition: string
  /** With its index. */
  bytes: number
  rowsEstimated: number
}

const minuteMs = 60_000
const sampleRecords = 500

/** Looks at a stream in a few places: its last record, the minute before `nowMs`, some samples. */
export async function streamOverview(
  session: Pick<JournalSession, 'readChunks'>,
  stream: BookRows['streams'][number],
  nowMs: number,
): Promise<StreamOverview> {
  const { id, generation, closed, epoch, head, owner } = stream
  const lastMs = head === 0 ? undefined : await timeAfter(session, { id, head }, head - 1)
  return {
    ...{ stream: id, generation, closed, epoch, head, owner },
    digest: stream.digest.toString('hex'),
    bytesEstimated: head === 0 ? null : await estimatedBytes(session, stream),
    lastRecordAt: lastMs === undefined ? null : new Date(lastMs).toISOString(),
    recordsLastMinute: closed ? null : head - (await headBefore(session, stream, nowMs - minuteMs)),
  }
}

async function headBefore(
  session: Pick<JournalSession, 'readChunks'>,
  stream: { id: number; head: number },
  timeMs: number,
): Promise<number> {
  return (await lastRecordUntil(session, stream, timeMs)).seq
}

/** Records differ in size, and with the years: samples from the beginning, the middle and the end. */
async function estimatedBytes(
  session: Pick<JournalSession, 'readChunks'>,
  { id, head }: { id: number; head: number },
): Promise<number> {
  let bytes = 0
  let records = 0
  for (const part of [0, 0.5, 1]) {
    const from = Math.max(0, Math.floor((head - sampleRecords) * part))
    for await (const chunk of session.readChunks(id, from, Math.min(head, from + sampleRecords))) {
      bytes += chunk.payload.length
      records += chunk.n
    }
  }
  return records === 0 ? 0 : Math.round((bytes / records) * head)
}

/** The partitions of the journal, oldest first. */
export async function partitionsOverview(connection: Queries): Promise<PartitionOverview[]> {
  const { rows } = await connection.query<{ name: string; bytes: string; rows: string }>(
    `select c.relname as name, pg_total_relation_size(c.oid) as bytes,
       greatest(c.reltuples, 0)::bigint as rows
     from pg_inherits i join pg_class c on c.oid = i.inhrelid
     where i.inhparent = 'daybook.journal'::regclass order by c.relname`,
  )
  return rows.map(({ name, bytes, rows: estimated }) => ({
    partition: name,
    bytes: Number(bytes),
    rowsEstimated: Number(estimated),
  }))
}
