import { Batch } from '../../../src/journal/batch.js'
import { headWord, RecordFlag, RecordKind } from '../../../src/journal/record.js'
import { header, key, packed } from '../../journal/raw-records.js'

export const czk = (debit: number, credit: number, amount: bigint) => [
  ...[key(debit), key(credit), amount, 'CZK', 2],
]

/** A plain posting of whole hellers from account 1 to account 2. */
export function plainPosting(
  record: { seq: number; flags?: number; id?: number; kind?: number },
  { amount = 12_550n, code = 0 } = {},
): Buffer {
  const kind = record.kind ?? RecordKind.posting
  const length = kind === RecordKind.posting ? 120 : 144
  const bytes = header(kind, { ...record, flags: (record.flags ?? 0) | (2 << 12), length })
  key(1).copy(bytes, 64)
  key(2).copy(bytes, 80)
  bytes.writeBigInt64LE(amount, 96)
  bytes.write('CZK', 104, 'latin1')
  bytes.writeInt32LE(19_783, 112)
  bytes.writeUInt32LE(code, 116)
  return bytes
}

/**
 * A record for seq `seq` of a stream: mostly plain postings, some larger than a chunk, some without
 * an event.
 */
export function sampleRecord(seq: number): Buffer {
  const id = seq % 256
  if (seq % 11 === 0) {
    const description = 'x'.repeat(seq % 3 === 0 ? 20_000 : 500)
    const body = { postings: [czk(3, 4, BigInt(seq))], effectiveDate: 19_783, description }
    return packed(RecordKind.transaction, { seq, id }, body)
  }
  if (seq % 7 === 0) {
    const of = { of: RecordKind.accountChanged, cause: [9, seq], message: seq }
    const body = { ...of, striped: true, status: 'frozen' }
    return packed(RecordKind.applied, { seq, id, flags: RecordFlag.idElsewhere }, body)
  }
  return plainPosting({ seq, id }, { amount: BigInt(seq) })
}

/** A record's bytes as words, at word 0. */
export function wordsOf(bytes: Buffer): Uint32Array {
  const words = new Uint32Array(bytes.length / 4)
  new Uint8Array(words.buffer).set(bytes)
  return words
}

/** A batch with the records, the first of which becomes `firstSeq`. */
export function batchOf(stream: number, firstSeq: number, records: Buffer[]): Batch {
  const batch = new Batch(stream)
  batch.restart(firstSeq)
  for (const record of records) batch.addBytes(record)
  return batch
}

/** The head of a record that no program knows. */
export const unknownHead = headWord(11, 0)
