/**
 * Every way in which a well-formed command can be refused: a closed list, in the order in which a
 * command is checked, so that the first that applies is the answer (design §3). Checks of accounts,
 * currency and decimals are made posting by posting. The numbers are stable: they travel in frames
 * and in the binary batch answer.
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
    code: 'id_in_the_future',
    transient: false,
    message: 'the v7 id is dated further in the future than clocks may differ',
  },
  {
    number: 3,
    code: 'memory_limit_reached',
    transient: true,
    message: 'the limit of accounts, striped accounts or remembered transactions is reached',
  },
  {
    number: 4,
    code: 'transaction_not_found',
    transient: false,
    message: 'no transaction has this id',
  },
  {
    number: 5,
    code: 'already_reversed',
    transient: false,
    message: 'the transaction has already been reversed',
  },
  {
    number: 6,
    code: 'not_reversible',
    transient: false,
    message: 'only a posted transaction or the post of a hold can be reversed',
  },
  {
    number: 7,
    code: 'hold_not_found',
    transient: false,
    message: 'no hold has this id',
  },
  {
    number: 8,
    code: 'hold_already_posted',
    transient: false,
    message: 'the hold has already been posted',
  },
  {
    number: 9,
    code: 'hold_already_voided',
    transient: false,
    message: 'the hold has already been voided',
  },
  {
    number: 10,
    code: 'hold_expired',
    transient: false,
    message: 'the hold has expired',
  },
  {
    number: 11,
    code: 'expiry_in_the_past',
    transient: false,
    message: 'the hold would already have expired',
  },
  {
    number: 12,
    code: 'effective_date_in_the_past',
    transient: false,
    message: 'the effective date is before the business date; only imported history may be',
  },
  {
    number: 13,
    code: 'same_account',
    transient: false,
    message: 'debit and credit are the same account',
  },
  {
    number: 14,
    code: 'account_not_found',
    transient: false,
    message: 'no account has this id',
  },
  {
    number: 15,
    code: 'account_closed',
    transient: false,
    message: 'the account is closed',
  },
  {
    number: 16,
    code: 'account_frozen',
    transient: false,
    message: 'the account is frozen',
  },
  {
    number: 17,
    code: 'account_dormant',
    transient: false,
    message: 'the account is dormant',
  },
  {
    number: 18,
    code: 'amounts_mismatch',
    transient: false,
    message: 'a hold is posted with one amount per posting, or without amounts',
  },
  {
    number: 19,
    code: 'currency_mismatch',
    transient: false,
    message: 'the accounts, or the posting and its accounts, are in different currencies',
  },
  {
    number: 20,
    code: 'too_many_decimals',
    transient: false,
    message: 'the amount has more decimals than its currency',
  },
  {
    number: 21,
    code: 'version_conflict',
    transient: false,
    message: 'the account has changed since the version that the command rests on',
  },
  {
    number: 22,
    code: 'exceeds_hold',
    transient: false,
    message: 'the amount is more than the hold still reserves',
  },
  {
    number: 23,
    code: 'amount_overflow',
    transient: false,
    message: "the account's lifetime turnover would leave the range of 64 bits",
  },
  {
    number: 24,
    code: 'insufficient_funds',
    transient: false,
    message: 'the available balance does not cover the amount',
  },
  {
    number: 25,
    code: 'limit_exceeded',
    transient: false,
    message: "the available balance would cross the account's overdraft limit or minimum balance",
  },
  {
    number: 26,
    code: 'funds_reserved',
    transient: true,
    message: 'the amount is reserved by a transaction that is not decided yet',
  },
  {
    number: 27,
    code: 'balance_not_zero',
    transient: false,
    message: 'an account can be closed only when its balance is zero',
  },
  {
    number: 28,
    code: 'holds_pending',
    transient: false,
    message: 'an account can be closed only when no hold is pending on it',
  },
  {
    number: 29,
    code: 'journal_unavailable',
    transient: true,
    message: 'the journal cannot be written at the moment; the command was not accepted',
  },
  {
    number: 30,
    code: 'position_not_reached',
    transient: true,
    message: 'the position that the read asked for has not been reached',
  },
  {
    number: 31,
    code: 'striped_without_limits',
    transient: false,
    message: 'a striped account has neither an overdraft limit nor a minimum balance',
  },
  {
    number: 32,
    code: 'old_id_not_checked',
    transient: true,
    message:
      'the id may be older than memory, and the read models cannot say now whether it was used; ask again with the same id',
  },
  {
    number: 33,
    code: 'projections_behind',
    transient: true,
    message: 'no more ids can be remembered until the read models have caught up',
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
