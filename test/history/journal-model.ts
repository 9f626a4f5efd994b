import pg from 'pg'
import type { Teardown } from '../postgres.js'

/** What a record made real, as the views of the journal say: neither holds, nor what was applied. */
export interface ModelPosting {
  stream: number
  seq: number
  timeMs: number
  debit: string
  credit: string
  minor: bigint
  currency: string
  /** `YYYY-MM-DD`. */
  effectiveDate: string
}

export interface ModelRecord {
  stream: number
  seq: number
  timeMs: number
  cause: { stream: number; seq: number } | undefined
}

/** A journal, read by SQL alone: nothing of the read models, or of the code that makes them. */
export interface JournalModel {
  postings: ModelPosting[]
  /** In the order of each stream, from 1 on. */
  records: Map<number, ModelRecord[]>
  /** Streams of each generation, in order. */
  generations: number[][]
}

export async function readJournalModel(t: Teardown, databaseUrl: string): Promise<JournalModel> {
  const client = new pg.Client({ connectionString: databaseUrl })
  await client.connect()
  t.teardown(() => client.end())
  const streams = await client.query<{ ids: number[] }>(
    'select array_agg(id order by id) as ids from daybook.stream group by generation order by generation',
  )
  const { rows: records } = await client.query<{
    stream: number
    seq: string
    time: Date
    cause_stream: number | null
    cause_seq: string | null
  }>(`select stream, seq, time, cause_stream, cause_seq from daybook.records order by stream, seq`)
  const { rows: postings } = await client.query<
    Omit<ModelPosting, 'seq' | 'timeMs' | 'minor'> & { seq: string; time: Date; minor: string }
  >(
    `select stream, seq, time, debit, credit, amount_minor as minor, currency,
       effective_date::text as "effectiveDate"
     from daybook.postings order by stream, seq, posting`,
  )
  const byStream = new Map<number, ModelRecord[]>()
  for (const ids of streams.rows) for (const id of ids.ids) byStream.set(id, [])
  for (const { stream, seq, time, cause_stream, cause_seq } of records) {
    const cause =
      cause_stream === null ? undefined : { stream: cause_stream, seq: Number(cause_seq) }
    byStream.get(stream)?.push({ stream, seq: Number(seq), timeMs: time.getTime(), cause })
  }
  return {
    postings: postings.map(({ seq, time, minor, ...posting }) => ({
      ...posting,
      ...{ seq: Number(seq), timeMs: time.getTime(), minor: BigInt(minor) },
    })),
    records: byStream,
    generations: streams.rows.map(({ ids }) => ids),
  }
}

/** Debits and credits of each account, of the postings that count; minor units. */
export function modelSums(
  { postings }: JournalModel,
  counts: (posting: ModelPosting) => boolean,
): Map<string, { debits: bigint; credits: bigint }> {
  const sums = new Map<string, { debits: bigint; credits: bigint }>()
  const of = (account: string) => {
    const own = sums.get(account) ?? { debits: 0n, credits: 0n }
    sums.set(account, own)
    return own
  }
  for (const posting of postings.filter(counts)) {
    of(posting.debit).debits += posting.minor
    of(posting.credit).credits += posting.minor
  }
  return sums
}
