import { formatMinor } from '../../money.js'
import { entry } from './camt053-entry.js'
import { accountId, amountLeaf, direction, identifier } from './camt053-parts.js'
import { inChunks } from './chunks.js'
import { type Statement, StatementFault } from './statement.js'
import { normalSideOf, type StatementTotals, sumUp, Tally } from './tally.js'
import { cut, element, leaf, type Xml, xmlDeclaration } from './xml.js'

/**
 * A statement as ISO 20022 camt.053.001.08, what accounting software reads. Elements stand in the
 * order of its schema; there the closing balance and the sums come before the entries, so
 * `statement.lines` is read twice.
 *
 * `CdtDbtInd` is the side of the servicer's own books, for every class: a credit entry is `CRDT`,
 * and a balance is `CRDT` if it is on the credit side or zero. For a customer's account (liability)
 * this is the view of its holder, as the standard wants it: money that comes in is `CRDT`. A loan
 * (asset) has a `DBIT` balance, for its holder owes it, and a repayment is `CRDT`. The servicer's
 * account at another bank (asset) is `DBIT` while there is money in it: the mirror of what that
 * bank's own statement says.
 *
 * `BookgDt` is the day (UTC) on which the entry was recorded, by which it belongs to this statement,
 * and `ValDt` the day on which it took effect; the moment of recording is in `RltdDts`.
 *
 * Throws a StatementFault: `not_expressible`, before the first piece, if the schema has no room for
 * the currency (three letters, at most 5 decimals), for an amount (18 digits), the id or the BIC;
 * `balance_broken`; `lines_changed`, if the second reading does not give the sums of the first.
 * Texts that are too long are cut if they are names and labels, and go on in the next `Ustrd` if
 * they are not. A character that XML does not know becomes U+FFFD.
 *
 * A {@link StatementWriter}. Source of the structure: ISO 20022 message definition report,
 * Bank-to-Customer Cash Management, BankToCustomerStatementV08.
 */
export function writeCamt053(statement: Statement): AsyncIterable<string> {
  return inChunks(camtPieces(statement))
}

const namespace = 'urn:iso:std:iso:20022:tech:xsd:camt.053.001.08'

async function* camtPieces(statement: Statement): AsyncIterable<string> {
  const totals = await sumUp(statement)
  refuseInexpressible(statement, totals)
  yield `${xmlDeclaration}<Document xmlns="${namespace}"><BkToCstmrStmt>`
  yield `${groupHeader(statement)}<Stmt>${statementHead(statement, totals)}\n`
  const tally = new Tally(statement)
  for await (const line of statement.lines()) {
    tally.add(line)
    yield `${entry(line, statement.account)}\n`
  }
  refuseChanged(totals, tally.totals)
  yield '</Stmt></BkToCstmrStmt></Document>\n'
}

function groupHeader({ id, createdAtMs }: Statement): Xml {
  return element(
    'GrpHdr',
    leaf('MsgId', identifier(id)),
    leaf('CreDtTm', new Date(createdAtMs).toISOString()),
  )
}

function statementHead(statement: Statement, totals: StatementTotals): Xml {
  const { id, sequenceNumber, createdAtMs, from, to, openingBalance } = statement
  return [
    leaf('Id', identifier(id)),
    leaf('ElctrncSeqNb', sequenceNumber?.toString()),
    leaf('CreDtTm', new Date(createdAtMs).toISOString()),
    element('FrToDt', leaf('FrDtTm', `${from}T00:00:00`), leaf('ToDtTm', `${to}T23:59:59`)),
    account(statement),
    balance('OPBD', { minor: openingBalance, date: from }, statement),
    balance('CLBD', { minor: totals.closingBalance, date: to }, statement),
    summary(totals, statement.account.scale),
  ].join('') as Xml
}

function account({ account, servicer }: Statement): Xml {
  return element(
    'Acct',
    element('Id', accountId(account)),
    leaf('Ccy', account.currency),
    leaf('Nm', account.name && cut(account.name, 70)),
    element('Ownr', leaf('Nm', account.owner && cut(account.owner, 140))),
    element(
      'Svcr',
      element('FinInstnId', leaf('BICFI', servicer.bic), leaf('Nm', cut(servicer.name, 140))),
    ),
  )
}

function balance(
  code: 'OPBD' | 'CLBD',
  { minor, date }: { minor: bigint; date: string },
  { account }: Statement,
): Xml {
  const credit = normalSideOf(account) === 'credit' ? minor : -minor
  return element(
    'Bal',
    element('Tp', element('CdOrPrtry', leaf('Cd', code))),
    amountLeaf(magnitude(credit), account),
    leaf('CdtDbtInd', direction(credit)),
    element('Dt', leaf('Dt', date)),
  )
}

function summary({ debits, credits }: StatementTotals, scale: number): Xml {
  const net = credits.sum - debits.sum
  const total = (name: string, { count, sum }: StatementTotals['debits'], ...more: Xml[]) =>
    element(
      name,
      leaf('NbOfNtries', count.toString()),
      leaf('Sum', formatMinor(sum, scale)),
      ...more,
    )
  const netEntry = element(
    'TtlNetNtry',
    leaf('Amt', formatMinor(magnitude(net), scale)),
    leaf('CdtDbtInd', direction(net)),
  )
  const all = { count: debits.count + credits.count, sum: debits.sum + credits.sum }
  return element(
    'TxsSummry',
    total('TtlNtries', all, netEntry),
    total('TtlCdtNtries', credits),
    total('TtlDbtNtries', debits),
  )
}

/** 18 digits in all. The sum of all entries has no more, so none of them has. */
const amountEnd = 10n ** 18n
const bicPattern = /^[A-Z0-9]{4}[A-Z]{2}[A-Z0-9]{2}(?:[A-Z0-9]{3})?$/

function refuseInexpressible(statement: Statement, totals: StatementTotals): void {
  const [reason] = reasonsAgainst(statement, totals)
  if (reason === undefined) return
  throw new StatementFault('not_expressible', `camt.053 has no room for ${reason}`)
}

function* reasonsAgainst(statement: Statement, totals: StatementTotals): Iterable<string> {
  const { id, openingBalance, account, servicer } = statement
  const { debits, credits, closingBalance } = totals
  const { currency, scale } = account
  if (!/^[A-Z]{3}$/.test(currency)) yield `the currency ${currency}: it is not of three letters`
  if (scale > 5) yield `${scale} decimals of ${currency}`
  const amounts = [debits.sum + credits.sum, openingBalance, closingBalance]
  if (amounts.some((amount) => magnitude(amount) >= amountEnd)) yield 'more than 18 digits'
  if (!/^.{1,35}$/u.test(identifier(id))) yield `the id ${id}: it is not of 1 to 35 characters`
  const { bic } = servicer
  if (bic !== undefined && !bicPattern.test(bic)) yield `the BIC ${bic}: it is none`
}

/** The sum of credits is the same if all the others are. */
function refuseChanged(first: StatementTotals, second: StatementTotals): void {
  const same =
    first.closingBalance === second.closingBalance &&
    first.debits.count === second.debits.count &&
    first.debits.sum === second.debits.sum &&
    first.credits.count === second.credits.count
  if (same) return
  throw new StatementFault('lines_changed', 'the lines changed while the statement was written')
}

function magnitude(amount: bigint): bigint {
  return amount < 0n ? -amount : amount
}
