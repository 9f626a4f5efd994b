import { stringify } from 'csv-stringify/sync'
import { formatMinor } from '../../money.js'
import { inChunks } from './chunks.js'
import type { Statement, StatementLine } from './statement.js'
import { Tally } from './tally.js'

const columns = [
  ...['kind', 'position', 'transaction', 'effectiveDate', 'recordedAt'],
  ...['debit', 'credit', 'balance', 'currency', 'counterAccount'],
  ...['type', 'reference', 'description', 'category', 'number', 'code'],
]

/**
 * A statement as CSV of RFC 4180: UTF-8 without a byte order mark, commas, CRLF, and a header line.
 * The column `kind` says what a row is: `opening` (balance at the beginning of the first day), then
 * an `entry` a line, then `closing` (at the end of the last day), without which the file was cut
 * off. An amount stands in `debit` or in `credit`, so that a column adds up to its total; `balance`
 * is on the account's normal side. Amounts are decimal strings; what is not known is an empty field.
 *
 * Text that people typed is made harmless for spreadsheets, see {@link guardFormulas}.
 * A {@link StatementWriter}; throws a StatementFault `balance_broken`.
 */
export function writeCsv(statement: Statement): AsyncIterable<string> {
  return inChunks(csvPieces(statement))
}

async function* csvPieces(statement: Statement): AsyncIterable<string> {
  const { scale, currency } = statement.account
  const balance = (kind: string, date: string, minor: bigint) =>
    csvRow([kind, '', '', date, '', '', '', formatMinor(minor, scale), currency])
  const tally = new Tally(statement)
  yield csvRow(columns)
  yield balance('opening', statement.from, statement.openingBalance)
  for await (const line of statement.lines()) {
    tally.add(line)
    yield csvRow(entryFields(line, statement))
  }
  yield balance('closing', statement.to, tally.totals.closingBalance)
}

function entryFields(line: StatementLine, { account }: Statement): string[] {
  const amount = formatMinor(line.amount, account.scale)
  const text = [line.type, line.reference, line.description, line.category, line.number]
  return [
    ...['entry', line.position, line.transaction, line.effectiveDate],
    new Date(line.recordedAtMs).toISOString(),
    ...(line.side === 'debit' ? [amount, ''] : ['', amount]),
    ...[formatMinor(line.balanceAfter, account.scale), account.currency, line.counterAccount],
    ...text.map((field) => guardFormulas(field ?? '')),
    line.code?.toString() ?? '',
  ]
}

/** Given a delimiter of records, the library would leave a bare line feed in a field unquoted. */
const csvOptions = { record_delimiter: 'windows', quote_record_delimiter: true }
const emptyFields = columns.map(() => '')

function csvRow(fields: string[]): string {
  const row = [...fields, ...emptyFields.slice(fields.length)]
  return stringify([row], csvOptions)
}

/**
 * Where a cell may begin in the eyes of a spreadsheet: at the start of the field, but also behind
 * a semicolon, tab, bar or line break in it, because a program that takes one of them for the
 * delimiter does not see the quotes around the field. Blanks and quotes may come first.
 */
const formulaStart = /(^|[;|\t\r\n])(["'\s]*)([=+\-@＝＋－＠])/g

/**
 * Puts an apostrophe before each sign that would make a spreadsheet read a cell as a formula
 * (`=1+1` becomes `'=1+1`; as OWASP advises against CSV injection). It is put there exactly once,
 * so a reader who wants the text as it was can take it away again.
 */
export function guardFormulas(text: string): string {
  return text.replace(formulaStart, "$1$2'$3")
}
