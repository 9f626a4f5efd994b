import { formatMinor } from '../../money.js'
import { PdfPages, type PdfRow } from './pdf-pages.js'
import type { Statement, StatementAccount, StatementLine } from './statement.js'
import { effectOf, type StatementTotals, Tally } from './tally.js'

/**
 * A statement as PDF for people: A4, the account, the opening balance, a row a line, the closing
 * balance. An amount has the sign of what it does to the balance. Pages go out as they are full.
 *
 * Texts are in Helvetica, which every reader has, and which knows the characters of Western Europe
 * only: see `foldToWinAnsi` for what becomes of the others. Texts wrap and are never cut.
 *
 * A {@link StatementWriter}; throws a StatementFault `balance_broken`. A PDF that was cut off has no
 * trailer, and readers say that it is damaged. `compress: false` leaves its text legible to tests.
 */
export async function* writePdf(
  statement: Statement,
  { compress = true } = {},
): AsyncIterable<Buffer> {
  const { account, servicer, createdAtMs } = statement
  const pages = new PdfPages({
    title: titleOf(statement),
    author: servicer.name,
    createdAtMs,
    compress,
  })
  writeHead(pages, statement)
  const tally = new Tally(statement)
  for await (const line of statement.lines()) {
    tally.add(line)
    pages.row(rowOf(line, account))
    const ready = pages.take()
    if (ready !== undefined) yield ready
  }
  writeEnd(pages, statement, tally.totals)
  pages.end()
  for (let rest = pages.take(); rest !== undefined; rest = pages.take()) yield rest
}

function titleOf({ account, from, to }: Statement): string {
  return `Statement of account ${account.number ?? account.id}, ${from} to ${to}`
}

function writeHead(pages: PdfPages, statement: Statement): void {
  const { servicer, account, openingBalance } = statement
  pages.line(servicer.name, { bold: true, size: 14 })
  if (servicer.bic !== undefined) pages.line(`BIC ${servicer.bic}`)
  pages.gap()
  pages.line(titleOf(statement), { bold: true })
  const created = new Date(statement.createdAtMs).toISOString().slice(0, 16).replace('T', ' ')
  const number = statement.sequenceNumber === undefined ? '' : `No. ${statement.sequenceNumber}, `
  pages.line(`${number}${statement.id}, made ${created} UTC`)
  pages.gap()
  if (account.owner !== undefined) pages.line(`Holder: ${account.owner}`)
  if (account.name !== undefined) pages.line(`Account: ${account.name}`)
  if (account.number !== undefined) pages.line(`Number: ${account.number}`)
  pages.line(`Id: ${account.id}`)
  pages.line(`Currency: ${account.currency}`)
  pages.gap()
  pages.line(balanceLine('Opening', statement.from, openingBalance, account), { bold: true })
  pages.gap()
  pages.tableHead()
}

function rowOf(line: StatementLine, account: StatementAccount): PdfRow {
  const effect = effectOf(line, account)
  const texts = [line.description, line.reference].filter((text) => text)
  const sign = effect > 0n ? '+' : ''
  return {
    date: line.effectiveDate,
    text: texts.join(' / ') || (line.type ?? line.transaction),
    amount: `${sign}${formatMinor(effect, account.scale)}`,
    balance: formatMinor(line.balanceAfter, account.scale),
  }
}

function writeEnd(pages: PdfPages, statement: Statement, totals: StatementTotals): void {
  const { account, to } = statement
  const sum = ({ count, sum }: StatementTotals['debits']) =>
    `${count}, ${formatMinor(sum, account.scale)} ${account.currency}`
  pages.keepTogether(5)
  pages.gap()
  pages.line(`Credits: ${sum(totals.credits)}`)
  pages.line(`Debits: ${sum(totals.debits)}`)
  pages.gap()
  pages.line(balanceLine('Closing', to, totals.closingBalance, account), { bold: true })
}

function balanceLine(
  which: 'Opening' | 'Closing',
  date: string,
  minor: bigint,
  { scale, currency }: StatementAccount,
): string {
  const when = which === 'Opening' ? 'at the beginning of' : 'at the end of'
  return `${which} balance ${when} ${date}: ${formatMinor(minor, scale)} ${currency}`
}
