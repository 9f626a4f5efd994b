import { formatDay } from '../clock.js'
import { formatKey, keyFromBytes } from '../key.js'
import { formatMinor } from '../money.js'
import {
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
} from './record.js'

/** A record as people read it: names for numbers, decimal amounts, ISO times. */
export interface RecordJson {
  /** `stream-seq`. */
  position: string
  kind: string
  time: string
  tenant: number
  principal: number
  correlationId: string
  id: string
  imported?: true
  pending?: true
  idElsewhere?: true
  postings?: PostingJson[]
  /** The rest of the body. */
  body: Record<string, unknown>
}

export interface PostingJson {
  debit: string
  credit: string
  amount: string
  currency: string
  /** Where the sides take effect, if not both here. */
  sides?: { debit: string; credit: string }
}

/** The kinds under the names that the SQL views give them. */
const kindNames: Record<RecordKind, string> = {
  [RecordKind.posting]: 'posting',
  [RecordKind.transaction]: 'transaction',
  [RecordKind.holdPosted]: 'hold_posted',
  [RecordKind.holdVoided]: 'hold_voided',
  [RecordKind.holdExpired]: 'hold_expired',
  [RecordKind.reversal]: 'reversal',
  [RecordKind.accountCreated]: 'account_created',
  [RecordKind.accountChanged]: 'account_changed',
  [RecordKind.postingApplied]: 'posting_applied',
  [RecordKind.applied]: 'applied',
}

const sideNames: Record<Side, string> = {
  [Side.here]: 'here',
  [Side.elsewhere]: 'elsewhere',
  [Side.striped]: 'striped',
}

/** Decodes the record at word `at`; throws on one that is not known to this program. */
export function recordJson(
  words: Uint32Array,
  at: number,
  { stream, seq }: { stream: number; seq: number },
): RecordJson {
  const record = viewRecord(words, at)
  const { postings, sides, ...body } = bodyOf(words, at, record.kind)
  return {
    position: `${stream}-${seq}`,
    kind: kindNames[record.kind],
    time: new Date(record.time).toISOString(),
    tenant: record.tenant,
    principal: record.principal,
    correlationId: formatKey(record.correlation),
    id: formatKey(record.id),
    ...(record.imported ? { imported: true } : {}),
    ...(record.pending ? { pending: true } : {}),
    ...(record.idElsewhere ? { idElsewhere: true } : {}),
    ...(postings === undefined
      ? {}
      : { postings: postings.map((posting, index) => postingJson(posting, sides?.[index] ?? 0)) }),
    body: Object.fromEntries(
      Object.entries(body).map(([name, value]) => [name, plainValue(name, value)]),
    ),
  }
}

/** One line: when, what, and what it moved. */
export function recordInWords(record: RecordJson): string {
  const { of, cause, message, name, target } = record.body
  const [causeStream, causeSeq] = Array.isArray(cause) ? cause : []
  const words = [
    `${record.position}  ${record.time}  ${record.kind.replaceAll('_', ' ')}`,
    ...(record.pending ? ['(hold)'] : []),
    ...(record.imported ? ['(imported)'] : []),
    typeof name === 'string' ? `${name} (${record.id})` : record.id,
    ...(target === undefined ? [] : [`of ${target}`]),
    ...(cause === undefined
      ? []
      : [`follows ${of} ${causeStream}-${causeSeq} as message ${message}`]),
  ]
  const postings = (record.postings ?? []).map(({ debit, credit, amount, currency, sides }) => {
    const [from, to] = sides === undefined ? ['', ''] : [` (${sides.debit})`, ` (${sides.credit})`]
    return `    ${amount} ${currency}: debit ${debit}${from}, credit ${credit}${to}`
  })
  return [words.join(' '), ...postings].join('\n')
}

/** The body of any kind, a plain posting's in the shape of the others. */
export function bodyOf(words: Uint32Array, at: number, kind: RecordKind): Partial<AppliedBody> {
  if (kind === RecordKind.posting) return plainPostingBody(words, at)
  if (kind !== RecordKind.postingApplied) return readBody<Partial<AppliedBody>>(words, at)
  return {
    ...plainPostingBody(words, at),
    of: RecordKind.posting,
    cause: [words[at + Word.causeStream], readInteger(words, at + Word.causeSeq)],
    message: readInteger(words, at + Word.message),
  }
}

function postingJson(posting: PostingBody, sides: number): PostingJson {
  const [debit, credit, amount, currency, scale] = posting
  return {
    debit: formatKey(keyFromBytes(debit, 0)),
    credit: formatKey(keyFromBytes(credit, 0)),
    amount: formatMinor(BigInt(amount), scale),
    currency,
    ...(sides === 0
      ? {}
      : { sides: { debit: sideNames[debitSide(sides)], credit: sideNames[creditSide(sides)] } }),
  }
}

/** A value as JSON can have it. Amounts of limits and releases stay in minor units, as text. */
function plainValue(name: string, value: unknown): unknown {
  if (name === 'effectiveDate') return formatDay(Number(value))
  if (name === 'expiresAt' || name === 'createdAt') return new Date(Number(value)).toISOString()
  if (name === 'of') return kindNames[value as RecordKind] ?? value
  if (value instanceof Uint8Array) return formatKey(keyFromBytes(value, 0))
  if (typeof value === 'bigint') return value.toString()
  if (Array.isArray(value)) return value.map((entry) => plainValue('', entry))
  return value
}
