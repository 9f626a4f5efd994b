import type { Book, Movement } from './book.js'

/** The body of `POST /v1/accounts`. */
export interface NewAccount {
  readonly id: string
  readonly currency: string
  readonly class: AccountClass
  readonly type: string
  readonly number?: string
  readonly striped?: true
}

/** One item of `POST /v1/transactions/batch`. */
export interface NewTransaction {
  readonly id: string
  readonly debit: string
  readonly credit: string
  readonly amount: string
  readonly currency: string
  readonly effectiveDate: string
  readonly imported: true
  readonly category: string
  readonly reference?: string
  readonly metadata: Readonly<Record<string, string>>
}

type AccountClass = 'asset' | 'liability' | 'income' | 'expense'

interface Counter {
  readonly name: string
  readonly class: AccountClass
  readonly type: string
}

/** What the customer has is what the bank owes: a liability, which credits raise. */
export function customerAccount(book: Book, number: string): NewAccount {
  return {
    id: customerId(book, number),
    currency: book.currency,
    class: 'liability',
    type: 'current',
    number,
  }
}

/**
 * The accounts on the other side of the book's movements, each once. They have no limit: the
 * vault and the accounts with other banks start the year with money that the file does not show.
 */
export function counterAccounts(book: Book): NewAccount[] {
  const byName = new Map<string, Counter>()
  for (const movement of book.movements) {
    const counter = counterOf(movement)
    byName.set(counter.name, counter)
  }
  return [...byName.values()]
    .sort((a, b) => (a.name < b.name ? -1 : 1))
    .map((counter) => ({
      id: book.prefix + counter.name,
      currency: book.currency,
      class: counter.class,
      type: counter.type,
      // Everybody posts to them: each shard keeps a part, so that none waits for another.
      striped: true,
    }))
}

/** A movement as Daybook posts it: history, on the day and under the id that the bank gave it. */
export function toTransaction(book: Book, movement: Movement): NewTransaction {
  const customer = customerId(book, movement.account)
  const counter = book.prefix + counterOf(movement).name
  const sides =
    movement.side === 'credit'
      ? { debit: counter, credit: customer }
      : { debit: customer, credit: counter }
  const partner = partnerOf(movement)
  return {
    id: movement.id,
    ...sides,
    amount: movement.amount,
    currency: book.currency,
    effectiveDate: movement.date,
    imported: true,
    category: movement.purpose || movement.operation,
    ...(partner === '' ? {} : { reference: partner }),
    metadata: withoutEmpty({
      operation: movement.operation,
      purpose: movement.purpose,
      partnerBank: movement.partnerBank,
      partnerAccount: partner === '' ? '' : movement.partnerAccount,
      balanceAfter: movement.balanceAfter,
    }),
  }
}

const CASH: Counter = { name: 'cash', class: 'asset', type: 'cash' }
const INTEREST_PAID: Counter = { name: 'interest-paid', class: 'expense', type: 'interest' }
const INTEREST_EARNED: Counter = { name: 'interest-earned', class: 'income', type: 'interest' }
const FEES: Counter = { name: 'fees', class: 'income', type: 'fee' }

/**
 * Where the other half of a movement goes. The bank books its own charges as cash withdrawals, so
 * for those the purpose says more than the operation: no cash leaves the bank. A combination that
 * 1993 does not have throws, as a guess would balance all the same and never be found.
 */
function counterOf(movement: Movement): Counter {
  const { side, operation, purpose } = movement
  switch (`${side} ${operation} ${purpose}`) {
    case 'credit cash_deposit ':
    case 'debit cash_withdrawal ':
    case 'debit cash_withdrawal household':
      return CASH
    case 'credit  interest_credited':
      return INTEREST_PAID
    case 'debit cash_withdrawal overdraft_interest':
      return INTEREST_EARNED
    case 'debit cash_withdrawal statement_fee':
      return FEES
    case 'credit transfer_in ':
    case 'credit transfer_in pension':
    case 'debit transfer_out ':
    case 'debit transfer_out household':
    case 'debit transfer_out insurance':
    case 'debit transfer_out loan_payment':
      return otherBank(movement)
    default:
      throw new Error(
        `movement ${movement.id}: no counter account for ${side}, operation "${operation}", purpose "${purpose}"`,
      )
  }
}

/** One account for each bank dealt with, so that what is owed to each can be read. */
function otherBank(movement: Movement): Counter {
  if (!/^[A-Z]{2}$/.test(movement.partnerBank)) {
    throw new Error(`movement ${movement.id}: partner bank "${movement.partnerBank}"`)
  }
  return { name: `bank-${movement.partnerBank}`, class: 'asset', type: 'nostro' }
}

/** Cash withdrawals on standing order carry the partner account `0`, which is nobody's. */
function partnerOf(movement: Movement): string {
  if (movement.partnerBank === '') return ''
  return `${movement.partnerBank}/${movement.partnerAccount}`
}

function customerId(book: Book, number: string): string {
  return book.prefix + number
}

function withoutEmpty(fields: Record<string, string>): Record<string, string> {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== ''))
}
