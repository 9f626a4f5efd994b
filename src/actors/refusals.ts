/**
 * Every way in which a well-formed command can be refused: a closed list, in the order in which
 * the checks are made, so that the first that applies is the answer (design §3). The numbers are
 * stable: they travel in frames and in the binary batch answer.
 *
 * A transient refusal may turn into an acceptance by itself; a final one stays until somebody
 * changes something. A refusal changes nothing and does not use up the id.
 */
export const refusals = [
  {
    number: 1,
    code: 'id_reused_with_different_body',
    transient: false,
    message: 'this id has already been used for another command',
  },
  {
    number: 2,
    code: 'hold_not_found',
    transient: false,
    message: 'no hold has this id',
  },
  {
    number: 3,
    code: 'hold_already_posted',
    transient: false,
    message: 'the hold has already been posted',
  },
  {
    number: 4,
    code: 'hold_already_voided',
    transient: false,
    message: 'the hold has already been voided',
  },
  { number: 5, code: 'hold_expired', transient: false, message: 'the hold has expired' },
  {
    number: 6,
    code: 'transaction_not_found',
    transient: false,
    message: 'no transaction has this id',
  },
  {
    number: 7,
    code: 'not_reversible',
    transient: false,
    message: 'only a posted transaction or the post of a hold can be reversed',
  },
  {
    number: 8,
    code: 'already_reversed',
    transient: false,
    message: 'the transaction has already been reversed',
  },
  {
    number: 9,
    code: 'expiry_in_the_past',
    transient: false,
    message: 'the hold would already have expired',
  },
  {
    number: 10,
    code: 'effective_date_in_the_past',
    transient: false,
    message: 'the effective date is before the business date; only imported history may be',
  },
  {
    number: 11,
    code: 'same_account',
    transient: false,
    message: 'debit and credit are the same account',
  },
  { number: 12, code: 'account_not_found', transient: false, message: 'no account has this id' },
  { number: 13, code: 'account_closed', transient: false, message: 'the account is closed' },
  { number: 14, code: 'account_frozen', transient: false, message: 'the account is frozen' },
  { number: 15, code: 'account_dormant', transient: false, message: 'the account is dormant' },
  {
    number: 16,
    code: 'currency_mismatch',
    transient: false,
    message: 'the accounts, or the posting and its accounts, are in different currencies',
  },
  {
    number: 17,
    code: 'too_many_decimals',
    transient: false,
    message: 'the amount has more decimals than its currency',
  },
  {
    number: 18,
    code: 'version_conflict',
    transient: false,
    message: 'the account has changed since the version that the command rests on',
  },
  {
    number: 19,
    code: 'exceeds_hold',
    transient: false,
    message: 'the amount is more than the hold still reserves',
  },
  {
    number: 20,
    code: 'amount_overflow',
    transient: false,
    message: "the account's lifetime turnover would leave the range of 64 bits",
  },
  {
    number: 21,
    code: 'insufficient_funds',
    transient: false,
    message: 'the available balance does not cover the amount',
  },
  {
    number: 22,
    code: 'limit_exceeded',
    transient: false,
    message: "the available balance would cross the account's overdraft limit or minimum balance",
  },
  {
    number: 23,
    code: 'funds_reserved',
    transient: true,
    message: 'the amount is reserved by a transaction that is not decided yet',
  },
  {
    number: 24,
    code: 'balance_not_zero',
    transient: false,
    message: 'an account can be closed only when its balance is zero',
  },
  {
    number: 25,
    code: 'holds_pending',
    transient: false,
    message: 'an account can be closed only when no hold is pending on it',
  },
  {
    number: 26,
    code: 'journal_unavailable',
    transient: true,
    message: 'the journal cannot be written at the moment; the command was not accepted',
  },
  {
    number: 27,
    code: 'position_not_reached',
    transient: true,
    message: 'the position that the read asked for has not been reached',
  },
  {
    number: 28,
    code: 'memory_limit_reached',
    transient: true,
    message: 'the limit of accounts or remembered transactions is reached',
  },
] as const

export type RefusalCode = (typeof refusals)[number]['code']

/** The number of each refusal, by code. */
export const refusalNumber = Object.fromEntries(
  refusals.map((refusal) => [refusal.code, refusal.number]),
) as Record<RefusalCode, number>

/** The refusal of a number that came in a frame. */
export function refusalOf(number: number): (typeof refusals)[number] {
  const refusal = refusals[number - 1]
  if (refusal === undefined) throw new RangeError(`no refusal has the number ${number}`)
  return refusal
}
