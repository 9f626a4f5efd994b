import { dayOf, formatDay } from '../../clock.js'
import { amountLeaf, identifier, otherId } from './camt053-parts.js'
import type { StatementAccount, StatementLine } from './statement.js'
import { cut, element, leaf, split, type Xml } from './xml.js'

/** Longest identifiers and labels, and longest piece of unstructured text (Max35Text, Max140Text). */
const labelCharactersMax = 35
const textCharactersMax = 140

/** An `Ntry` with one transaction: every posting is an entry of its own. */
export function entry(line: StatementLine, account: StatementAccount): Xml {
  const { position, type, transaction, effectiveDate, recordedAtMs } = line
  return element(
    'Ntry',
    leaf('NtryRef', cut(position, labelCharactersMax)),
    amountLeaf(line.amount, account),
    leaf('CdtDbtInd', directionOf(line)),
    leaf('RvslInd', type === 'reversal' ? 'true' : undefined),
    element('Sts', leaf('Cd', 'BOOK')),
    element('BookgDt', leaf('Dt', formatDay(dayOf(recordedAtMs)))),
    element('ValDt', leaf('Dt', effectiveDate)),
    leaf('AcctSvcrRef', identifier(transaction)),
    element('BkTxCd', element('Prtry', leaf('Cd', bankCode(line)))),
    element('NtryDtls', details(line, account)),
  )
}

function details(line: StatementLine, account: StatementAccount): Xml {
  return element(
    'TxDtls',
    references(line),
    amountLeaf(line.amount, account),
    leaf('CdtDbtInd', directionOf(line)),
    element('RltdPties', counterAccount(line)),
    element('Purp', leaf('Prtry', line.category && cut(line.category, labelCharactersMax))),
    element('RmtInf', ...unstructured(line)),
    element('RltdDts', leaf('AccptncDtTm', new Date(line.recordedAtMs).toISOString())),
  )
}

function references({ transaction, reference, number }: StatementLine): Xml {
  return element(
    'Refs',
    leaf('AcctSvcrRef', identifier(transaction)),
    leaf('EndToEndId', fits(reference) ? reference : undefined),
    number && fits(number) ? element('Prtry', leaf('Tp', 'NUMBER'), leaf('Ref', number)) : none,
  )
}

/** Where the money of a credit came from, or where that of a debit went. */
function counterAccount({ side, counterAccount }: StatementLine): Xml {
  return element(
    side === 'credit' ? 'DbtrAcct' : 'CdtrAcct',
    element('Id', otherId(counterAccount)),
  )
}

/** The description, behind what is too long to stand where it belongs; nothing is cut. */
function unstructured({ reference, number, description }: StatementLine): Xml[] {
  const texts = [fits(reference) ? '' : reference, fits(number) ? '' : number, description]
  return texts
    .flatMap((text) => (text ? split(text, textCharactersMax) : []))
    .map((text) => leaf('Ustrd', text))
}

/**
 * The schema wants a code for each entry. Those of ISO 20022 are not known here, so it is one of
 * the servicer's own: the transaction's code, or else its type.
 */
function bankCode({ code, type }: StatementLine): string {
  return code?.toString() ?? cut(type || 'NOTPROVIDED', labelCharactersMax)
}

function directionOf({ side }: StatementLine): 'CRDT' | 'DBIT' {
  return side === 'credit' ? 'CRDT' : 'DBIT'
}

function fits(text: string | undefined): boolean {
  return text === undefined || text.length <= labelCharactersMax
}

const none = '' as Xml
