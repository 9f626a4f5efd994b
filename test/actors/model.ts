import { isDeepStrictEqual } from 'node:util'

/**
 * A ledger that is obviously right: Maps of plain objects, bigint, one command after the other. It
 * follows the design and the list of refusals, and shares no code with the engine's decisions.
 */

export type AccountClass = 'asset' | 'liability' | 'equity' | 'income' | 'expense'
export type AccountStatus = 'active' | 'dormant' | 'frozen' | 'closed'
export type Metadata = Record<string, string | number | boolean>

export interface NewAccount {
  id: string
  currency: string
  /** Decimals of the currency. */
  scale: number
  class: AccountClass
  type?: string
  owner?: string
  number?: string
  /** Decimal string, or `unlimited`; absent: what is usual for the class. */
  overdraftLimit?: string
  minimumBalance?: string
  metadata?: Metadata
}

export interface AccountChange {
  id: string
  status?: AccountStatus
  overdraftLimit?: string
  minimumBalance?: string
  metadata?: Metadata
  version?: number
}

export interface Attributes {
  code?: number
  reference?: string
  description?: string
  category?: string
  number?: string
  metadata?: Metadata
}

export interface NewTransaction extends Attributes {
  id: string
  postings: { debit: string; credit: string; amount: string; currency?: string }[]
  pending?: true
  /** Milliseconds since 1970. */
  expiresAt?: number
  /** Days since 1970. */
  effectiveDate?: number
  conditions?: { account: string; version: number }[]
  imported?: true
}

export interface FollowUp extends Attributes {
  kind: 'post' | 'void' | 'reverse'
  target: string
  id: string
  amounts?: string[]
  keepRest?: true
  effectiveDate?: number
}

export interface AccountView {
  currency: string
  class: AccountClass
  status: AccountStatus
  type?: string
  owner?: string
  number?: string
  /** Minor units; null: unlimited. */
  overdraftLimit: bigint | null
  minimumBalance: bigint
  debitsPosted: bigint
  creditsPosted: bigint
  debitsPending: bigint
  creditsPending: bigint
  version: number
  createdAt: number
  metadata?: Metadata
}

export interface BalanceView {
  version: number
  debitsPosted: bigint
  creditsPosted: bigint
  debitsPending: bigint
  creditsPending: bigint
}

export type TransactionStatus =
  | 'posted'
  | 'pending'
  | 'hold posted'
  | 'hold voided'
  | 'hold expired'
  | 'hold post'
  | 'hold void'
  | 'reversal'
  | 'reversed'

export interface TransactionView extends Attributes {
  status: TransactionStatus
  postings: { debit: string; credit: string; amount: bigint; currency: string }[]
  effectiveDate: number
  recordedAt: number
  expiresAt?: number
  imported: boolean
  /** Of a pending hold: minor units still reserved per posting. */
  remaining?: bigint[]
}

export type Refused = { outcome: 'refused'; code: string; index?: number }
export type ItemAnswer = { outcome: 'accepted' | 'replayed'; seq: number } | Refused

export type Answer =
  | Refused
  | {
      outcome: 'accepted'
      seq: number
      transaction: TransactionView
      balances: Record<string, BalanceView>
    }
  | { outcome: 'replayed' | 'read'; seq: number; transaction: TransactionView }
  | { outcome: 'account'; replayed: boolean; account: AccountView }
  | { outcome: 'batch'; items: ItemAnswer[] }

export interface ModelLimits {
  accountsMax: number
  transactionsMax: number
}

interface Account extends AccountView {
  scale: number
  body: string
  pendingHolds: number
  /** It is beyond its limit by imported history, or has not reached its minimum balance yet. */
  excused: boolean
}

interface Transaction extends TransactionView {
  seq: number
  /** What tells a retry from another command. */
  body: string
}

interface State {
  accounts: Map<string, Account>
  transactions: Map<string, Transaction>
  /** Records written: the seq of the last one. */
  records: number
}

type Posting = TransactionView['postings'][number]

const dayMs = 86_400_000
/** How far in the future a v7 id may be dated. */
const idSkewMs = 600_000
const usualLimit = {
  asset: '0',
  liability: '0',
  equity: 'unlimited',
  income: 'unlimited',
  expense: 'unlimited',
} as const
const counterMax = 2n ** 63n - 1n

export class LedgerModel {
  nowMs: number
  readonly limits: ModelLimits
  #state: State = { accounts: new Map(), transactions: new Map(), records: 0 }

  constructor(nowMs: number, limits: ModelLimits) {
    this.nowMs = nowMs
    this.limits = limits
  }

  get accounts(): ReadonlyMap<string, Account> {
    return this.#state.accounts
  }

  get transactions(): ReadonlyMap<string, Transaction> {
    return this.#state.transactions
  }

  /** Time passes; holds whose time has come expire, each with a record. */
  advance(ms: number): void {
    this.nowMs += ms
    for (const hold of this.#state.transactions.values()) {
      if (hold.status !== 'pending' || (hold.expiresAt ?? Infinity) > this.nowMs) continue
      this.#newRecord()
      this.#release(hold, hold.remaining ?? [])
      this.#touch(hold.postings)
      hold.status = 'hold expired'
      this.#endHold(hold)
    }
  }

  createAccount(body: NewAccount): Answer {
    const text = canonical(body)
    const { accounts } = this.#state
    const known = accounts.get(body.id)
    if (known !== undefined) {
      if (known.body !== text) return refused('id_reused_with_different_body')
      return { outcome: 'account', replayed: true, account: accountView(known) }
    }
    if (accounts.size >= this.limits.accountsMax) return refused('memory_limit_reached')
    for (const other of accounts.values()) {
      if (other.currency === body.currency && other.scale !== body.scale) {
        return refused('currency_mismatch')
      }
    }
    this.#newRecord()
    const account: Account = {
      currency: body.currency,
      scale: body.scale,
      class: body.class,
      status: 'active',
      type: body.type,
      owner: body.owner,
      number: body.number,
      overdraftLimit: limitOf(body.overdraftLimit ?? usualLimit[body.class], body.scale) ?? null,
      minimumBalance: minorOf(body.minimumBalance ?? '0', body.scale) ?? 0n,
      debitsPosted: 0n,
      creditsPosted: 0n,
      debitsPending: 0n,
      creditsPending: 0n,
      version: 1,
      createdAt: this.nowMs,
      metadata: body.metadata,
      body: text,
      pendingHolds: 0,
      excused: false,
    }
    account.excused = available(account) < floorOf(account)
    accounts.set(body.id, account)
    return { outcome: 'account', replayed: false, account: accountView(account) }
  }

  changeAccount(change: AccountChange): Answer {
    const account = this.#state.accounts.get(change.id)
    if (account === undefined) return refused('account_not_found')
    const { scale } = account
    const overdraft =
      change.overdraftLimit === undefined
        ? account.overdraftLimit
        : limitOf(change.overdraftLimit, scale)
    const minimum =
      change.minimumBalance === undefined
        ? account.minimumBalance
        : minorOf(change.minimumBalance, scale)
    const { status = account.status, metadata = account.metadata } = change
    const changesNothing =
      overdraft === account.overdraftLimit &&
      minimum === account.minimumBalance &&
      status === account.status &&
      isDeepStrictEqual(metadata, account.metadata)
    if (changesNothing) {
      return { outcome: 'account', replayed: false, account: accountView(account) }
    }
    if (account.status === 'closed') return refused('account_closed')
    if (overdraft === undefined || minimum === undefined) return refused('too_many_decimals')
    if (change.version !== undefined && change.version !== account.version) {
      return refused('version_conflict')
    }
    if ((overdraft ?? 0n) > counterMax || minimum > counterMax) return refused('amount_overflow')
    const before = floorOf(account)
    const after = floorOf({ overdraftLimit: overdraft, minimumBalance: minimum })
    if (after > before && available(account) < after) return refused('limit_exceeded')
    if (status === 'closed') {
      if (account.debitsPosted !== account.creditsPosted) return refused('balance_not_zero')
      if (account.pendingHolds > 0) return refused('holds_pending')
    }
    this.#newRecord()
    account.overdraftLimit = overdraft
    account.minimumBalance = minimum
    account.status = status
    account.metadata = metadata
    account.version += 1
    if (available(account) >= floorOf(account)) account.excused = false
    return { outcome: 'account', replayed: false, account: accountView(account) }
  }

  post(body: NewTransaction): Answer {
    const text = canonical(body)
    const known = this.#known(body.id, text)
    if (known !== undefined) return known
    if ((timeOfV7(body.id) ?? 0) > this.nowMs + idSkewMs) return refused('id_in_the_future')
    if (this.#state.transactions.size >= this.limits.transactionsMax) {
      return refused('memory_limit_reached')
    }
    if (body.expiresAt !== undefined && body.expiresAt <= this.nowMs) {
      return refused('expiry_in_the_past')
    }
    const imported = body.imported === true
    const effectiveDate = body.effectiveDate ?? this.#today
    if (effectiveDate < this.#today && !imported) return refused('effective_date_in_the_past')
    const resolved = this.#resolve(body.postings)
    if ('outcome' in resolved) return resolved
    for (const condition of body.conditions ?? []) {
      const account = this.#state.accounts.get(condition.account)
      if (account === undefined) return refused('account_not_found')
      if (account.version !== condition.version) return refused('version_conflict')
    }
    const pending = body.pending === true
    const refusal = this.#tryMove(resolved.postings, { pending, imported })
    if (refusal !== undefined) return refusal

    const seq = this.#newRecord()
    this.#touch(resolved.postings)
    const transaction: Transaction = {
      status: pending ? 'pending' : 'posted',
      postings: resolved.postings,
      effectiveDate,
      recordedAt: this.nowMs,
      expiresAt: body.expiresAt,
      imported,
      remaining: pending ? resolved.postings.map((posting) => posting.amount) : undefined,
      ...attributesOf(body),
      seq,
      body: text,
    }
    this.#state.transactions.set(body.id, transaction)
    if (pending) {
      for (const account of this.#accountsOf(resolved.postings)) account.pendingHolds += 1
    }
    return this.#accepted(transaction, resolved.postings)
  }

  followUp(command: FollowUp): Answer {
    const text = canonical(command)
    const key = followUpId(command)
    const known = this.#known(key, text)
    if (known !== undefined) return known
    if (this.#state.transactions.size >= this.limits.transactionsMax) {
      return refused('memory_limit_reached')
    }
    const target = this.#state.transactions.get(command.target)
    return command.kind === 'reverse'
      ? this.#reverse(command, target, text)
      : this.#settle(command, target, text)
  }

  batch(bodies: NewTransaction[], atomic: boolean): Answer {
    if (!atomic) {
      return { outcome: 'batch', items: bodies.map((body) => itemOf(this.post(body))) }
    }
    const before = structuredClone(this.#state)
    const items: ItemAnswer[] = []
    for (const [index, body] of bodies.entries()) {
      const item = itemOf(this.#itemOfAtomic(body))
      if (item.outcome === 'refused') {
        this.#state = before
        return { ...item, index }
      }
      items.push(item)
    }
    return { outcome: 'batch', items }
  }

  /** Whether there is room for its id is the first thing that is asked of a new item. */
  #itemOfAtomic(body: NewTransaction): Answer {
    const isFull = this.#state.transactions.size >= this.limits.transactionsMax
    const isNew = this.#known(body.id, canonical(body)) === undefined
    return isFull && isNew ? refused('memory_limit_reached') : this.post(body)
  }

  readAccount(id: string, minSeq: number): Answer {
    if (minSeq > this.#state.records) return refused('position_not_reached')
    const account = this.#state.accounts.get(id)
    if (account === undefined) return refused('account_not_found')
    return { outcome: 'account', replayed: false, account: accountView(account) }
  }

  readTransaction(id: string, minSeq: number): Answer {
    if (minSeq > this.#state.records) return refused('position_not_reached')
    const transaction = this.#state.transactions.get(id)
    if (transaction === undefined) return refused('transaction_not_found')
    return { outcome: 'read', seq: transaction.seq, transaction: transactionView(transaction) }
  }

  /** Accounts whose available balance has crossed their limit without imported history. */
  get beyondLimit(): string[] {
    const found = [...this.#state.accounts].filter(
      ([, account]) => !account.excused && available(account) < floorOf(account),
    )
    return found.map(([id]) => id)
  }

  #settle(command: FollowUp, hold: Transaction | undefined, text: string): Answer {
    switch (hold?.status) {
      case 'pending':
        break
      case 'hold posted':
        return refused('hold_already_posted')
      case 'hold voided':
        return refused('hold_already_voided')
      case 'hold expired':
        return refused('hold_expired')
      default:
        return refused('hold_not_found')
    }
    const effectiveDate = command.effectiveDate ?? this.#today
    if (effectiveDate < this.#today) return refused('effective_date_in_the_past')
    const remaining = hold.remaining ?? []
    let posted = remaining.map(() => 0n)
    if (command.kind === 'post') {
      for (const [index, posting] of hold.postings.entries()) {
        const status = this.#statusRefusal(posting.debit, posting.credit)
        if (status !== undefined) return { ...refused(status), index }
      }
      const amounts = this.#amountsToPost(hold, remaining, command.amounts)
      if ('outcome' in amounts) return amounts
      posted = amounts.amounts
    }
    const rest = remaining.map((amount, index) => amount - posted[index])
    const keep =
      command.kind === 'post' && command.keepRest === true && rest.some((amount) => amount > 0n)

    const seq = this.#newRecord()
    this.#release(hold, keep ? posted : remaining)
    for (const [index, { debit, credit }] of hold.postings.entries()) {
      this.#account(debit).debitsPosted += posted[index]
      this.#account(credit).creditsPosted += posted[index]
    }
    this.#touch(hold.postings)
    if (keep) {
      hold.remaining = rest
    } else {
      hold.status = command.kind === 'post' ? 'hold posted' : 'hold voided'
      this.#endHold(hold)
    }
    const postings = hold.postings.map((posting, index) => ({ ...posting, amount: posted[index] }))
    const status = command.kind === 'post' ? 'hold post' : 'hold void'
    const ended = { status, postings: command.kind === 'post' ? postings : [] } as const
    return this.#addFollowUp(command, { ...ended, effectiveDate, seq, body: text }, hold.postings)
  }

  #amountsToPost(
    hold: Transaction,
    remaining: bigint[],
    texts: string[] | undefined,
  ): { amounts: bigint[] } | Refused {
    if (texts === undefined || texts.length === 0) return { amounts: remaining }
    if (texts.length !== remaining.length) {
      return refused('amounts_mismatch')
    }
    const amounts: bigint[] = []
    for (const [index, text] of texts.entries()) {
      const amount = minorOf(text, this.#account(hold.postings[index].debit).scale)
      if (amount === undefined) return { ...refused('too_many_decimals'), index }
      if (amount > remaining[index]) return { ...refused('exceeds_hold'), index }
      amounts.push(amount)
    }
    return { amounts }
  }

  #reverse(command: FollowUp, target: Transaction | undefined, text: string): Answer {
    if (target === undefined) return refused('transaction_not_found')
    if (target.status === 'reversed') return refused('already_reversed')
    if (target.status !== 'posted' && target.status !== 'hold post')
      return refused('not_reversible')
    const effectiveDate = command.effectiveDate ?? this.#today
    if (effectiveDate < this.#today) return refused('effective_date_in_the_past')
    const postings = target.postings
      .filter((posting) => posting.amount > 0n)
      .map((posting) => ({ ...posting, debit: posting.credit, credit: posting.debit }))
    for (const [index, posting] of postings.entries()) {
      const status = this.#statusRefusal(posting.debit, posting.credit)
      if (status !== undefined) return { ...refused(status), index }
    }
    const refusal = this.#tryMove(postings, { pending: false, imported: false })
    if (refusal !== undefined) return refusal
    const seq = this.#newRecord()
    this.#touch(postings)
    target.status = 'reversed'
    const reversal = { status: 'reversal', postings, effectiveDate, seq, body: text } as const
    return this.#addFollowUp(command, reversal, postings)
  }

  #addFollowUp(
    command: FollowUp,
    made: Pick<Transaction, 'status' | 'postings' | 'effectiveDate' | 'seq' | 'body'>,
    touched: Posting[],
  ): Answer {
    const transaction: Transaction = {
      ...made,
      recordedAt: this.nowMs,
      imported: false,
      ...attributesOf(command),
    }
    this.#state.transactions.set(followUpId(command), transaction)
    return this.#accepted(transaction, touched)
  }

  #resolve(inputs: NewTransaction['postings']): { postings: Posting[] } | Refused {
    const postings: Posting[] = []
    for (const [index, input] of inputs.entries()) {
      const refuse = (code: string): Refused => ({ ...refused(code), index })
      if (input.debit === input.credit) return refuse('same_account')
      const debit = this.#state.accounts.get(input.debit)
      const credit = this.#state.accounts.get(input.credit)
      if (debit === undefined || credit === undefined) return refuse('account_not_found')
      const status = this.#statusRefusal(input.debit, input.credit)
      if (status !== undefined) return refuse(status)
      const { currency, scale } = debit
      if (credit.currency !== currency) return refuse('currency_mismatch')
      if (input.currency !== undefined && input.currency !== currency) {
        return refuse('currency_mismatch')
      }
      const amount = minorOf(input.amount, scale)
      if (amount === undefined) return refuse('too_many_decimals')
      postings.push({ debit: input.debit, credit: input.credit, amount, currency })
    }
    return { postings }
  }

  /** Moves one posting after the other; puts everything back if one of them is refused. */
  #tryMove(
    postings: Posting[],
    effect: { pending: boolean; imported: boolean },
  ): Refused | undefined {
    const { accounts } = this.#state
    const before = structuredClone(accounts)
    for (const [index, { debit, credit, amount }] of postings.entries()) {
      const from = this.#account(debit)
      const to = this.#account(credit)
      if (
        from.debitsPosted + from.debitsPending + amount > counterMax ||
        to.creditsPosted + to.creditsPending + amount > counterMax
      ) {
        this.#state.accounts = before
        return { ...refused('amount_overflow'), index }
      }
      const debits = effect.pending ? 'debitsPending' : 'debitsPosted'
      const credits = effect.pending ? 'creditsPending' : 'creditsPosted'
      from[debits] += amount
      to[credits] += amount
      if (effect.imported) {
        for (const account of [from, to]) account.excused = true
        continue
      }
      const lowered = [...(isDebitNormal(from) ? [] : [from]), ...(isDebitNormal(to) ? [to] : [])]
      const broken = lowered.find((account) => available(account) < floorOf(account))
      if (broken !== undefined) {
        this.#state.accounts = before
        const plain = broken.overdraftLimit === 0n && broken.minimumBalance === 0n
        return { ...refused(plain ? 'insufficient_funds' : 'limit_exceeded'), index }
      }
    }
    return undefined
  }

  #statusRefusal(debit: string, credit: string): string | undefined {
    const statuses = [this.#account(debit).status, this.#account(credit).status]
    for (const status of ['closed', 'frozen', 'dormant'] as const) {
      if (statuses.includes(status)) return `account_${status}`
    }
    return undefined
  }

  #release(hold: Transaction, amounts: bigint[]): void {
    for (const [index, { debit, credit }] of hold.postings.entries()) {
      this.#account(debit).debitsPending -= amounts[index]
      this.#account(credit).creditsPending -= amounts[index]
    }
  }

  #endHold(hold: Transaction): void {
    hold.remaining = undefined
    for (const account of this.#accountsOf(hold.postings)) account.pendingHolds -= 1
  }

  #touch(postings: Posting[]): void {
    for (const account of this.#accountsOf(postings)) {
      account.version += 1
      if (available(account) >= floorOf(account)) account.excused = false
    }
  }

  #accountsOf(postings: Posting[]): Account[] {
    const ids = new Set(postings.flatMap((posting) => [posting.debit, posting.credit]))
    return [...ids].map((id) => this.#account(id))
  }

  #account(id: string): Account {
    const account = this.#state.accounts.get(id)
    if (account === undefined) throw new Error(`the model has no account ${id}`)
    return account
  }

  #known(id: string, body: string): Answer | undefined {
    const known = this.#state.transactions.get(id)
    if (known === undefined) return undefined
    if (known.body !== body) return refused('id_reused_with_different_body')
    return { outcome: 'replayed', seq: known.seq, transaction: transactionView(known) }
  }

  #accepted(transaction: Transaction, touched: Posting[]): Answer {
    const ids = new Set(touched.flatMap((posting) => [posting.debit, posting.credit]))
    const balances: Record<string, BalanceView> = {}
    for (const id of ids) {
      const { version, debitsPosted, creditsPosted, debitsPending, creditsPending } =
        this.#account(id)
      balances[id] = { version, debitsPosted, creditsPosted, debitsPending, creditsPending }
    }
    const { seq } = transaction
    // The answer shows the record; what a hold still reserves is for reads.
    const view = transactionView({ ...transaction, remaining: undefined })
    return { outcome: 'accepted', seq, transaction: view, balances }
  }

  #newRecord(): number {
    this.#state.records += 1
    return this.#state.records
  }

  get #today(): number {
    return Math.floor(this.nowMs / dayMs)
  }
}

/** The id of a post, void or reversal within the model: exactly once within its target. */
export function followUpId(command: { target: string; id: string }): string {
  return `${command.target}/${command.id}`
}

/** Minor units of a decimal string; undefined if it has more decimals than the currency. */
export function minorOf(text: string, scale: number): bigint | undefined {
  const [whole, fraction = ''] = text.split('.')
  const digits = fraction.replace(/0+$/, '')
  if (digits.length > scale) return undefined
  return BigInt(whole + digits.padEnd(scale, '0'))
}

/** Milliseconds since 1970 in a v7 UUID; undefined for any other id. */
function timeOfV7(id: string): number | undefined {
  const match = /^([0-9a-f]{8})-([0-9a-f]{4})-7[0-9a-f]{3}-/i.exec(id)
  return match === null ? undefined : Number.parseInt(match[1] + match[2], 16)
}

function limitOf(text: string, scale: number): bigint | null | undefined {
  return text === 'unlimited' ? null : minorOf(text, scale)
}

function isDebitNormal(account: { class: AccountClass }): boolean {
  return account.class === 'asset' || account.class === 'expense'
}

function available(account: AccountView): bigint {
  return isDebitNormal(account)
    ? account.debitsPosted - account.creditsPosted - account.creditsPending
    : account.creditsPosted - account.debitsPosted - account.debitsPending
}

/** The least available balance that an account's limits allow. */
function floorOf(limits: { overdraftLimit: bigint | null; minimumBalance: bigint }): bigint {
  const none = -(2n ** 70n)
  return limits.overdraftLimit === null ? none : limits.minimumBalance - limits.overdraftLimit
}

function refused(code: string): Refused {
  return { outcome: 'refused', code }
}

function itemOf(answer: Answer): ItemAnswer {
  switch (answer.outcome) {
    case 'accepted':
    case 'replayed':
      return { outcome: answer.outcome, seq: answer.seq }
    case 'refused':
      return { outcome: 'refused', code: answer.code }
    default:
      throw new Error(`an item cannot be ${answer.outcome}`)
  }
}

function accountView(account: Account): AccountView {
  const { scale: _, body: __, pendingHolds: ___, excused: ____, ...view } = account
  return { ...view }
}

function transactionView(transaction: Transaction): TransactionView {
  const { seq: _, body: __, ...view } = transaction
  return { ...view }
}

function attributesOf(from: Attributes): Attributes {
  const { code, reference, description, category, number, metadata } = from
  return { code, reference, description, category, number, metadata }
}

/** A body as text in which the same command, however written, is the same text. */
function canonical(body: object): string {
  return JSON.stringify(body, (name, value: unknown) => {
    if (typeof value === 'string' && (name === 'amount' || /^\d+\.\d+$/.test(value))) {
      return value.includes('.') ? value.replace(/\.?0+$/, '') : value
    }
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) {
      return Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)))
    }
    return value
  })
}
