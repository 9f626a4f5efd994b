import type { BookCut } from './book-cut.js'
import type { HistoryQueries } from './history-pool.js'
import type { PostedSums } from './running-balances.js'

/** What accounts are added up by. */
export type TrialBalanceGrouping = 'currency' | 'class' | 'type'

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

export interface GroupSums extends TrialBalanceSums {
  accountClass: string | null
  type: string | null
}

/** Where an account is in the order in which they were opened. */
export interface AccountPlace {
  createdMs: number
  stream: number
  seq: number
}

/** By account, what counts at a position although its own stream did it afterwards; minor units. */
export type InFlight = ReadonlyMap<string, PostedSums>

interface ReportQuery {
  tenant: number
  cut: BookCut
  inFlight: InFlight
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
  { tenant, cut }: Pick<ReportQuery, 'tenant' | 'cut'>,
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
             join daybook_history.entry e
               on e.stream = pair.stream and e.cause_stream = pair.cause_stream
                 and e.cause_seq > coalesce(applied.cause_seq, 0)
                 and e.cause_seq <= pair.cause_seq
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

/**
 * The next `limit` accounts added up by what they have in common. `last` is where they end;
 * undefined if there are no more.
 */
export async function readGroupSums(
  { client }: HistoryQueries,
  by: TrialBalanceGrouping,
  query: ReportQuery,
): Promise<{ groups: GroupSums[]; last: AccountPlace | undefined }> {
  const accountClass = by === 'currency' ? 'null' : 'class'
  const type = by === 'type' ? 'type' : 'null'
  const { rows } = await client.query<GroupRow>({
    name: `history-trial-balance-by-${by}`,
    text: `with ${slice} select currency, scale, ${accountClass} as "accountClass", ${type} as type,
             sum(sums.balance) as balance, sum(sums.debits) as debits,
             (select count(*) from slice)::int as accounts,
             (select json_build_array((extract(epoch from created_at) * 1000)::bigint, stream, seq)
              from slice order by created_at desc, stream desc, seq desc limit 1) as last
           from slice cross join lateral (${sumsOfAccount}) sums
           group by 1, 2, 3, 4`,
    values: valuesOf(query),
  })
  if (rows.length === 0) return { groups: [], last: undefined }
  const [createdMs, stream, seq] = rows[0].last
  const groups = rows.map(({ last: _, accounts: __, ...row }) => ({ ...row, ...sumsOf(row) }))
  return {
    groups,
    last: rows[0].accounts < query.limit ? undefined : { createdMs, stream, seq },
  }
}

/** What is in flight, added up by what the accounts have in common. */
export async function groupInFlight(
  { client }: HistoryQueries,
  by: TrialBalanceGrouping,
  { tenant, inFlight }: Pick<ReportQuery, 'tenant' | 'inFlight'>,
): Promise<GroupSums[]> {
  if (inFlight.size === 0) return []
  const { rows } = await client.query<Pick<AccountRow, 'id'> & Omit<GroupSums, keyof PostedSums>>({
    name: 'history-accounts-in-flight',
    text: `select id, currency, scale, class as "accountClass", type
           from daybook_history.account where tenant = $1 and id = any($2::uuid[])`,
    values: [tenant, [...inFlight.keys()]],
  })
  return rows.map(({ id, currency, scale, accountClass, type }) => ({
    ...{ currency, scale },
    accountClass: by === 'currency' ? null : accountClass,
    type: by === 'type' ? type : null,
    ...(inFlight.get(id) ?? { balance: 0n, debits: 0n }),
  }))
}

/** $1 tenant; $2 to $4 streams, seqs and times; $5 to $7 a place; $8 accounts in flight; $9 limit. */
const slice = `slice as (
    select * from daybook_history.account a
    where tenant = $1 and created_at >= $5
      and (created_at, stream, seq) > ($5::timestamptz, $6::int, $7::bigint)
      and (id = any($8::uuid[]) or exists (
        select from unnest($2::int[], $3::bigint[]) as c (stream, seq)
        where c.stream = a.stream and c.seq >= a.seq))
    order by created_at, stream, seq limit $9)`

/** Of the account in `slice`: the sums after the last entry of each stream within the position. */
const sumsOfAccount = `
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

function valuesOf({ tenant, cut, inFlight, after, limit }: ReportQuery): unknown[] {
  return [
    tenant,
    cut.streams.map(({ stream }) => stream),
    cut.streams.map(({ seq }) => seq),
    cut.streams.map(({ timeMs }) =>
      Number.isFinite(timeMs) ? new Date(timeMs).toISOString() : 'infinity',
    ),
    after === undefined ? '-infinity' : new Date(after.createdMs).toISOString(),
    after?.stream ?? 0,
    after?.seq ?? 0,
    [...inFlight.keys()],
    limit,
  ]
}

interface SumsRow {
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

interface GroupRow extends SumsRow {
  currency: string
  scale: number
  accountClass: string | null
  type: string | null
  accounts: number
  last: [createdMs: number, stream: number, seq: number]
}

function sumsOf({ balance, debits }: SumsRow): PostedSums {
  return { balance: BigInt(balance ?? 0), debits: BigInt(debits ?? 0) }
}

function added(sums: PostedSums, more: PostedSums | undefined): PostedSums {
  if (more === undefined) return sums
  return { balance: sums.balance + more.balance, debits: sums.debits + more.debits }
}
