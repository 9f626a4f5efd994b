import type { Book } from './book.js'
import type { DaybookClient } from './client.js'
import { mapConcurrently } from './concurrency.js'
import { counterAccounts, customerAccount, toTransaction } from './postings.js'
import { Progress, readable, type Screen } from './progress.js'

const ACCOUNTS_IN_FLIGHT_MAX = 16

/** Creates every account of the book; one that is there already is left as it is. */
export async function createAccounts(
  client: DaybookClient,
  book: Book,
  screen: Screen,
): Promise<void> {
  const customers = [...book.expected.keys()].map((number) => customerAccount(book, number))
  const accounts = [...counterAccounts(book), ...customers]
  const progress = new Progress(screen, 'Accounts', accounts.length)
  const outcomes = await mapConcurrently(accounts, ACCOUNTS_IN_FLIGHT_MAX, async (account) => {
    const outcome = await client.createAccount(account)
    progress.advance(1)
    return outcome
  })
  const created = outcomes.filter((outcome) => outcome === 'created').length
  progress.done(`${readable(created)} new, ${readable(accounts.length - created)} already there`)
}

/** What Daybook said of the book's movements. */
export interface Posted {
  readonly accepted: number
  readonly replayed: number
  /** Movements that Daybook has, by account number. */
  readonly byAccount: ReadonlyMap<string, number>
}

/**
 * Posts the movements in booking order, a batch at a time. Safe to repeat from the start at any
 * moment: the bank's ids make known ones replays.
 */
export async function postMovements(
  client: DaybookClient,
  book: Book,
  options: { batchSize: number; screen: Screen },
): Promise<Posted> {
  const progress = new Progress(options.screen, 'Movements', book.movements.length)
  const byAccount = new Map<string, number>()
  let accepted = 0
  let replayed = 0
  for (let start = 0; start < book.movements.length; start += options.batchSize) {
    const movements = book.movements.slice(start, start + options.batchSize)
    const batch = movements.map((movement) => toTransaction(book, movement))
    for (const [index, outcome] of (await client.postBatch(batch)).entries()) {
      if (outcome === 'accepted') accepted += 1
      else replayed += 1
      const { account } = movements[index]
      byAccount.set(account, (byAccount.get(account) ?? 0) + 1)
    }
    progress.advance(movements.length)
  }
  progress.done(`${readable(accepted)} new, ${readable(replayed)} replayed`)
  return { accepted, replayed, byAccount }
}
