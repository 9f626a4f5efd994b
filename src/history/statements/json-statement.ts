import { formatMinor } from '../../money.js'
import { inChunks } from './chunks.js'
import type { Statement, StatementLine } from './statement.js'
import { normalSideOf, type StatementTotals, Tally } from './tally.js'

/**
 * A statement as one JSON object, each line of it on a line of its own. Names and amounts are as in
 * the API: decimal strings in the currency's own scale, and what is not known is left out.
 *
 *     { id, …, account: { …, normalSide }, from, to, createdAt, openingBalance,
 *       lines: [ { position, transaction, side, amount, balanceAfter, … } ],
 *       totals: { debits: { count, sum }, credits: { count, sum } }, closingBalance }
 *
 * What ends without `closingBalance` is not JSON: a statement that was cut off is not taken for one.
 * A {@link StatementWriter}; throws a StatementFault `balance_broken`.
 */
export function writeJson(statement: Statement): AsyncIterable<string> {
  return inChunks(jsonPieces(statement))
}

async function* jsonPieces(statement: Statement): AsyncIterable<string> {
  const { scale } = statement.account
  const tally = new Tally(statement)
  const head = JSON.stringify(jsonHead(statement))
  yield `${head.slice(0, -1)},"lines":[`
  let separator = '\n'
  for await (const line of statement.lines()) {
    tally.add(line)
    yield `${separator}${JSON.stringify(jsonLine(line, scale))}`
    separator = ',\n'
  }
  yield `\n],${JSON.stringify(jsonEnd(tally.totals, scale)).slice(1)}\n`
}

function jsonHead({ account, ...statement }: Statement) {
  const { id, sequenceNumber, servicer, from, to } = statement
  const { name, number, owner, currency, scale } = account
  return {
    ...{ id, sequenceNumber, servicer: { name: servicer.name, bic: servicer.bic } },
    account: {
      ...{ id: account.id, name, number, owner, currency, scale, class: account.class },
      normalSide: normalSideOf(account),
    },
    ...{ from, to },
    createdAt: new Date(statement.createdAtMs).toISOString(),
    openingBalance: formatMinor(statement.openingBalance, scale),
  }
}

function jsonLine(line: StatementLine, scale: number) {
  const { position, transaction, side, effectiveDate, counterAccount } = line
  const { type, reference, description, category, number, code } = line
  return {
    ...{ position, transaction, side },
    amount: formatMinor(line.amount, scale),
    balanceAfter: formatMinor(line.balanceAfter, scale),
    effectiveDate,
    recordedAt: new Date(line.recordedAtMs).toISOString(),
    ...{ counterAccount, type, reference, description, category, number, code },
  }
}

function jsonEnd({ debits, credits, closingBalance }: StatementTotals, scale: number) {
  return {
    totals: {
      debits: { count: debits.count, sum: formatMinor(debits.sum, scale) },
      credits: { count: credits.count, sum: formatMinor(credits.sum, scale) },
    },
    closingBalance: formatMinor(closingBalance, scale),
  }
}
