import { formatDay, parseDay } from '../clock.js'
import { effectiveBalance, type HistoryAccount } from './account-history.js'
import type { HistoryQueries } from './history-pool.js'
import type { PostedSums } from './running-balances.js'

const dayMs = 86_400_000
/** Nothing takes effect before it. */
const firstDay = parseDay('0001-01-01') ?? 0

/** What took effect on an account on a day, and its balance after it; minor units. */
export interface DailyBalance {
  /** Since 1970. */
  day: number
  debits: bigint
  credits: bigint
  /** Debits less credits. */
  balance: bigint
}

interface DaysQuery {
  tenant: number
  account: HistoryAccount
  /** Since 1970; both included. */
  fromDay: number
  toDay: number
}

/**
 * The days of an account by effective date, in order, and the balance before them. What was recorded
 * on a day is the difference of two entries, each the last of its day; then the entries that took
 * effect on another day are put right. So it takes a look or two a day, however many entries it has.
 */
export async function dailyBalances(
  queries: HistoryQueries,
  query: DaysQuery,
): Promise<{ opening: bigint; days: DailyBalance[] }> {
  const { tenant, account, fromDay, toDay } = query
  const opening =
    fromDay <= firstDay
      ? 0n
      : await effectiveBalance(queries, { tenant, account, day: fromDay - 1 })
  const moved = await recordedByDay(queries, query)
  for (const { day, balance, debits } of await datedByDay(queries, query)) {
    const own = moved.get(day)
    moved.set(day, {
      balance: (own?.balance ?? 0n) + balance,
      debits: (own?.debits ?? 0n) + debits,
    })
  }
  const days: DailyBalance[] = []
  let balance = opening
  for (let day = fromDay; day <= toDay; day++) {
    const sums = moved.get(day) ?? { balance: 0n, debits: 0n }
    balance += sums.balance
    days.push({ day, balance, debits: sums.debits, credits: sums.debits - sums.balance })
  }
  return { opening, days }
}

/** What was recorded on each day with an entry, by when it was recorded. */
async function recordedByDay(
  { client, followed }: HistoryQueries,
  { tenant, account, fromDay, toDay }: DaysQuery,
): Promise<Map<number, PostedSums>> {
  const lastBefore = (stream: string, moment: string) =>
    `select recorded_at, balance, debits from daybook_history.entry e
     where tenant = $1 and account = $2 and e.stream = ${stream} and recorded_at < ${moment}
     order by recorded_at desc, seq desc, nr desc limit 1`
  const { rows } = await client.query<SumsRow & { stream: number; day: number }>({
    name: 'history-closing-by-day',
    text: `with recursive closing as (
             select s.stream, last.* from unnest($3::int[]) s (stream)
             cross join lateral (${lastBefore('s.stream', '$5')}) last
             union all
             select closing.stream, last.* from closing cross join lateral (
               ${lastBefore('closing.stream', `date_trunc('day', closing.recorded_at, 'UTC')`)}) last
             where closing.recorded_at >= $4)
           select stream, floor(extract(epoch from recorded_at) / 86400)::int as day, balance, debits
           from closing order by day, stream`,
    values: [
      ...[tenant, account.id, [...followed.keys()]],
      ...[new Date(fromDay * dayMs), new Date((toDay + 1) * dayMs)],
    ],
  })
  const moved = new Map<number, PostedSums>()
  const parts = new Map<number, PostedSums>()
  let before: PostedSums = { balance: 0n, debits: 0n }
  for (const [index, row] of rows.entries()) {
    // One that is not striped moves from a stream to that of a later generation, sums and all.
    if (!account.striped) parts.clear()
    parts.set(row.stream, sumsOf(row))
    if (rows[index + 1]?.day === row.day) continue
    const now = added([...parts.values()])
    const { balance, debits } = {
      balance: now.balance - before.balance,
      debits: now.debits - before.debits,
    }
    if (row.day >= fromDay) moved.set(row.day, { balance, debits })
    before = now
  }
  return moved
}

/** Entries that took effect on another day: there they are added, and where they were recorded taken away. */
async function datedByDay(
  { client }: HistoryQueries,
  { tenant, account, fromDay, toDay }: DaysQuery,
): Promise<(PostedSums & { day: number })[]> {
  const { rows } = await client.query<SumsRow & { day: number }>({
    name: 'history-dated-by-day',
    text: `select effective_date - date '1970-01-01' as day,
             sum(amount) as balance, sum(greatest(amount, 0)) as debits
           from daybook_history.entry
           where tenant = $1 and account = $2 and dated and effective_date between $3 and $4
           group by day
           union all
           select floor(extract(epoch from recorded_at) / 86400)::int as day,
             -sum(amount) as balance, -sum(greatest(amount, 0)) as debits
           from daybook_history.entry
           where tenant = $1 and account = $2 and dated and recorded_at >= $5 and recorded_at < $6
           group by day`,
    values: [
      ...[tenant, account.id, formatDay(fromDay), formatDay(toDay)],
      ...[new Date(fromDay * dayMs), new Date((toDay + 1) * dayMs)],
    ],
  })
  return rows.map((row) => ({ day: row.day, ...sumsOf(row) }))
}

interface SumsRow {
  balance: string
  debits: string
}

function sumsOf({ balance, debits }: SumsRow): PostedSums {
  return { balance: BigInt(balance), debits: BigInt(debits) }
}

function added(parts: readonly PostedSums[]): PostedSums {
  return {
    balance: parts.reduce((sum, part) => sum + part.balance, 0n),
    debits: parts.reduce((sum, part) => sum + part.debits, 0n),
  }
}
