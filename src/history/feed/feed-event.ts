import { formatDay } from '../../clock.js'
import {
  type AppliedBody,
  creditSide,
  debitSide,
  RecordKind,
  type RecordView,
  Side,
  viewRecord,
} from '../../journal/record.js'
import { bodyOf } from '../../journal/record-json.js'
import { formatKey, keyFromBytes } from '../../key.js'
import { formatMinor } from '../../money.js'

/**
 * What can happen. A closed list: a name never changes its meaning, and a subscriber passes over
 * one that it does not know.
 *
 * All but the last are facts. A fact is in the feed once, as the event of its home record, and
 * tells the whole of it, with the postings of other streams too. `account.moved` is no fact of its
 * own: it says that a fact of another stream, its `cause`, has now taken effect on accounts of this
 * one, and tells the postings that concern them. Who counts transactions leaves it out.
 */
export const feedEventTypes = [
  'transaction.posted',
  'hold.placed',
  'hold.posted',
  'hold.voided',
  'hold.expired',
  'transaction.reversed',
  'account.created',
  'account.changed',
  'account.moved',
] as const

export type FeedEventType = (typeof feedEventTypes)[number]

/** A committed record, as those outside are told of it. All of it is JSON. */
export interface FeedEvent {
  /** `stream-seq` of the record: the same for ever, so that a repeat is known as one. */
  id: string
  type: FeedEventType
  /** Of the layout of `data` for this type. */
  version: 1
  tenant: number
  /** `stream-seq`; within a stream events come in the order of seq, and not every seq has one. */
  position: string
  /** ISO 8601, UTC, milliseconds. Never earlier than that of an event before it in its stream. */
  time: string
  /** UUID; all zeros for what no request has caused, such as the expiry of a hold. */
  correlationId: string
  /** `stream-seq` of the fact; only of `account.moved`. */
  cause?: string
  /**
   * UUIDs of the accounts on which the record takes effect in its own stream, each once. Over all
   * streams a fact names an account once, either here or in one `account.moved`, so that a filter by
   * account needs nothing else and hears nothing twice. A striped account is named where its part is.
   */
  accounts: string[]
  data: TransactionData | AccountData
}

/** Of everything that moves or reserves money. */
export interface TransactionData {
  /** UUID of the transaction; of an expiry, that of the hold. */
  id: string
  /** Of `account.moved`: the type of the fact. */
  of?: FeedEventType
  /** UUID of the hold that was posted, voided or has expired, or of what was reversed. */
  target?: string
  postings: FeedPosting[]
  /** `YYYY-MM-DD`. */
  effectiveDate: string
  /** ISO 8601; only of a hold that expires. */
  expiresAt?: string
  /** The hold goes on with what was not posted. */
  kept?: true
  /** History as it happened: exempt from limits. */
  imported?: true
  name?: string
  code?: number
  reference?: string
  description?: string
  category?: string
  number?: string
  metadata?: Record<string, unknown>
}

export interface FeedPosting {
  /** UUIDs of accounts. */
  debit: string
  credit: string
  /** Decimal in the currency's scale. "0" in that scale where nothing moves, as in a void. */
  amount: string
  currency: string
  /** Decimal: what the hold no longer reserves besides `amount`. */
  released?: string
}

/** Of an account's creation and its changes; a change has only what was changed. */
export interface AccountData {
  /** UUID of the account. */
  id: string
  name?: string
  currency?: string
  class?: string
  type?: string
  owner?: string
  number?: string
  status?: string
  striped?: true
  metadata?: Record<string, unknown>
  /** Decimals; null: unlimited. Of a creation. */
  overdraftLimit?: string | null
  minimumBalance?: string
  /** Of a change: the record does not say the currency, so they are whole minor units, as text. */
  overdraftLimitMinor?: string | null
  minimumBalanceMinor?: string
}

type Fact = Exclude<FeedEventType, 'account.moved'>

/**
 * The event of the record at word `at`; undefined for a record that only copies into this stream
 * what concerns no account of it alone: an id that lives here, or a change of a striped account.
 * Throws on a record that is not known to this program.
 */
export function feedEvent(
  words: Uint32Array,
  at: number,
  { stream, seq }: { stream: number; seq: number },
): FeedEvent | undefined {
  const record = viewRecord(words, at)
  const body = bodyOf(words, at, record.kind)
  const type = typeOf(record)
  const fact = factOf(record, body)
  const isOfAccount = fact === 'account.created' || fact === 'account.changed'
  const accounts = isOfAccount ? [formatKey(record.id)] : accountsHere(body)
  if (type === 'account.moved' && (isOfAccount || accounts.length === 0)) return undefined
  return {
    id: `${stream}-${seq}`,
    type,
    version: 1,
    tenant: record.tenant,
    position: `${stream}-${seq}`,
    time: new Date(record.time).toISOString(),
    correlationId: formatKey(record.correlation),
    ...(type === 'account.moved' ? { cause: (body.cause ?? []).join('-') } : {}),
    accounts,
    data: isOfAccount
      ? accountData(record, body)
      : {
          id: formatKey(record.id),
          ...(type === 'account.moved' ? { of: fact } : {}),
          ...transactionData(record, body, type === 'account.moved'),
        },
  }
}

function typeOf(record: RecordView): FeedEventType {
  const { kind } = record
  return kind === RecordKind.postingApplied || kind === RecordKind.applied
    ? 'account.moved'
    : factOfKind(kind, record.pending)
}

function factOf(record: RecordView, { of }: Partial<AppliedBody>): Fact {
  return factOfKind(of ?? record.kind, record.pending)
}

function factOfKind(kind: RecordKind, pending: boolean): Fact {
  switch (kind) {
    case RecordKind.posting:
      return 'transaction.posted'
    case RecordKind.transaction:
      return pending ? 'hold.placed' : 'transaction.posted'
    case RecordKind.holdPosted:
      return 'hold.posted'
    case RecordKind.holdVoided:
      return 'hold.voided'
    case RecordKind.holdExpired:
      return 'hold.expired'
    case RecordKind.reversal:
      return 'transaction.reversed'
    case RecordKind.accountCreated:
      return 'account.created'
    case RecordKind.accountChanged:
      return 'account.changed'
    case RecordKind.postingApplied:
    case RecordKind.applied:
      throw new RangeError('an applied record does not say of what')
    default:
      throw new RangeError(`a record of kind ${kind satisfies never} is no event`)
  }
}

function accountsHere({ postings = [], sides }: Partial<AppliedBody>): string[] {
  const accounts = new Set<string>()
  for (const [index, [debit, credit]] of postings.entries()) {
    const packed = sides?.[index] ?? 0
    if (debitSide(packed) !== Side.elsewhere) accounts.add(uuid(debit))
    if (creditSide(packed) !== Side.elsewhere) accounts.add(uuid(credit))
  }
  return [...accounts]
}

function transactionData(
  record: RecordView,
  body: Partial<AppliedBody>,
  isMoved: boolean,
): Omit<TransactionData, 'id'> {
  const { target, expiresAt, kept, effectiveDate = 0 } = body
  const { name, code, reference, description, category, number, metadata } = body
  return {
    ...(target === undefined ? {} : { target: uuid(target) }),
    postings: feedPostings(body, isMoved),
    effectiveDate: formatDay(effectiveDate),
    ...(expiresAt === undefined ? {} : { expiresAt: new Date(Number(expiresAt)).toISOString() }),
    ...(kept === true ? { kept } : {}),
    ...(record.imported ? { imported: true } : {}),
    ...given({ name, code, reference, description, category, number, metadata }),
  }
}

/** All postings of a fact; of what was moved here, those with a side here. */
function feedPostings(
  { postings = [], sides, released }: Partial<AppliedBody>,
  isMoved: boolean,
): FeedPosting[] {
  return postings.flatMap(([debit, credit, amount, currency, scale], index) => {
    const packed = sides?.[index] ?? 0
    const isElsewhere =
      debitSide(packed) === Side.elsewhere && creditSide(packed) === Side.elsewhere
    if (isMoved && isElsewhere) return []
    const rest = released?.[index]
    return {
      debit: uuid(debit),
      credit: uuid(credit),
      amount: formatMinor(BigInt(amount), scale),
      currency,
      ...(rest === undefined ? {} : { released: formatMinor(BigInt(rest), scale) }),
    }
  })
}

function accountData(record: RecordView, body: Partial<AppliedBody>): AccountData {
  const { name, currency, type, owner, number, status, striped, metadata } = body
  return {
    id: formatKey(record.id),
    ...given({ name, currency, class: body.class, type, owner, number, status, striped, metadata }),
    ...limits(body),
  }
}

function limits({ scale, overdraftLimit, minimumBalance }: Partial<AppliedBody>): object {
  const text = (minor: bigint | null | undefined) => {
    if (minor === undefined || minor === null) return minor
    return scale === undefined ? BigInt(minor).toString() : formatMinor(BigInt(minor), scale)
  }
  const [overdraft, minimum] = [text(overdraftLimit), text(minimumBalance)]
  return scale === undefined
    ? given({ overdraftLimitMinor: overdraft, minimumBalanceMinor: minimum })
    : given({ overdraftLimit: overdraft, minimumBalance: minimum })
}

/** Without what is undefined. */
function given<T extends object>(fields: T): { [Name in keyof T]?: Exclude<T[Name], undefined> } {
  return Object.fromEntries(
    Object.entries(fields).filter(([, value]) => value !== undefined),
  ) as never
}

function uuid(key: Uint8Array): string {
  return formatKey(keyFromBytes(key, 0))
}
