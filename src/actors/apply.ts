import {
  type AppliedBody,
  creditSide,
  debitSide,
  type FollowUpBody,
  type PostingBody,
  plainPostingBody,
  plainSides,
  RecordFlag,
  RecordKind,
  type RecordView,
  readBigint,
  readBody,
  readInteger,
  Side,
  type TransactionBody,
  viewRecord,
  Word,
} from '../journal/record.js'
import { type Key, keyFromBytes, keyFromWords } from '../key.js'
import { applyChange, applyCreation } from './apply-account.js'
import { type Book, elsewhere } from './book.js'
import { BookError } from './book-error.js'
import type { HoldPosting } from './holds.js'
import { TransactionState } from './transactions.js'

/**
 * Applies the record at word `at` to the book. The one way in which state changes: live, right
 * after the decision, and on replay. A record that does not fit the book means a damaged journal
 * or a broken invariant, and throws.
 *
 * A record says for each side of its postings whether it takes effect in its stream. While streams
 * of earlier generations are read (`book.rebuild`), what takes effect there and belongs to slots
 * of other shards now is passed over.
 */
export function applyRecord(book: Book, words: Uint32Array, at: number, seq: number): void {
  const kind = words[at] & 0xff
  if (kind === RecordKind.posting || kind === RecordKind.postingApplied) {
    if (((words[at] >>> 8) & 0xff) === 1) {
      applyPlainPosting(book, words, at, seq)
      return
    }
  }
  const record = viewRecord(words, at)
  switch (record.kind) {
    case RecordKind.posting:
    case RecordKind.postingApplied:
      applyTransaction(book, record, plainPostingBody(words, at), seq)
      break
    case RecordKind.transaction:
      applyTransaction(book, record, readBody<TransactionBody>(words, at), seq)
      break
    case RecordKind.holdPosted:
    case RecordKind.holdVoided:
    case RecordKind.holdExpired:
    case RecordKind.reversal:
      applyFollowUp(book, { ...record, kind: record.kind }, readBody<FollowUpBody>(words, at), seq)
      break
    case RecordKind.accountCreated:
      applyCreation(book, record, readBody(words, at), { time: record.time, seq })
      break
    case RecordKind.accountChanged:
      applyChange(book, record, readBody(words, at), seq)
      break
    case RecordKind.applied:
      applyPart(book, record, readBody<AppliedBody>(words, at), seq)
      break
    default:
      throw new BookError(`no way to apply a record of kind ${record.kind satisfies never}`)
  }
}

/** Time of the record at word `at`, in milliseconds since 1970. */
export function recordTime(words: Uint32Array, at: number): number {
  return readInteger(words, at + Word.time)
}

function applyPlainPosting(book: Book, words: Uint32Array, at: number, seq: number): void {
  const { accounts } = book
  const tenant = words[at + Word.tenant]
  const sides = plainSides(words, at)
  const amount = readBigint(words, at + Word.amount)
  const debit = plainRow(book, tenant, words, at + Word.debit, debitSide(sides))
  const credit = plainRow(book, tenant, words, at + Word.credit, creditSide(sides))
  if (debit >= 0) {
    accounts.debitsPosted.set(debit, accounts.debitsPosted.get(debit) + amount)
    accounts.touch(debit, seq)
  } else if (book.rebuild !== undefined) {
    sumUp(book, tenant, keyFromWords(words, at + Word.debit), debitSide(sides), true, amount)
  }
  if (credit >= 0) {
    accounts.creditsPosted.set(credit, accounts.creditsPosted.get(credit) + amount)
    accounts.touch(credit, seq)
  } else if (book.rebuild !== undefined) {
    sumUp(book, tenant, keyFromWords(words, at + Word.credit), creditSide(sides), false, amount)
  }
  if (((words[at] >>> 16) & RecordFlag.idElsewhere) === 0) rememberPlain(book, words, at, seq)
}

/** Row on which one side of a plain posting takes effect in this book, or a negative number. */
function plainRow(
  book: Book,
  tenant: number,
  words: Uint32Array,
  word: number,
  side: Side,
): number {
  if (side === Side.elsewhere || (side === Side.striped && book.rebuild !== undefined)) {
    return elsewhere
  }
  const row = book.locate(tenant, words, word)
  return isPartInRebuild(book, row) ? elsewhere : assertThere(book, row)
}

/**
 * Whether the account is striped and its record is of an earlier generation: what it moved is
 * summed up. The record may call the side `here`, if its home did not know the account yet.
 */
function isPartInRebuild({ rebuild, accounts }: Book, row: number): boolean {
  return rebuild !== undefined && row >= 0 && accounts.isStriped(row)
}

/** A row that must be there, unless it went to another shard with a change of the layout. */
function assertThere(book: Book, row: number): number {
  if (row >= 0 || (row === elsewhere && book.rebuild !== undefined)) return row
  throw new BookError('a posting names an account that the book does not have')
}

function rememberPlain(book: Book, words: Uint32Array, at: number, seq: number): void {
  const { transactions } = book
  const id = at + Word.id
  if (book.rebuild !== undefined && !book.ownsWords(words, id)) return
  const row = transactions.keys.insert(
    words[at + Word.tenant],
    words[id],
    words[id + 1],
    words[id + 2],
    words[id + 3],
  )
  const isApplied = (words[at] & 0xff) === RecordKind.postingApplied
  transactions.stream.set(row, isApplied ? words[at + Word.causeStream] : book.stream)
  transactions.seq.set(row, isApplied ? readInteger(words, at + Word.causeSeq) : seq)
  transactions.touchedSeq.set(row, seq)
  transactions.state.set(row, TransactionState.posted)
  transactions.fingerprintLow.set(row, words[at + Word.fingerprint])
  transactions.fingerprintHigh.set(row, words[at + Word.fingerprint + 1])
}

function applyTransaction(
  book: Book,
  record: RecordView,
  body: Pick<TransactionBody, 'postings' | 'sides' | 'expiresAt'> &
    Pick<Partial<AppliedBody>, 'cause'>,
  seq: number,
): void {
  const { tenant, pending } = record
  const [stream, madeSeq] = body.cause ?? [book.stream, seq]
  for (const [index, posting] of body.postings.entries()) {
    const amount = posting[2]
    applyPosting(book, tenant, posting, body.sides?.[index] ?? 0, seq, {
      posted: pending ? 0n : amount,
      pending: pending ? amount : 0n,
      holds: pending ? 1 : 0,
    })
  }
  const row = remember(
    book,
    record,
    pending ? TransactionState.pending : TransactionState.posted,
    seq,
    { stream, seq: madeSeq },
  )
  if (!pending) return
  const postings = body.postings.map(holdPosting)
  if (row < 0) {
    if (!record.idElsewhere) book.rebuild?.addHold(tenant, record.id, postings)
    return
  }
  const expiresAt = body.expiresAt === undefined ? Number.POSITIVE_INFINITY : Number(body.expiresAt)
  book.holds.add({ row, postings, expiresAt, busy: false, queued: false })
}

function holdPosting([debit, credit, amount, currency, scale]: PostingBody): HoldPosting {
  return {
    debit: keyFromBytes(debit, 0),
    credit: keyFromBytes(credit, 0),
    currency,
    scale,
    remaining: amount,
  }
}

type FollowUpKind = Extract<
  RecordKind,
  | typeof RecordKind.holdPosted
  | typeof RecordKind.holdVoided
  | typeof RecordKind.holdExpired
  | typeof RecordKind.reversal
>

const statesAfter = {
  [RecordKind.holdPosted]: [TransactionState.holdPosted, TransactionState.holdPost],
  [RecordKind.holdVoided]: [TransactionState.holdVoided, TransactionState.holdVoid],
  [RecordKind.holdExpired]: [TransactionState.holdExpired, undefined],
  [RecordKind.reversal]: [TransactionState.reversed, TransactionState.reversal],
} as const

function applyFollowUp(
  book: Book,
  record: RecordView & { kind: FollowUpKind },
  body: FollowUpBody,
  seq: number,
): void {
  const { kind, tenant } = record
  const targetKey = keyFromBytes(body.target, 0)
  const [targetState, ownState] = statesAfter[kind]
  let target = book.transactions.find(tenant, targetKey)
  if (target < 0 && (book.rebuild === undefined || book.owns(targetKey))) {
    const words = Uint32Array.of(targetKey.w0, targetKey.w1, targetKey.w2, targetKey.w3)
    if (!book.letGo.mayHave(tenant, words, 0)) {
      throw new BookError('a record follows a transaction that the book does not have')
    }
    // What else there is to say of it is in the read models.
    const nothing = { low: 0, high: 0 }
    target = book.transactions.add(tenant, targetKey, targetState, nothing, unknownPlace, seq)
  }
  if (kind === RecordKind.reversal) {
    for (const [index, posting] of body.postings.entries()) {
      const effect = { posted: posting[2], pending: 0n, holds: 0 }
      applyPosting(book, tenant, posting, body.sides?.[index] ?? 0, seq, effect)
    }
    if (target >= 0) book.transactions.changeState(target, targetState, seq)
  } else {
    settleHold(book, { tenant, target, targetKey }, body, targetState, seq)
  }
  if (ownState !== undefined) remember(book, record, ownState, seq)
}

/** Of a row that is hollow (transactions.ts). */
const unknownPlace = { stream: 0, seq: 0 }

/** Moves what a hold's post, void or expiry posts and releases; ends the hold unless it goes on. */
function settleHold(
  book: Book,
  of: { tenant: number; target: number; targetKey: Key },
  body: FollowUpBody,
  stateAfter: TransactionState,
  seq: number,
): void {
  const { tenant, target, targetKey } = of
  const hold = book.holds.get(target)
  const postings = hold?.postings ?? book.rebuild?.hold(tenant, targetKey)
  if (postings === undefined) throw new BookError('a record settles a hold that is not pending')
  const ended = body.kept !== true
  for (const [index, posting] of postings.entries()) {
    const posted = body.postings[index]?.[2] ?? 0n
    const settled = posted + (body.released?.[index] ?? 0n)
    posting.remaining -= settled
    applyPosting(book, tenant, posting, body.sides?.[index] ?? 0, seq, {
      posted,
      pending: -settled,
      holds: ended ? -1 : 0,
    })
  }
  if (hold !== undefined) {
    const { transactions } = book
    transactions.changeState(target, ended ? stateAfter : TransactionState.pending, seq)
    if (ended) book.holds.remove(target)
  } else if (ended) {
    book.rebuild?.removeHold(tenant, targetKey)
  }
}

/** Applies what a record of another stream asks for here. */
function applyPart(book: Book, record: RecordView, body: AppliedBody, seq: number): void {
  switch (body.of) {
    case RecordKind.accountCreated:
      // In an earlier generation the record of the stream that owned the account says it.
      if (book.rebuild === undefined) {
        applyCreation(book, record, body as never, { time: Number(body.createdAt), seq })
      }
      return
    case RecordKind.accountChanged:
      if (book.rebuild === undefined) applyChange(book, record, body as never, seq)
      return
    case RecordKind.posting:
    case RecordKind.transaction:
      applyTransaction(book, record, { ...body, postings: body.postings ?? [] }, seq)
      return
    default:
      applyFollowedPart(book, record, body, seq)
  }
}

function applyFollowedPart(book: Book, record: RecordView, body: AppliedBody, seq: number): void {
  for (const [index, posting] of (body.postings ?? []).entries()) {
    const posted = posting[2]
    const isReversal = body.of === RecordKind.reversal
    applyPosting(book, record.tenant, posting, body.sides?.[index] ?? 0, seq, {
      posted,
      pending: isReversal ? 0n : -(posted + (body.released?.[index] ?? 0n)),
      holds: body.ended === true ? -1 : 0,
    })
  }
}

/** What one posting does to each of its accounts; amounts in minor units. */
interface Effect {
  posted: bigint
  pending: bigint
  /** Change in the number of pending holds. */
  holds: number
}

function applyPosting(
  book: Book,
  tenant: number,
  posting: PostingBody | HoldPosting,
  sides: number,
  seq: number,
  effect: Effect,
): void {
  const [debit, credit] = Array.isArray(posting)
    ? [keyFromBytes(posting[0], 0), keyFromBytes(posting[1], 0)]
    : [posting.debit, posting.credit]
  applySide(book, tenant, debit, { side: debitSide(sides), isDebit: true }, seq, effect)
  applySide(book, tenant, credit, { side: creditSide(sides), isDebit: false }, seq, effect)
}

function applySide(
  book: Book,
  tenant: number,
  key: Key,
  { side, isDebit }: { side: Side; isDebit: boolean },
  seq: number,
  { posted, pending, holds }: Effect,
): void {
  const row = sideRow(book, tenant, key, side)
  if (row < 0) {
    if (book.rebuild !== undefined) sumUp(book, tenant, key, side, isDebit, posted)
    return
  }
  const { accounts } = book
  const [ofPosted, ofPending] = isDebit
    ? [accounts.debitsPosted, accounts.debitsPending]
    : [accounts.creditsPosted, accounts.creditsPending]
  ofPosted.set(row, ofPosted.get(row) + posted)
  ofPending.set(row, ofPending.get(row) + pending)
  accounts.holds.set(row, accounts.holds.get(row) + holds)
  accounts.touch(row, seq)
}

function sideRow(book: Book, tenant: number, key: Key, side: Side): number {
  if (side === Side.elsewhere || (side === Side.striped && book.rebuild !== undefined)) {
    return elsewhere
  }
  const row = book.accounts.find(tenant, key)
  if (isPartInRebuild(book, row)) return elsewhere
  return assertThere(book, row >= 0 || book.owns(key) ? row : elsewhere)
}

/** While rebuilding: adds what this side moved to the sum, if its account is striped. */
function sumUp(
  book: Book,
  tenant: number,
  key: Key,
  side: Side,
  isDebit: boolean,
  amount: bigint,
): void {
  const isStriped =
    side === Side.striped ||
    (side === Side.here && isPartInRebuild(book, book.accounts.find(tenant, key)))
  if (isStriped) book.rebuild?.addStriped(tenant, key, isDebit, amount)
}

/**
 * Remembers the transaction, made by the home record at `madeAt`, if its id lives here; returns its
 * row, or -1 if it lives on another shard.
 */
function remember(
  book: Book,
  record: RecordView,
  state: TransactionState,
  seq: number,
  madeAt = { stream: book.stream, seq },
): number {
  const { tenant, id, idElsewhere, words, start } = record
  if (idElsewhere || (book.rebuild !== undefined && !book.owns(id))) return -1
  const fingerprint = {
    low: words[start + Word.fingerprint],
    high: words[start + Word.fingerprint + 1],
  }
  return book.transactions.add(tenant, id, state, fingerprint, madeAt, seq)
}
