import {
  type AccountChangedBody,
  type AccountCreatedBody,
  type AppliedBody,
  creditSide,
  debitSide,
  type PostingBody,
  plainPostingBody,
  RecordKind,
  readBody,
  readInteger,
  Side,
  viewRecord,
  Word,
} from '../../../src/journal/record.js'
import { formatKey, keyFromBytes } from '../../../src/key.js'

/** A committed record in plain words; accounts and ids are keys as text, amounts minor units. */
export interface JournalRecord {
  stream: number
  seq: number
  /** Number of the commit that it came with, among all commits of the world. */
  commit: number
  time: number
  kind: RecordKind
  id: string
  imported: boolean
  pending: boolean
  postings: RecordPosting[]
  code: number | undefined
  target: string | undefined
  released: bigint[]
  /** After a partial post: the hold goes on with the rest. */
  kept: boolean
  expiresAt: number | undefined
  account: (Partial<AccountCreatedBody> & AccountChangedBody) | undefined
  /** Of an applied record: what it follows. */
  cause: { stream: number; seq: number; kind: RecordKind; message: number } | undefined
}

export interface RecordPosting {
  debit: string
  credit: string
  amount: bigint
  debitSide: Side
  creditSide: Side
}

export function readJournalRecord(
  words: Uint32Array,
  at: number,
  place: { stream: number; seq: number; commit: number },
): JournalRecord {
  const view = viewRecord(words, at)
  const isPlain = view.kind === RecordKind.posting || view.kind === RecordKind.postingApplied
  const body: Partial<AppliedBody> = isPlain
    ? plainPostingBody(words, at)
    : readBody<AppliedBody>(words, at)
  return {
    ...place,
    time: view.time,
    kind: view.kind,
    id: formatKey(view.id),
    imported: view.imported,
    pending: view.pending,
    postings: (body.postings ?? []).map((posting, index) =>
      postingOf(posting, body.sides?.[index] ?? 0),
    ),
    code: body.code,
    target: body.target === undefined ? undefined : keyText(body.target),
    released: body.released ?? [],
    kept: body.kept === true,
    expiresAt: body.expiresAt === undefined ? undefined : Number(body.expiresAt),
    account: isOfAccount(view.kind, body.of) ? (body as JournalRecord['account']) : undefined,
    cause: causeOf(words, at, view.kind, body),
  }
}

function causeOf(
  words: Uint32Array,
  at: number,
  kind: RecordKind,
  body: Partial<AppliedBody>,
): JournalRecord['cause'] {
  if (kind === RecordKind.postingApplied) {
    return {
      stream: words[at + Word.causeStream],
      seq: readInteger(words, at + Word.causeSeq),
      kind: RecordKind.posting,
      message: readInteger(words, at + Word.message),
    }
  }
  if (kind !== RecordKind.applied || body.cause === undefined || body.of === undefined) return
  const [stream, seq] = body.cause
  return { stream, seq, kind: body.of, message: body.message ?? 0 }
}

function isOfAccount(kind: RecordKind, of: RecordKind | undefined): boolean {
  const what = of ?? kind
  return what === RecordKind.accountCreated || what === RecordKind.accountChanged
}

function postingOf([debit, credit, amount]: PostingBody, sides: number): RecordPosting {
  return {
    debit: keyText(debit),
    credit: keyText(credit),
    amount,
    debitSide: debitSide(sides),
    creditSide: creditSide(sides),
  }
}

function keyText(bytes: Uint8Array): string {
  return formatKey(keyFromBytes(bytes, 0))
}

export { RecordKind, Side }
