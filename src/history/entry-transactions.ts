import type { RecordKind } from '../journal/record.js'
import { transactionType } from '../journal/transaction-type.js'
import type { HistoryQueries } from './history-pool.js'
import { prepared } from './prepared.js'

/** What an entry is shown with of its transaction. */
export interface EntryTransaction {
  type: ReturnType<typeof transactionType>
  reference?: string
  description?: string
  category?: string
  number?: string
  code?: number
}

/** Columns of {@link joinTransactions}; a kind of NULL: the transaction was not found there. */
export interface EntryTransactionRow {
  kind: number | null
  is_hold: boolean
  reference: string | null
  description: string | null
  category: string | null
  number: string | null
  code: string | null
}

const columns = `kind, remaining is not null as is_hold, reference, description, category, number, code`

/** Other streams do their part within moments, unless one of them was away. */
const beforehand = `interval '1 hour'`

/**
 * Joins the transactions of the entries `e` of tenant $1. Most were recorded a moment before what
 * they moved, in one or two partitions: only those are looked at.
 */
export const joinTransactions = `
  left join lateral (
    select ${columns} from daybook_history.transaction
    where tenant = $1 and id = e.transaction
      and recorded_at > e.recorded_at - ${beforehand} and recorded_at <= e.recorded_at
    limit 1) t on true`

/** Transactions by their ids, whenever they were recorded. */
export async function findEntryTransactions(
  { client }: HistoryQueries,
  of: { tenant: number; ids: readonly string[] },
): Promise<Map<string, EntryTransaction>> {
  const text = `select id, ${columns} from daybook_history.transaction
    where tenant = $1 and id = any($2::uuid[])`
  const { rows } = await client.query<EntryTransactionRow & { id: string }>(
    prepared(text, [of.tenant, of.ids]),
  )
  return new Map(
    rows.flatMap((row) => {
      const transaction = entryTransactionOf(row)
      return transaction === undefined ? [] : [[row.id, transaction]]
    }),
  )
}

export function entryTransactionOf(row: EntryTransactionRow): EntryTransaction | undefined {
  if (row.kind === null) return undefined
  const shown: EntryTransaction = { type: transactionType(row.kind as RecordKind, row.is_hold) }
  if (row.reference !== null) shown.reference = row.reference
  if (row.description !== null) shown.description = row.description
  if (row.category !== null) shown.category = row.category
  if (row.number !== null) shown.number = row.number
  if (row.code !== null) shown.code = Number(row.code)
  return shown
}
