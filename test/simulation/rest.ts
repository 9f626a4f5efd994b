import type { BalanceView } from '../../src/actors/balance-entry.js'
import { tenant } from '../actors/engine-names.js'
import { isSame } from './oracle/account-history.js'
import type { CommittedBook } from './oracle/committed-book.js'
import type { SimulatedProcess } from './process.js'

/**
 * What a process still keeps of commands that are over, in words. When nobody asks for anything
 * there must come a time at which this is empty: what is left for ever would one day be all that
 * there is room for, or stand in the way of whoever comes next.
 */
export function leftoversOf(
  { shards, router }: SimulatedProcess,
  book: CommittedBook,
  wallMs: number,
): string[] {
  const left: string[] = []
  const note = (what: string, count: number) => {
    if (count !== 0) left.push(`${count} ${what}`)
  }
  for (const shard of shards) {
    const { gauges } = shard
    const { reservations, reversing, transactions, holds } = shard.book
    note('commands under way', gauges.coordinations)
    note('commands waiting', gauges.waitingCommands + gauges.mailboxCommands)
    note('records not committed', gauges.openRecords)
    note('accounts reserved', reservations.count)
    note('reversals under way', reversing.size)
    note('ids claimed', transactions.claimed)
    const pending = [...holds.all()]
    note('holds being settled', pending.filter(({ busy }) => busy).length)
    note('holds past their time', pending.filter(({ expiresAt }) => expiresAt <= wallMs).length)
  }
  note('commands counted by the router', router?.inFlightCommands ?? 0)
  note('striped sums that the router does not know', unknownSums(router, book))
  return left
}

/** The shards have told the router all that they hold of striped accounts. */
function unknownSums(router: SimulatedProcess['router'], { accounts }: CommittedBook): number {
  if (router === undefined || router.streams.length === 1) return 0
  const striped = [...accounts.values()].filter(({ isStriped }) => isStriped)
  return striped.filter((account) => {
    const part: Pick<BalanceView, 'account' | 'striped'> = { account: account.id, striped: true }
    const sum = router.striped.sum(tenant, part as BalanceView)
    return sum === undefined || !isSame(sum.counters, account)
  }).length
}
