import type { Book, ExpectedTotals, Movement } from './book.js'
import { toDecimal } from './money.js'

/** The real book's size. */
export const SEEDED_MOVEMENTS = 28_205
const ACCOUNTS = 1_139
const YEAR = 1993

/**
 * A book of the same shape as the bank's, for machines that do not have its files: as many
 * accounts, opened through the year with a deposit; the same operations in the same proportions;
 * the same growth by month; interest and fees on the last day of the month, transfers around the
 * tenth. The same seed and size give the same book.
 *
 * The expected totals are added up here, from the minor units as they are drawn, before there is
 * any text or posting, so that they know nothing of the code that they check.
 */
export function makeSeededBook(request: { seed: number; movements: number }): Book {
  const random = new Random(request.seed)
  const openings = drawOpenings(random, Math.min(ACCOUNTS, request.movements))
  const drawn = openings.map((day, account) => drawMovement(random, DEPOSIT, { day, account }))
  while (drawn.length < request.movements) {
    const kind = random.weighted(KINDS)
    const day = drawDay(random, kind)
    // Only accounts that are open by then move, so early accounts see more of the year.
    const open = countUpTo(openings, day)
    drawn.push(drawMovement(random, kind, { day, account: random.below(open) }))
  }
  drawn.sort((a, b) => a.day - b.day)

  const prefix = `seed-${request.seed}-${request.movements}:`
  return {
    title: `a made book (seed ${request.seed}) of the same shape as the bank's`,
    prefix,
    currency: 'CZK',
    movements: drawn.map((draw, index) => toMovement(draw, `${prefix}${index + 1}`)),
    expected: addUp(drawn),
  }
}

interface Kind {
  /** How many the bank booked in 1993, account openings apart. */
  readonly weight: number
  readonly side: 'credit' | 'debit'
  readonly operation: string
  readonly purpose: string
  readonly days: 'any' | 'month-end' | 'mid-month'
  /** Minor units: amounts lie from `least` to `most` in whole steps, small ones more often. */
  readonly least: bigint
  readonly most: bigint
  readonly step: bigint
}

const DEPOSIT: Kind = kind(5_546, 'credit', 'cash_deposit', '', 'any', [100_00n, 49_992_00n, 100n])
const KINDS: readonly Kind[] = [
  DEPOSIT,
  kind(6_065, 'credit', '', 'interest_credited', 'month-end', [50n, 499_50n, 1n]),
  kind(1_313, 'credit', 'transfer_in', '', 'mid-month', [2_900_00n, 60_000_00n, 100n]),
  kind(1_149, 'credit', 'transfer_in', 'pension', 'mid-month', [4_026_00n, 6_987_00n, 100n]),
  kind(6_765, 'debit', 'cash_withdrawal', '', 'any', [100_00n, 44_000_00n, 100n]),
  kind(66, 'debit', 'cash_withdrawal', 'household', 'mid-month', [300_00n, 17_200_00n, 100n]),
  kind(9, 'debit', 'cash_withdrawal', 'overdraft_interest', 'month-end', [20n, 23_90n, 1n]),
  kind(2_922, 'debit', 'cash_withdrawal', 'statement_fee', 'month-end', [14_60n, 30_00n, 10n]),
  kind(1_013, 'debit', 'transfer_out', '', 'mid-month', [2_00n, 11_567_00n, 10n]),
  kind(1_835, 'debit', 'transfer_out', 'household', 'mid-month', [2_00n, 14_581_00n, 10n]),
  kind(343, 'debit', 'transfer_out', 'insurance', 'mid-month', [1_00n, 9_115_00n, 10n]),
  kind(40, 'debit', 'transfer_out', 'loan_payment', 'mid-month', [609_00n, 7_741_80n, 10n]),
]

/** The bank's movements by month, which grow as accounts are opened. */
const MONTHS = [177, 395, 676, 913, 1306, 1880, 2399, 2938, 3441, 3989, 4422, 5669].map(
  (weight, month) => ({ weight, month }),
)
const BANKS = ['AB', 'CD', 'EF', 'GH', 'IJ', 'KL', 'MN', 'OP', 'QR', 'ST', 'UV', 'WX', 'YZ']

interface Draw {
  readonly kind: Kind
  readonly account: number
  /** Day of the year, from 0. */
  readonly day: number
  readonly minor: bigint
  readonly partnerBank: string
  readonly partnerAccount: string
}

function drawMovement(random: Random, kind: Kind, where: { day: number; account: number }): Draw {
  const transfer = kind.operation.startsWith('transfer')
  return {
    ...where,
    kind,
    minor: drawAmount(random, kind),
    partnerBank: transfer ? BANKS[random.below(BANKS.length)] : '',
    partnerAccount: transfer ? String(10_000_000 + random.below(89_999_999)) : '',
  }
}

/** The least of three even draws: a mean of a quarter of the range, as the bank's amounts have. */
function drawAmount(random: Random, { least, most, step }: Kind): bigint {
  const steps = (most - least) / step + 1n
  let smallest = steps
  for (let draw = 0; draw < 3; draw += 1) {
    const drawn = (BigInt(random.next()) * steps) >> 32n
    if (drawn < smallest) smallest = drawn
  }
  return least + smallest * step
}

/** Days on which accounts are opened, in order; the first on the first day of the year. */
function drawOpenings(random: Random, count: number): number[] {
  const days = Array.from({ length: count }, (_, index) => (index === 0 ? 0 : random.below(365)))
  return days.sort((a, b) => a - b)
}

function drawDay(random: Random, kind: Kind): number {
  const { month } = random.weighted(MONTHS)
  const first = dayOfYear(month, 1)
  const next = dayOfYear(month + 1, 1)
  switch (kind.days) {
    case 'month-end':
      return next - 1
    case 'mid-month':
      return first + 4 + random.below(10)
    case 'any':
      return first + random.below(next - first)
  }
}

function toMovement(draw: Draw, id: string): Movement {
  return {
    id,
    account: accountNumber(draw),
    date: new Date(Date.UTC(YEAR, 0, 1 + draw.day)).toISOString().slice(0, 10),
    side: draw.kind.side,
    operation: draw.kind.operation,
    amount: toDecimal(draw.minor),
    balanceAfter: '',
    purpose: draw.kind.purpose,
    partnerBank: draw.partnerBank,
    partnerAccount: draw.partnerAccount,
  }
}

function addUp(drawn: readonly Draw[]): Map<string, ExpectedTotals> {
  const totals = new Map<string, ExpectedTotals>()
  for (const draw of drawn) {
    const account = accountNumber(draw)
    const before = totals.get(account) ?? { movements: 0, credits: 0n, debits: 0n, balance: 0n }
    const credit = draw.kind.side === 'credit' ? draw.minor : 0n
    const debit = draw.minor - credit
    totals.set(account, {
      movements: before.movements + 1,
      credits: before.credits + credit,
      debits: before.debits + debit,
      balance: before.balance + credit - debit,
    })
  }
  return totals
}

function accountNumber(draw: Draw): string {
  return String(draw.account + 1)
}

function dayOfYear(month: number, day: number): number {
  return Math.round((Date.UTC(YEAR, month, day) - Date.UTC(YEAR, 0, 1)) / 86_400_000)
}

/** How many of the sorted days are not after `day`. */
function countUpTo(days: readonly number[], day: number): number {
  let low = 0
  let high = days.length
  while (low < high) {
    const middle = (low + high) >> 1
    if (days[middle] <= day) low = middle + 1
    else high = middle
  }
  return low
}

function kind(
  weight: number,
  side: Kind['side'],
  operation: string,
  purpose: string,
  days: Kind['days'],
  [least, most, step]: readonly [bigint, bigint, bigint],
): Kind {
  return { weight, side, operation, purpose, days, least, most, step }
}

/** mulberry32: small, and the same everywhere, which is all that is asked of it. */
class Random {
  #state: number

  constructor(seed: number) {
    this.#state = seed >>> 0
  }

  /** 32 even bits. */
  next(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0
    let mixed = this.#state
    mixed = Math.imul(mixed ^ (mixed >>> 15), mixed | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return (mixed ^ (mixed >>> 14)) >>> 0
  }

  below(bound: number): number {
    return Math.floor((this.next() / 2 ** 32) * bound)
  }

  weighted<T extends { readonly weight: number }>(choices: readonly T[]): T {
    let left = this.below(choices.reduce((sum, choice) => sum + choice.weight, 0))
    for (const choice of choices) {
      left -= choice.weight
      if (left < 0) return choice
    }
    return choices[choices.length - 1]
  }
}
