import {
  currencyWords,
  headWord,
  type PostingBody,
  packr,
  paddedLength,
  plainPostingBytes,
  postingAppliedBytes,
  RecordFlag,
  RecordKind,
  recordHeaderBytes,
  scaleShift,
  sidesShift,
  Word,
  writeBigint,
  writeInteger,
} from '../../src/journal/record.js'
import { type Key, keyToBytes, writeKeyWords } from '../../src/key.js'

/** When every crafted record was written. */
export const recordedAtMs = Date.UTC(2024, 1, 29, 12)

/** A plain posting of 12.50 EUR with code 7, or the applied record of one. */
export function plainRecord(record: {
  applied: boolean
  id: Key
  debit: Key
  credit: Key
  sides: number
}): Uint32Array {
  const length = record.applied ? postingAppliedBytes : plainPostingBytes
  const kind = record.applied ? RecordKind.postingApplied : RecordKind.posting
  const words = headerOf(kind, (2 << scaleShift) | (record.sides << sidesShift), record.id, length)
  writeKeyWords(words, Word.debit, record.debit)
  writeKeyWords(words, Word.credit, record.credit)
  writeBigint(words, Word.amount, 1250n)
  words.set(currencyWords('EUR'), Word.currency)
  words[Word.effectiveDate] = 8405
  words[Word.code] = 7
  if (!record.applied) return words
  words[Word.causeStream] = 4
  writeInteger(words, Word.causeSeq, 77)
  writeInteger(words, Word.message, 3)
  return words
}

/** A record with a msgpack body. */
export function bodyRecord(
  record: { kind: RecordKind; id: Key; pending?: boolean },
  body: object,
): Uint32Array {
  const bytes = packr.pack(body)
  const flags = record.pending === true ? RecordFlag.pending : 0
  const words = headerOf(record.kind, flags, record.id, recordHeaderBytes + bytes.length)
  new Uint8Array(words.buffer).set(bytes, recordHeaderBytes)
  return words
}

/** A posting as a body has it. */
export function postingBody(debit: Key, credit: Key, amount: bigint): PostingBody {
  return [keyToBytes(debit), keyToBytes(credit), amount, 'EUR', 2]
}

function headerOf(kind: RecordKind, flags: number, id: Key, length: number): Uint32Array {
  const words = new Uint32Array(paddedLength(length) / 4)
  words[0] = headWord(kind, flags)
  words[Word.length] = length
  writeInteger(words, Word.time, recordedAtMs)
  words[Word.tenant] = 1
  words[Word.principal] = 1
  writeKeyWords(words, Word.id, id)
  return words
}
