import type { HistoryQueries } from './history-pool.js'
import type { PostingJson } from './transaction-rows.js'

/** A transaction as the read models have it. */
export interface HistoryTransactionView {
  id: string
  timeMs: number
  stream: number
  seq: number
  kind: number
  state: number
  imported: boolean
  /** `YYYY-MM-DD`. */
  effectiveDate: string
  expiresAtMs?: number
  target?: string
  postings: HistoryPosting[]
  /** Of a hold, per posting, in minor units. */
  remaining?: bigint[]
  code?: number
  name?: string
  reference?: string
  description?: string
  category?: string
  number?: string
  metadata?: Record<string, string | number | boolean>
}

export interface HistoryPosting {
  debit: string
  credit: string
  /** Minor units. */
  amount: bigint
  currency: string
  scale: number
}

/** Where a transaction is in the list: newest first. */
export interface TransactionPlace {
  timeMs: number
  stream: number
  seq: number
}

/** What is looked for; what is absent is not asked about. */
export interface TransactionFilter {
  account?: string
  reference?: string
  code?: number
  category?: string
  number?: string
  metadata?: Record<string, string | number | boolean>
  /** Minor units of the first posting, in its currency. */
  amount?: { currency: string; atLeast?: bigint; atMost?: bigint }
  /** Recorded from this millisecond on, and before that one. */
  recorded?: { fromMs?: number; beforeMs?: number }
  /** `YYYY-MM-DD`, both included. */
  effective?: { from?: string; to?: string }
  states?: readonly number[]
  kinds?: readonly number[]
  /** Whether it reserves, or did, before it moves anything. */
  isHold?: boolean
}

export async function readTransactions(
  queries: HistoryQueries,
  query: {
    tenant: number
    filter: TransactionFilter
    after?: TransactionPlace
    limit: number
  },
): Promise<HistoryTransactionView[]> {
  const { client } = queries
  const { conditions, values } = conditionsOf(query)
  const { account } = query.filter
  if (account !== undefined) {
    const ids = await transactionsOf(queries, { tenant: query.tenant, account })
    // A busy account is in so many that looking through the newest finds it soon.
    const own = ids ?? account
    const at = `$${values.push(own)}`
    conditions.push(
      ids === undefined
        ? `(t.debit = ${at} or t.credit = ${at}
            or t.more @> jsonb_build_array(jsonb_build_array(${at}::text)))`
        : `t.id = any(${at}::uuid[])`,
    )
  }
  values.push(query.limit)
  const { rows } = await client.query<TransactionRow>(
    `select ${fields} from daybook_history.transaction t where ${conditions.join(' and ')}
     order by recorded_at desc, stream desc, seq desc limit $${values.length}`,
    values,
  )
  return rows.map(viewOf)
}

const idsMax = 2000

/** Ids of the transactions that have an account in a posting; undefined if they are many. */
async function transactionsOf(
  { client }: HistoryQueries,
  { tenant, account }: { tenant: number; account: string },
): Promise<string[] | undefined> {
  const { rows } = await client.query<{ id: string }>({
    name: 'history-transactions-of',
    text: `select distinct id from (
             (select transaction as id from daybook_history.entry
              where tenant = $1 and account = $2 limit $3)
             union all
             (select transaction from daybook_history.hold
              where tenant = $1 and account = $2 limit $3)) ids`,
    values: [tenant, account, 2 * idsMax],
  })
  return rows.length <= idsMax ? rows.map(({ id }) => id) : undefined
}

const fields = `id, (extract(epoch from recorded_at) * 1000)::bigint as time_ms, stream, seq, kind,
  state, imported, effective_date::text as effective_date,
  (extract(epoch from expires_at) * 1000)::bigint as expires_ms, target, debit, credit, amount,
  currency, scale, more, remaining::text[] as remaining, code, name, reference, description,
  category, number, metadata`

interface TransactionRow {
  id: string
  time_ms: string
  stream: number
  seq: string
  kind: number
  state: number
  imported: boolean
  effective_date: string
  expires_ms: string | null
  target: string | null
  debit: string | null
  credit: string
  amount: string
  currency: string
  scale: number
  more: PostingJson[] | null
  remaining: string[] | null
  code: string | null
  name: string | null
  reference: string | null
  description: string | null
  category: string | null
  number: string | null
  metadata: Record<string, string | number | boolean> | null
}

function viewOf(row: TransactionRow): HistoryTransactionView {
  const { id, stream, kind, state, imported } = row
  return {
    ...{ id, timeMs: Number(row.time_ms), stream, seq: Number(row.seq), kind, state, imported },
    effectiveDate: row.effective_date,
    expiresAtMs: row.expires_ms === null ? undefined : Number(row.expires_ms),
    target: row.target ?? undefined,
    postings: postingsOf(row),
    remaining: row.remaining?.map(BigInt),
    code: row.code === null ? undefined : Number(row.code),
    name: row.name ?? undefined,
    reference: row.reference ?? undefined,
    description: row.description ?? undefined,
    category: row.category ?? undefined,
    number: row.number ?? undefined,
    metadata: row.metadata ?? undefined,
  }
}

function postingsOf({ debit, credit, amount, currency, scale, more }: TransactionRow) {
  if (debit === null) return []
  const first: HistoryPosting = { debit, credit, amount: BigInt(amount), currency, scale }
  const others = (more ?? []).map(([debit, credit, amount, currency, scale]) => ({
    ...{ debit, credit, amount: BigInt(amount), currency, scale },
  }))
  return [first, ...others]
}

function conditionsOf({
  tenant,
  filter,
  after,
}: {
  tenant: number
  filter: TransactionFilter
  after?: TransactionPlace
}): { conditions: string[]; values: unknown[] } {
  const values: unknown[] = [tenant]
  const conditions = ['t.tenant = $1']
  const put = (value: unknown): string => `$${values.push(value)}`
  const equal = (column: string, value: unknown) => {
    if (value !== undefined) conditions.push(`t.${column} = ${put(value)}`)
  }
  equal('reference', filter.reference)
  equal('code', filter.code)
  equal('category', filter.category)
  equal('number', filter.number)
  const { metadata, amount, recorded, effective, states, kinds, isHold } = filter
  if (metadata !== undefined)
    conditions.push(`t.metadata @> ${put(JSON.stringify(metadata))}::jsonb`)
  if (amount !== undefined) {
    equal('currency', amount.currency)
    if (amount.atLeast !== undefined) conditions.push(`t.amount >= ${put(amount.atLeast)}`)
    if (amount.atMost !== undefined) conditions.push(`t.amount <= ${put(amount.atMost)}`)
  }
  const moment = (timeMs: number) => `${put(new Date(timeMs))}::timestamptz`
  if (recorded?.fromMs !== undefined) conditions.push(`t.recorded_at >= ${moment(recorded.fromMs)}`)
  if (recorded?.beforeMs !== undefined) {
    conditions.push(`t.recorded_at < ${moment(recorded.beforeMs)}`)
  }
  if (effective?.from !== undefined) {
    conditions.push(`t.effective_date >= ${put(effective.from)}::date`)
  }
  if (effective?.to !== undefined) conditions.push(`t.effective_date <= ${put(effective.to)}::date`)
  if (states !== undefined) conditions.push(`t.state = any(${put(states)}::smallint[])`)
  if (kinds !== undefined) conditions.push(`t.kind = any(${put(kinds)}::smallint[])`)
  if (isHold !== undefined) conditions.push(`t.remaining is ${isHold ? 'not ' : ''}null`)
  if (after !== undefined) {
    const at = moment(after.timeMs)
    const place = `${at}, ${put(after.stream)}::int, ${put(after.seq)}::bigint`
    conditions.push(`t.recorded_at <= ${at} and (t.recorded_at, t.stream, t.seq) < (${place})`)
  }
  return { conditions, values }
}
