import type { BookCut } from './book-cut.js'
import type { HistoryQueries } from './history-pool.js'
import type { PostedSums } from './running-balances.js'

/** What was posted up to a book position, on an account or on all of a kind; minor units. */
export interface TrialBalanceSums extends PostedSums {
  currency: string
  scale: number
}

export interface AccountSums extends TrialBalanceSums {
  id: string
  name: string | null
  number: string | null
  accountClass: string
  type: string | null
  place: AccountPlace
}

/** Where an account is in the order in which they were opened. */
export interface AccountPlace {
  createdMs: number
  stream: number
  seq: number
}

/** By account, what counts at a position although its own stream did it afterwards; minor units. */
export type InFlight = ReadonlyMap<string, PostedSums>

/** What is the same for every part of a report. */
export interface ReportPlace {
  tenant: number
  cut: BookCut
  inFlight: InFlight
}

export interface ReportQuery extends ReportPlace {
  after: AccountPlace | undefined
  limit: number
}

/** Entries of that kind that a report takes in: more than can be under way at any time. */
const inFlightEntriesMax = 100_000

/**
 * What transactions of the position moved in streams that had not come to it yet. A transaction is
 * its home record: if that is within the position, all that it moves is, wherever and whenever it
 * was applied. That way the books balance at every position.
 *
 * The read models must hold what followed from the position. `not_closed`: a stream has applied
 * what is beyond the position, so that it is none.
 */
export async function readInFlight(
  { client }: HistoryQueries,
  { tenant, cut }: Pick<ReportPlace, 'tenant' | 'cut'>,
): Promise<InFlight | 'not_closed' | 'too_many'> {
  if (cut.position.size === 1) return new Map()
  const values = [[...cut.position.keys()], [...cut.position.values()]]
  const { rows: ahead } = await client.query({
    name: 'history-applied-beyond',
    text: `${pairs} select 1 from pair cross join lateral (
             select seq from daybook_history.entry e
             where e.stream = pair.stream and e.cause_stream = pair.cause_stream
               and e.cause_seq > pair.cause_seq
             order by e.cause_seq limit 1) first
           where first.seq <= pair.seq limit 1`,
    values,
  })
  if (ahead.length > 0) return 'not_closed'
  const { rows } = await client.query<SumsRow & { account: string; entries: string }>({
    name: 'history-in-flight',
    text: `${pairs}, late as (
             select e.account, e.amount from pair
             left join lateral (
               select cause_seq from daybook_history.entry e
               where e.stream = pair.stream and e.cause_stream = pair.cause_stream
                 and e.cause_seq <= pair.cause_seq and e.seq <= pair.seq
               order by e.cause_seq desc limit 1) applied on true
             -- In order and with a limit, so that only the run between is looked at.
             cross join lateral (
               select tenant, account, amount from daybook_history.entry e
               where e.stream = pair.stream and e.cause_stream = pair.cause_stream
                 and e.cause_seq > coalesce(applied.cause_seq, 0)
                 and e.cause_seq <= pair.cause_seq
               order by e.cause_seq limit ${inFlightEntriesMax + 1}) e
             where e.tenant = $3 limit ${inFlightEntriesMax + 1})
           select account, sum(amount) as balance, sum(greatest(amount, 0)) as debits,
             sum(count(*)) over () as entries
           from late group by account`,
    values: [...values, tenant],
  })
  if (rows.length > 0 && Number(rows[0].entries) > inFlightEntriesMax) return 'too_many'
  return new Map(rows.map((row) => [row.account, sumsOf(row)]))
}

/** Every stream that applies, with every other one whose records it applies. */
const pairs = `with cut as (select * from unnest($1::int[], $2::bigint[]) as c (stream, seq)),
  pair as (
    select own.stream, own.seq, cause.stream as cause_stream, cause.seq as cause_seq
    from cut own join cut cause on cause.stream <> own.stream)`

/** Accounts that were there, in the order in which they were opened; at most `limit`. */
export async function readAccountSums(
  { client }: HistoryQueries,
  query: ReportQuery,
): Promise<AccountSums[]> {
  const { rows } = await client.query<AccountRow>({
    name: 'history-trial-balance-accounts',
    text: `with ${slice} select id, name, number, class as "accountClass", type, currency, scale,
             (extract(epoch from created_at) * 1000)::bigint as created_ms, stream, seq,
             sums.balance, sums.debits
           from slice cross join lateral (${sumsOfAccount}) sums
           order by created_at, stream, seq`,
    values: valuesOf(query),
  })
  return rows.map(({ created_ms, stream, seq, ...row }) => ({
    ...row,
    ...added(sumsOf(row), query.inFlight.get(row.id)),
    place: { createdMs: Number(created_ms), stream, seq: Number(seq) },
  }))
}

/** $1 tenant; $2 to $4 streams, seqs and times; $5 to $7 a place; $8 accounts in flight; $9 limit. */
export const slice = `slice as (
    select * from daybook_history.account a
    where tenant = $1 and created_at >= $5
      and (created_at, stream, seq) > ($5::timestamptz, $6::int, $7::bigint)
      and (id = any($8::uuid[]) or exists (
        select from unnest($2::int[], $3::bigint[]) as c (stream, seq)
        where c.stream = a.stream and c.seq >= a.seq))
    order by created_at, stream, seq limit $9)`

/** Of the account in `slice`: the sums after the last entry of each stream within the position. */
export const sumsOfAccount = `
  select case when slice.striped then sum(last.balance) else (array_agg(last.balance
      order by cut.stream desc) filter (where last.balance is not null))[1] end as balance,
    case when slice.striped then sum(last.debits) else (array_agg(last.debits
      order by cut.stream desc) filter (where last.debits is not null))[1] end as debits
  from unnest($2::int[], $3::bigint[], $4::timestamptz[]) as cut (stream, seq, until)
  left join lateral (
    select e.balance, e.debits from daybook_history.entry e
    where e.tenant = $1 and e.account = slice.id and e.stream = cut.stream
      and e.recorded_at <= cut.until and e.seq <= cut.seq
    order by e.recorded_at desc, e.seq desc, e.nr desc limit 1) last on true`

export function valuesOf({ tenant, cut, inFlight, after, limit }: ReportQuery): unknown[] {
  return [
    tenant,
    cut.streams.map(({ stream }) => stream),
    cut.streams.map(({ seq }) => seq),
    cut.streams.map(({ timeMs }) => new Date(timeMs).toISOString()),
    after === undefined ? '-infinity' : new Date(after.createdMs).toISOString(),
    after?.stream ?? 0,
    after?.seq ?? 0,
    [...inFlight.keys()],
    limit,
  ]
}

export interface SumsRow {
  balance: string | null
  debits: string | null
}

interface AccountRow extends SumsRow {
  id: string
  name: string | null
  number: string | null
  accountClass: string
  type: string | null
  currency: string
  scale: number
  created_ms: string
  stream: number
  seq: string
}

export function sumsOf({ balance, debits }: SumsRow): PostedSums {
  return { balance: BigInt(balance ?? 0), debits: BigInt(debits ?? 0) }
}

function added(sums: PostedSums, more: PostedSums | undefined): PostedSums {
  if (more === undefined) return sums
  return { balance: sums.balance + more.balance, debits: sums.debits + more.debits }
}
