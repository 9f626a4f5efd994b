import { postedBalances } from './account-history.js'
import type { HistoryQueries } from './history-pool.js'

/** An account in a list, with what it held where the list was read. */
export interface ListedAccount {
  id: string
  name?: string
  currency: string
  scale: number
  accountClass: string
  type?: string
  owner?: string
  number?: string
  status: string
  striped: boolean
  /** Minor units; null: unlimited. */
  overdraftLimit: bigint | null
  minimumBalance: bigint
  createdMs: number
  metadata?: Record<string, string | number | boolean>
  /** Debits less credits, in minor units; holds are not part of it. */
  balance: bigint
  /** Where its creation was recorded. */
  stream: number
  seq: number
}

/** What is looked for; what is absent is not asked about. */
export interface AccountFilter {
  owner?: string
  number?: string
  type?: string
  status?: string
  accountClass?: string
  currency?: string
  /** How the name begins. */
  namePrefix?: string
  /** Opened from this millisecond on, and before that one. */
  opened?: { fromMs: number; beforeMs: number }
  /** Has at least these. */
  metadata?: Record<string, string | number | boolean>
}

/** Accounts, the newest first; at most `limit`. */
export async function searchAccounts(
  queries: HistoryQueries,
  query: {
    tenant: number
    filter: AccountFilter
    after?: { createdMs: number; stream: number; seq: number }
    limit: number
    /** False: the balances are not looked up, and are 0. */
    withBalances: boolean
  },
): Promise<ListedAccount[]> {
  const { tenant, filter, after, limit } = query
  const { conditions, put, values } = conditionsOf(tenant, filter)
  if (after !== undefined) {
    const moment = put(new Date(after.createdMs))
    const place = `${moment}::timestamptz, ${put(after.stream)}::int, ${put(after.seq)}::bigint`
    conditions.push(`(created_at, stream, seq) < (${place})`)
  }
  const { rows } = await queries.client.query<AccountRow>(
    `select id, name, currency, scale, class, type, owner, number, status, striped,
       overdraft_limit, minimum_balance, created_at, metadata, stream, seq
     from daybook_history.account where ${conditions.join(' and ')}
     order by created_at desc, stream desc, seq desc limit ${put(limit)}`,
    values,
  )
  const balances = query.withBalances
    ? await postedBalances(queries, { tenant, accounts: rows })
    : rows.map(() => 0n)
  return rows.map((row, index) => ({
    ...{ id: row.id, currency: row.currency, scale: row.scale, accountClass: row.class },
    ...{ status: row.status, striped: row.striped, stream: row.stream, seq: Number(row.seq) },
    name: row.name ?? undefined,
    type: row.type ?? undefined,
    owner: row.owner ?? undefined,
    number: row.number ?? undefined,
    overdraftLimit: row.overdraft_limit === null ? null : BigInt(row.overdraft_limit),
    minimumBalance: BigInt(row.minimum_balance),
    createdMs: row.created_at.getTime(),
    metadata: row.metadata ?? undefined,
    balance: balances[index],
  }))
}

function conditionsOf(tenant: number, filter: AccountFilter) {
  const values: unknown[] = [tenant]
  const conditions = ['tenant = $1']
  const put = (value: unknown): string => `$${values.push(value)}`
  const { owner, number, type, status, accountClass, currency } = filter
  const columns = { owner, number, type, status, class: accountClass, currency }
  for (const [column, value] of Object.entries(columns)) {
    if (value !== undefined) conditions.push(`${column} = ${put(value)}`)
  }
  const { namePrefix, opened, metadata } = filter
  if (namePrefix !== undefined) {
    // Names are of ASCII without blanks: none that begins like this is beyond the last character.
    const prefix = put(namePrefix)
    conditions.push(
      `name collate "C" >= ${prefix} and name collate "C" < ${put(`${namePrefix}\x7f`)}`,
    )
  }
  if (opened !== undefined) {
    conditions.push(`created_at >= ${put(new Date(opened.fromMs))}::timestamptz`)
    conditions.push(`created_at < ${put(new Date(opened.beforeMs))}::timestamptz`)
  }
  if (metadata !== undefined) conditions.push(`metadata @> ${put(JSON.stringify(metadata))}::jsonb`)
  return { conditions, put, values }
}

interface AccountRow {
  id: string
  name: string | null
  currency: string
  scale: number
  class: string
  type: string | null
  owner: string | null
  number: string | null
  status: string
  striped: boolean
  overdraft_limit: string | null
  minimum_balance: string
  created_at: Date
  metadata: ListedAccount['metadata'] | null
  stream: number
  seq: string
}
