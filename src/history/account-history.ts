import { formatDay } from '../clock.js'
import {
  type EntryTransaction,
  type EntryTransactionRow,
  entryTransactionOf,
  findEntryTransactions,
  joinTransactions,
} from './entry-transactions.js'
import type { HistoryQueries, Positions } from './history-pool.js'
import { prepared } from './prepared.js'

const dayMs = 86_400_000

/** An account as the read models know it. */
export interface HistoryAccount {
  id: string
  currency: string
  scale: number
  accountClass: string
  striped: boolean
  /** Nothing moved on it before; milliseconds since 1970. */
  createdMs: number
  name: string | null
  owner: string | null
  number: string | null
}

/** An entry of an account; amounts in minor units. */
export interface AccountEntry {
  place: EntryPlace
  transaction: string
  counterAccount: string
  /** A debit is positive, a credit negative. */
  amount: bigint
  /** Debits less credits after it; of a striped account, of all its parts. */
  balance: bigint
  /** `YYYY-MM-DD`. */
  effectiveDate: string
  /** If it was asked for. */
  about?: EntryTransaction
}

/**
 * Where an entry is in the order of its account's entries: by time, then stream, seq and side.
 * An account that is not striped lives in one stream at a time, whose times never run back.
 */
export interface EntryPlace {
  /** Microseconds would be lost in a Date: milliseconds since 1970, as records have them. */
  timeMs: number
  stream: number
  seq: number
  nr: number
}

export interface EntryQuery {
  tenant: number
  account: HistoryAccount
  /** Recorded from this millisecond on, and before that one. */
  fromMs: number
  beforeMs: number
  /** Entries after this one, in the order asked for. */
  after?: EntryPlace
  descending: boolean
  limit: number
  /** Nothing after these positions; absent: all that is there. */
  upTo?: Positions
  /** What each entry's transaction says is wanted too. */
  withTransactions: boolean
}

export async function findAccount(
  { client }: HistoryQueries,
  tenant: number,
  id: string,
): Promise<HistoryAccount | undefined> {
  const { rows } = await client.query<HistoryAccount>({
    name: 'history-account',
    text: `select id, currency, scale, class as "accountClass", striped, name, owner, number,
             extract(epoch from created_at)::float8 * 1000 as "createdMs"
           from daybook_history.account where tenant = $1 and id = $2`,
    values: [tenant, id],
  })
  return rows[0]
}

/** Entries in recorded order, or the other way round; at most `limit`. */
export async function readEntries(
  queries: HistoryQueries,
  query: EntryQuery,
): Promise<AccountEntry[]> {
  let entries: AccountEntry[] = []
  for (const range of widening(queries, query)) {
    entries = await entriesWithin(queries, { ...query, ...range })
    if (entries.length === query.limit) break
  }
  if (query.withTransactions) entries = await withTransactions(queries, query.tenant, entries)
  return query.account.striped ? await withSums(queries, query, entries) : entries
}

/**
 * Ranges of time from where the page begins: a month first, which touches few partitions and is
 * enough where much happens; then wider ones, until it is all that was asked for.
 */
function* widening(
  { newestMs }: HistoryQueries,
  { account, fromMs, beforeMs, after, descending }: EntryQuery,
): Iterable<{ fromMs: number; beforeMs: number }> {
  const first = Math.max(fromMs, account.createdMs)
  const end = Math.min(beforeMs, newestMs + 1)
  const start = descending
    ? Math.min(end, after === undefined ? end : after.timeMs + 1)
    : Math.max(first, after?.timeMs ?? first)
  for (let spanMs = 31 * dayMs; ; spanMs *= 6) {
    const range = descending
      ? { fromMs: Math.max(first, start - spanMs), beforeMs: start }
      : { fromMs: start, beforeMs: Math.min(end, start + spanMs) }
    if (range.fromMs < range.beforeMs) yield range
    if (descending ? range.fromMs <= first : range.beforeMs >= end) return
  }
}

async function entriesWithin(
  { client, followed }: HistoryQueries,
  query: EntryQuery,
): Promise<AccountEntry[]> {
  const { tenant, account, descending, limit, after, upTo, withTransactions } = query
  const direction = descending ? 'desc' : 'asc'
  const compare = descending ? '<' : '>'
  // Moments, not milliseconds to reckon with: the planner leaves out the partitions of other months.
  const range = [new Date(query.fromMs), new Date(query.beforeMs)]
  const values: unknown[] = [tenant, account.id, ...range, limit]
  if (after !== undefined) values.push(new Date(after.timeMs), after.stream, after.seq, after.nr)
  const put = (value: unknown): string => `$${values.push(value)}`
  const order = ['recorded_at', 'stream', 'seq', 'nr'].map((key) => `${key} ${direction}`).join()
  const ofStream = (stream: number) =>
    `(select ${entryFields} from daybook_history.entry
      where tenant = $1 and account = $2 and stream = ${stream}
        and recorded_at >= $3 and recorded_at < $4
        ${upTo === undefined ? '' : `and seq <= ${put(upTo.get(stream) ?? 0)}`}
        ${after === undefined ? '' : afterPlace(stream, compare)}
      order by recorded_at ${direction}, seq ${direction}, nr ${direction} limit $5)`
  const { rows } = await client.query<EntryRow>(
    prepared(
      `select ${entryNames}${withTransactions ? ', t.*' : ''} from (
         select * from (${[...followed.keys()].map(ofStream).join(' union all ')}) of_streams
         order by ${order} limit $5) e
       ${withTransactions ? joinTransactions : ''}
       order by ${order}`,
      values,
    ),
  )
  return rows.map(entryOf)
}

/** Debits less credits of an account as it was recorded before a moment; minor units. */
export async function recordedBalance(
  queries: HistoryQueries,
  of: { tenant: number; account: HistoryAccount; beforeMs: number },
): Promise<bigint> {
  const { tenant, account, beforeMs } = of
  const parts = await partsBefore(queries, {
    ...{ tenant, account },
    place: { timeMs: beforeMs, stream: 0, seq: 0, nr: 0 },
  })
  if (account.striped) return sum([...parts.values()])
  const [last] = [...parts.keys()].sort((a, b) => b - a)
  return parts.get(last) ?? 0n
}

/**
 * Debits less credits of everything effective up to and with a day; minor units. Most entries take
 * effect on the day on which they are recorded: it is what was recorded by the end of that day, with
 * the others put right.
 */
export async function effectiveBalance(
  queries: HistoryQueries,
  of: { tenant: number; account: HistoryAccount; day: number },
): Promise<bigint> {
  const { tenant, account, day } = of
  const beforeMs = (day + 1) * dayMs
  const { rows } = await queries.client.query<{ late: string | null; early: string | null }>({
    name: 'history-effective-balance',
    text: `select
             sum(amount) filter (where effective_date <= $3 and recorded_at >= $4) as late,
             sum(amount) filter (where effective_date > $3 and recorded_at < $4) as early
           from daybook_history.entry
           where tenant = $1 and account = $2 and dated`,
    values: [tenant, account.id, formatDay(day), new Date(beforeMs)],
  })
  const { late, early } = rows[0]
  const recorded = await recordedBalance(queries, { tenant, account, beforeMs })
  return recorded + BigInt(late ?? 0) - BigInt(early ?? 0)
}

/** Debits less credits of accounts after their last entries, in the order given; minor units. */
export async function postedBalances(
  { client, followed }: HistoryQueries,
  of: { tenant: number; accounts: readonly Pick<HistoryAccount, 'id' | 'striped'>[] },
): Promise<bigint[]> {
  const { rows } = await client.query<{ balance: string | null }>({
    name: 'history-posted-balances',
    text: `select case when asked.striped then sum(last.balance)
                       else (array_agg(last.balance order by last.stream desc)
                         filter (where last.stream is not null))[1] end as balance
           from unnest($2::uuid[], $3::boolean[]) with ordinality as asked (account, striped, place)
           cross join unnest($4::int[]) as s (stream)
           left join lateral (
             select balance, stream from daybook_history.entry e
             where e.tenant = $1 and e.account = asked.account and e.stream = s.stream
             order by recorded_at desc, seq desc, nr desc limit 1) last on true
           group by asked.place, asked.striped order by asked.place`,
    values: [
      of.tenant,
      of.accounts.map(({ id }) => id),
      of.accounts.map(({ striped }) => striped),
      [...followed.keys()],
    ],
  })
  return rows.map(({ balance }) => BigInt(balance ?? 0))
}

const entryFields = `recorded_at, (date_part('epoch', recorded_at) * 1000)::bigint as recorded_ms,
  stream, seq, nr, transaction, counter_account, amount, balance, effective_date::text as effective_date`

const entryNames = `recorded_ms, e.stream, e.seq, e.nr, transaction, counter_account, amount, balance,
  effective_date`

interface EntryRow {
  recorded_ms: string
  stream: number
  seq: string
  nr: number
  transaction: string
  counter_account: string
  amount: string
  balance: string
  effective_date: string
}

function entryOf(row: EntryRow & Partial<EntryTransactionRow>): AccountEntry {
  const { recorded_ms, stream, seq, nr } = row
  const entry: AccountEntry = {
    place: { timeMs: Number(recorded_ms), stream, seq: Number(seq), nr },
    transaction: row.transaction,
    counterAccount: row.counter_account,
    amount: BigInt(row.amount),
    balance: BigInt(row.balance),
    effectiveDate: row.effective_date,
  }
  if (row.kind !== undefined) entry.about = entryTransactionOf(row as EntryTransactionRow)
  return entry
}

/** Looks for the transactions that were not recorded where most of them are. */
async function withTransactions(
  queries: HistoryQueries,
  tenant: number,
  entries: AccountEntry[],
): Promise<AccountEntry[]> {
  const missing = entries.filter(({ about }) => about === undefined)
  if (missing.length === 0) return entries
  const ids = [...new Set(missing.map(({ transaction }) => transaction))]
  const found = await findEntryTransactions(queries, { tenant, ids })
  return entries.map((entry) =>
    entry.about === undefined ? { ...entry, about: found.get(entry.transaction) } : entry,
  )
}

/** Entries of a stream beyond the place in $6 to $9, in the order (time, stream, seq, side). */
function afterPlace(stream: number, compare: '<' | '>'): string {
  return `and (recorded_at, ${stream}, seq, nr)
    ${compare} ($6::timestamptz, $7::int, $8::bigint, $9::smallint)`
}

/** The balance of each part, by stream, before a place. */
async function partsBefore(
  { client, followed }: HistoryQueries,
  of: { tenant: number; account: HistoryAccount; place: EntryPlace },
): Promise<Map<number, bigint>> {
  const { timeMs, stream, seq, nr } = of.place
  const ofStream = (own: number) =>
    `(select stream, balance from daybook_history.entry
      where tenant = $1 and account = $2 and stream = ${own} and recorded_at <= $3
        and (recorded_at, ${own}, seq, nr) < ($3::timestamptz, $4::int, $5::bigint, $6::smallint)
      order by recorded_at desc, seq desc, nr desc limit 1)`
  const { rows } = await client.query<{ stream: number; balance: string }>(
    prepared([...followed.keys()].map(ofStream).join(' union all '), [
      ...[of.tenant, of.account.id, new Date(timeMs), stream, seq, nr],
    ]),
  )
  return new Map(rows.map((row) => [row.stream, BigInt(row.balance)]))
}

/** Entries of a striped account: what each of them has of its part becomes the sum of all parts. */
async function withSums(
  queries: HistoryQueries,
  { tenant, account, descending }: EntryQuery,
  entries: AccountEntry[],
): Promise<AccountEntry[]> {
  const ascending = descending ? entries.toReversed() : entries
  if (ascending.length === 0) return entries
  const parts = await partsBefore(queries, { tenant, account, place: ascending[0].place })
  const summed = ascending.map((entry) => {
    parts.set(entry.place.stream, entry.balance)
    return { ...entry, balance: sum([...parts.values()]) }
  })
  return descending ? summed.reverse() : summed
}

function sum(amounts: readonly bigint[]): bigint {
  return amounts.reduce((total, amount) => total + amount, 0n)
}
