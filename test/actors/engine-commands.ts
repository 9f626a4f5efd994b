import { CommandKind, type PostingInput, type TransactionInput } from '../../src/actors/command.js'
import {
  type Attributes,
  currencyWords,
  plainPostingBody,
  RecordKind,
  readBody,
  type TransactionBody,
} from '../../src/journal/record.js'
import { isUuid, keyFromBytes } from '../../src/key.js'
import { normalise, parseDecimal } from '../../src/money.js'
import type { EngineNames } from './engine-names.js'
import { minorOf, type NewTransaction } from './model.js'

/** What the model asks for, as commands have it. */

export function transactionInput(names: EngineNames, body: NewTransaction): TransactionInput {
  const attributes = attributesOf(body)
  if (!isUuid(body.id)) attributes.name = body.id
  return {
    id: names.keyOf(body.id),
    postings: body.postings.map(({ debit, credit, amount, currency }) => ({
      debit: names.keyOf(debit),
      credit: names.keyOf(credit),
      amount: decimal(amount),
      currency: currency === undefined ? undefined : currencyWords(currency),
    })),
    imported: body.imported === true,
    pending: body.pending === true,
    expiresAt: body.expiresAt,
    effectiveDate: body.effectiveDate,
    conditions: (body.conditions ?? []).map(({ account, version }) => ({
      account: names.keyOf(account),
      version,
    })),
    attributes,
  }
}

export const followUpKinds = {
  post: CommandKind.postHold,
  void: CommandKind.voidHold,
  reverse: CommandKind.reverse,
} as const

export function reversedPostings(words: Uint32Array): PostingInput[] {
  const body =
    (words[0] & 0xff) === RecordKind.posting
      ? plainPostingBody(words, 0)
      : readBody<TransactionBody>(words, 0)
  return body.postings
    .filter(([, , amount]) => amount > 0n)
    .map(([debit, credit, amount, currency, scale]) => ({
      debit: keyFromBytes(credit, 0),
      credit: keyFromBytes(debit, 0),
      amount: normalise(amount, scale),
      currency: currencyWords(currency),
    }))
}

export function attributesOf(body: Attributes): Attributes {
  const { code, reference, description, category, number, metadata } = body
  return present({ code, reference, description, category, number, metadata })
}

export function decimal(text: string): { mantissa: bigint; decimals: number } {
  const value = parseDecimal(text)
  if (value === undefined) throw new Error(`no amount: ${text}`)
  return value
}

export function pairOf(text: string): [bigint, number] {
  const { mantissa, decimals } = decimal(text)
  return [mantissa, decimals]
}

export function limitOf(text: string, scale: number): bigint | null {
  return text === 'unlimited' ? null : minor(text, scale)
}

export function minor(text: string, scale: number): bigint {
  const units = minorOf(text, scale)
  if (units === undefined) throw new Error(`too many decimals: ${text}`)
  return units
}

export function present<T extends object>(value: T): T {
  const entries = Object.entries(value).filter(([, entry]) => entry !== undefined)
  return Object.fromEntries(entries) as T
}
