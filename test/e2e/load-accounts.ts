import { toAmount } from './client-log.js'
import { idInSlot } from './requests.js'

/** An account of the load; limits in minor units, null for unlimited. */
export interface LoadAccount {
  id: string
  class: 'asset' | 'liability' | 'equity'
  overdraftLimit: bigint | null
  minimumBalance: bigint
  /** Every shard has a part. */
  striped?: true
}

/** The first accounts have no limit, and so need no money. */
export const fundless = 3
/** The last ones have only what goes through them. */
export const penniless = 2

export function makeAccounts(): LoadAccount[] {
  const account = (
    accountClass: LoadAccount['class'],
    overdraftLimit: bigint | null,
    minimumBalance = 0n,
  ) => ({ class: accountClass, overdraftLimit, minimumBalance })
  const accounts: Omit<LoadAccount, 'id'>[] = [
    account('asset', null),
    account('equity', null),
    { ...account('equity', null), striped: true },
    account('liability', 0n),
    account('liability', 0n),
    account('liability', 0n, 1_000n),
    account('liability', 25_000n),
    account('liability', 25_000n, 500n),
    account('equity', 10_000n),
    account('asset', 15_000n),
    account('liability', 0n),
    account('liability', 0n),
  ]
  return accounts.map((account, slot) => ({ id: idInSlot(slot), ...account }))
}

/** The body that creates it. */
export function creationOf({
  id,
  overdraftLimit,
  minimumBalance,
  striped,
  ...account
}: LoadAccount) {
  return {
    ...{ id, currency: 'EUR', class: account.class },
    ...(striped
      ? { striped }
      : {
          overdraftLimit: overdraftLimit === null ? 'unlimited' : toAmount(overdraftLimit),
          minimumBalance: toAmount(minimumBalance),
        }),
  }
}
