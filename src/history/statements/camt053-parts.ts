import { formatMinor } from '../../money.js'
import type { StatementAccount } from './statement.js'
import { element, leaf, type Xml } from './xml.js'

/** Elements of camt.053 that the statement and its entries have in common. */
export function amountLeaf(minor: bigint, { currency, scale }: StatementAccount): Xml {
  return leaf('Amt', formatMinor(minor, scale), ['Ccy', currency])
}

/** Of what is credit less debit; ISO 20022 counts zero as credit. */
export function direction(credit: bigint): 'CRDT' | 'DBIT' {
  return credit < 0n ? 'DBIT' : 'CRDT'
}

const uuidPattern = /^[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}$/i

/** Identifiers of camt.053 have at most 34 or 35 characters: a UUID loses its dashes. */
export function identifier(id: string): string {
  return uuidPattern.test(id) ? id.replaceAll('-', '') : id
}

/**
 * The account's number as IBAN if it is one, as it is if it fits; otherwise the account's own id,
 * for half a number is none.
 */
export function accountId({ id, number }: StatementAccount): Xml {
  const compact = number?.replaceAll(' ', '') ?? ''
  if (isIban(compact)) return leaf('IBAN', compact)
  const fits = number !== undefined && number !== '' && number.length <= 34
  return otherId(fits ? number : id)
}

export function otherId(id: string): Xml {
  return element('Othr', leaf('Id', identifier(id)))
}

/** Its pattern and its check digits (ISO 13616: letters as 10 to 35, modulo 97 is 1). */
function isIban(text: string): boolean {
  if (!/^[A-Z]{2}\d{2}[A-Za-z0-9]{1,30}$/.test(text)) return false
  const turned = text.slice(4) + text.slice(0, 4)
  const digits = [...turned].map((character) => Number.parseInt(character, 36)).join('')
  return BigInt(digits) % 97n === 1n
}
