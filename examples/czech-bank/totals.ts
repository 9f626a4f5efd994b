import type { Book, ExpectedTotals } from './book.js'
import type { AccountAnswer, DaybookClient } from './client.js'
import { mapConcurrently } from './concurrency.js'
import type { Posted } from './import.js'
import { toDecimal, toMinor, toReadable } from './money.js'
import { counterAccounts, customerAccount } from './postings.js'
import { Progress, readable, type Screen } from './progress.js'

const READS_IN_FLIGHT_MAX = 16
const MISMATCHES_SHOWN_MAX = 20

/**
 * Reads every account of the book back and compares each customer's debits, credits and balance
 * with the expected totals, to the cent; then checks that debits equal credits over all accounts,
 * counter accounts included. Writes what it found, with a table of the counter accounts if
 * asked, and answers whether all of it holds.
 */
export async function compareTotals(
  client: DaybookClient,
  book: Book,
  options: { posted: Posted; screen: Screen; showCounters: boolean },
): Promise<boolean> {
  const { posted, screen, showCounters } = options
  const numbers = [...book.expected.keys()]
  const counters = counterAccounts(book).map((account) => account.id)
  const ids = [...counters, ...numbers.map((number) => customerAccount(book, number).id)]

  const progress = new Progress(screen, 'Read back', ids.length)
  const answers = await mapConcurrently(ids, READS_IN_FLIGHT_MAX, async (id) => {
    const answer = await client.readAccount(id)
    progress.advance(1)
    return answer
  })
  const mismatches = numbers.flatMap((number, index) => {
    const expected = book.expected.get(number) as ExpectedTotals
    const found = differences(expected, answers[counters.length + index], posted, number)
    return found.length === 0 ? [] : [`  account ${number}: ${found.join('; ')}`]
  })
  const matching = numbers.length - mismatches.length
  progress.done(`${readable(matching)} of ${readable(numbers.length)} customer accounts match`)
  writeMismatches(screen, mismatches)

  if (showCounters) writeCounters(screen, counters, answers)
  const debits = answers.reduce((sum, { balances }) => sum + toMinor(balances.debitsPosted), 0n)
  const credits = answers.reduce((sum, { balances }) => sum + toMinor(balances.creditsPosted), 0n)
  const sign = debits === credits ? '=' : 'but'
  screen.write(
    `Over all accounts: debits ${toReadable(debits)} ${sign} credits ${toReadable(credits)}\n`,
  )
  return mismatches.length === 0 && debits === credits
}

function differences(
  expected: ExpectedTotals,
  { balances }: AccountAnswer,
  posted: Posted,
  number: string,
): string[] {
  const movements = posted.byAccount.get(number) ?? 0
  const found: string[] = []
  if (movements !== expected.movements) {
    found.push(`${expected.movements} movements expected, ${movements} posted`)
  }
  const compared: Array<[name: string, expected: bigint, actual: string]> = [
    ['debits', expected.debits, balances.debitsPosted],
    ['credits', expected.credits, balances.creditsPosted],
    ['balance', expected.balance, balances.balance],
  ]
  for (const [name, wanted, actual] of compared) {
    if (toMinor(actual) !== wanted) {
      found.push(`${name} ${toDecimal(wanted)} expected, ${actual} found`)
    }
  }
  return found
}

function writeMismatches(screen: Screen, mismatches: readonly string[]): void {
  for (const line of mismatches.slice(0, MISMATCHES_SHOWN_MAX)) screen.write(`${line}\n`)
  const hidden = mismatches.length - MISMATCHES_SHOWN_MAX
  if (hidden > 0) screen.write(`  and ${readable(hidden)} more\n`)
}

function writeCounters(
  screen: Screen,
  counters: readonly string[],
  answers: readonly AccountAnswer[],
): void {
  const rows = counters.map((id, index) => {
    const { balances, class: accountClass } = answers[index]
    const amounts = [balances.debitsPosted, balances.creditsPosted, balances.balance]
    return [id, accountClass, ...amounts.map((amount) => toReadable(toMinor(amount)))]
  })
  const table = [['Counter account', 'class', 'debits', 'credits', 'balance'], ...rows]
  const widths = table[0].map((_, column) => Math.max(...table.map((row) => row[column].length)))
  for (const row of table) {
    const cells = row.map((cell, column) =>
      column < 2 ? cell.padEnd(widths[column]) : cell.padStart(widths[column]),
    )
    screen.write(`  ${cells.join('  ')}\n`)
  }
}
