import { existsSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { gunzipSync } from 'node:zlib'
import type { Book, ExpectedTotals, Movement } from './book.js'
import { toMinor } from './money.js'

const MOVEMENTS_FILE = 'czech-bank-1993.csv.gz'
const EXPECTED_FILE = 'czech-bank-1993.expected.csv'

export function hasBankFiles(folder: string): boolean {
  return existsSync(join(folder, MOVEMENTS_FILE)) && existsSync(join(folder, EXPECTED_FILE))
}

/**
 * Reads the movements of 1993 and the totals that come with them. Throws, with file and line, on
 * the first line that is not as it should be: a history read wrong is worse than one not read.
 */
export async function readBankBook(folder: string): Promise<Book> {
  const [movements, expected] = await Promise.all([
    readFile(join(folder, MOVEMENTS_FILE)),
    readFile(join(folder, EXPECTED_FILE), 'utf8'),
  ])
  return {
    title: "the Czech bank's 1993",
    prefix: 'cz:',
    currency: 'CZK',
    movements: readMovements(gunzipSync(movements).toString('utf8')),
    expected: readExpected(expected),
  }
}

const MOVEMENT_COLUMNS = [
  'transaction_id',
  'account_number',
  'date',
  'side',
  'operation',
  'amount',
  'balance_after',
  'purpose',
  'partner_bank',
  'partner_account',
] as const

function readMovements(text: string): Movement[] {
  return readTable(MOVEMENTS_FILE, text, MOVEMENT_COLUMNS, (row) => {
    if (row.side !== 'credit' && row.side !== 'debit') throw new Error(`side "${row.side}"`)
    if (!/^\d{4}-\d{2}-\d{2}$/.test(row.date)) throw new Error(`date "${row.date}"`)
    if (toMinor(row.amount) <= 0n) throw new Error(`amount "${row.amount}"`)
    return {
      id: row.transaction_id,
      account: row.account_number,
      date: row.date,
      side: row.side,
      operation: row.operation,
      amount: row.amount,
      balanceAfter: row.balance_after,
      purpose: row.purpose,
      partnerBank: row.partner_bank,
      partnerAccount: row.partner_account,
    }
  })
}

const EXPECTED_COLUMNS = ['account_number', 'transactions', 'credits', 'debits', 'balance'] as const

function readExpected(text: string): Map<string, ExpectedTotals> {
  return new Map(
    readTable(EXPECTED_FILE, text, EXPECTED_COLUMNS, (row): [string, ExpectedTotals] => [
      row.account_number,
      {
        movements: Number.parseInt(row.transactions, 10),
        credits: toMinor(row.credits),
        debits: toMinor(row.debits),
        balance: toMinor(row.balance),
      },
    ]),
  )
}

/** These files hold no quotes; one that does is refused rather than split in the wrong places. */
function readTable<Column extends string, Row>(
  file: string,
  text: string,
  columns: readonly Column[],
  readRow: (fields: Record<Column, string>) => Row,
): Row[] {
  if (text.includes('"')) throw new Error(`${file}: quoted fields are not supported`)
  const [header, ...lines] = text.trimEnd().split(/\r?\n/)
  if (header !== columns.join(',')) throw new Error(`${file}: unexpected columns "${header}"`)
  return lines.map((line, index) => {
    const fields = line.split(',')
    try {
      if (fields.length !== columns.length) throw new Error(`${fields.length} fields`)
      const named = columns.map((column, position) => [column, fields[position]])
      return readRow(Object.fromEntries(named) as Record<Column, string>)
    } catch (error) {
      throw new Error(`${file}, line ${index + 2}: ${(error as Error).message}`, { cause: error })
    }
  })
}
