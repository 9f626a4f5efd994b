import type { HistoryQueries } from './history-pool.js'
import type { PostedSums } from './running-balances.js'
import {
  type AccountPlace,
  type ReportPlace,
  type ReportQuery,
  type SumsRow,
  slice,
  sumsOf,
  sumsOfAccount,
  type TrialBalanceSums,
  valuesOf,
} from './trial-balance.js'

/** What accounts are added up by. */
export type TrialBalanceGrouping = 'currency' | 'class' | 'type'

export interface GroupSums extends TrialBalanceSums {
  accountClass: string | null
  type: string | null
}

/** More groups than an answer has room for. */
const groupsMax = 10_000
/** Looks into the index of one statement: none holds a connection for long. */
const looksAtATime = 20_000

/**
 * All accounts added up, some at a time: the position is the same, whenever they are read. `read`
 * runs a statement; false from `goesOn` ends it with what there is. `too_many`: there are more
 * groups than {@link groupsMax}.
 */
export async function readGroups(
  report: ReportPlace,
  by: TrialBalanceGrouping,
  options: {
    read<T>(work: (queries: HistoryQueries) => Promise<T>): Promise<T>
    goesOn(): boolean
    accountsAtATime?: number
  },
): Promise<GroupSums[] | 'too_many'> {
  const { read, goesOn } = options
  const streams = Math.max(1, report.cut.streams.length)
  const limit = options.accountsAtATime ?? Math.max(50, Math.floor(looksAtATime / streams))
  const groups = new Map<string, GroupSums>()
  addTo(groups, await read((queries) => groupInFlight(queries, by, report)))
  let after: AccountPlace | undefined
  do {
    const place = after
    const { groups: more, last } = await read((queries) =>
      readGroupSums(queries, by, { ...report, after: place, limit }),
    )
    addTo(groups, more)
    if (groups.size > groupsMax) return 'too_many'
    after = last
  } while (after !== undefined && goesOn())
  return [...groups.values()]
}

function addTo(groups: Map<string, GroupSums>, more: readonly GroupSums[]): void {
  for (const group of more) {
    const { currency, scale, accountClass, type } = group
    const name = JSON.stringify([currency, scale, accountClass, type])
    const own = groups.get(name)
    if (own === undefined) groups.set(name, { ...group })
    else {
      own.balance += group.balance
      own.debits += group.debits
    }
  }
}

/**
 * The next `limit` accounts added up by what they have in common. `last` is where they end;
 * undefined if there are no more.
 */
async function readGroupSums(
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
async function groupInFlight(
  { client }: HistoryQueries,
  by: TrialBalanceGrouping,
  { tenant, inFlight }: Pick<ReportPlace, 'tenant' | 'inFlight'>,
): Promise<GroupSums[]> {
  if (inFlight.size === 0) return []
  const { rows } = await client.query<{ id: string } & Omit<GroupSums, keyof PostedSums>>({
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

interface GroupRow extends SumsRow {
  currency: string
  scale: number
  accountClass: string | null
  type: string | null
  accounts: number
  last: [createdMs: number, stream: number, seq: number]
}
