import type { TransactionInput } from '../actors/command.js'
import { noDate } from '../actors/command.js'
import { batchItemBytes } from '../actors/reply.js'
import { keyFromBytes } from '../key.js'
import { normalise, scaleMax } from '../money.js'
import { ApiError, invalidField } from './errors.js'

/**
 * The fixed-width batch: little-endian, documented in docs/binary-batch.md.
 *
 * Request: `DAYB`, u8 version 1, u8 flags (1 atomic, 2 ordered, 4 imported), u8 scale of every
 * amount, u8 0, u32 count, u32 0; then 64 bytes an item: id, debit, credit, i64 amount, i32
 * effective date (-2^31: not given), u32 code.
 *
 * Answer: `DAYR`, u8 version 1, three zeros, u32 count, u32 accepted or replayed; then 16 bytes
 * an item: u8 outcome (0 accepted, 1 replayed, 2 refused), u8 0, u16 refusal, u32 stream, u64 seq.
 */
export const binaryRequestType = 'application/vnd.daybook.transactions'
export const binaryAnswerType = 'application/vnd.daybook.results'

/** Transactions in a request. */
export const batchItemsMax = 8190

const headerBytes = 16
const itemBytes = 64
const Flag = { atomic: 1, ordered: 2, imported: 4, all: 7 } as const

export interface BatchInput {
  transactions: TransactionInput[]
  atomic: boolean
  ordered: boolean
}

/** Reads a binary request; throws an {@link ApiError} that names the field and the item. */
export function readBinaryBatch(bytes: Buffer): BatchInput {
  if (bytes.length < headerBytes || bytes.toString('latin1', 0, 4) !== 'DAYB') {
    throw new ApiError('malformed_body', 'the body does not start with a DAYB header', {
      field: 'header',
    })
  }
  if (bytes[4] !== 1) throw invalidField('header/version', 'is not 1')
  const flags = bytes[5]
  const scale = bytes[6]
  if ((flags & ~Flag.all) !== 0) throw invalidField('header/flags', 'has an unknown bit')
  if (scale > scaleMax) throw invalidField('header/scale', `is more than ${scaleMax}`)
  if (bytes[7] !== 0 || bytes.readUInt32LE(12) !== 0) {
    throw invalidField('header/reserved', 'is not zero')
  }
  const count = bytes.readUInt32LE(8)
  if (count < 1 || count > batchItemsMax) {
    throw invalidField('header/count', `is ${count}; 1 to ${batchItemsMax} are allowed`)
  }
  if (bytes.length !== headerBytes + count * itemBytes) {
    throw new ApiError(
      'malformed_body',
      `the body has ${bytes.length} bytes; ${count} items make ${headerBytes + count * itemBytes}`,
      { field: 'header/count' },
    )
  }
  const imported = (flags & Flag.imported) !== 0
  const transactions: TransactionInput[] = []
  for (let index = 0; index < count; index++) {
    transactions.push(readItem(bytes, headerBytes + index * itemBytes, { index, scale, imported }))
  }
  return {
    transactions,
    atomic: (flags & Flag.atomic) !== 0,
    ordered: (flags & Flag.ordered) !== 0,
  }
}

function readItem(
  bytes: Buffer,
  at: number,
  item: { index: number; scale: number; imported: boolean },
): TransactionInput {
  const units = bytes.readBigInt64LE(at + 48)
  if (units <= 0n) throw invalidField(`transactions/${item.index}/amount`, 'is not above zero')
  const date = bytes.readInt32LE(at + 56)
  if (date !== noDate && (date < dayMin || date > dayMax)) {
    throw invalidField(`transactions/${item.index}/effectiveDate`, 'is outside years 1 to 9999')
  }
  const code = bytes.readUInt32LE(at + 60)
  return {
    id: keyFromBytes(bytes, at),
    postings: [
      {
        debit: keyFromBytes(bytes, at + 16),
        credit: keyFromBytes(bytes, at + 32),
        amount: normalise(units, item.scale),
      },
    ],
    imported: item.imported,
    pending: false,
    effectiveDate: date === noDate ? undefined : date,
    conditions: [],
    attributes: code === 0 ? noAttributes : { code },
  }
}

/** Days of 0001-01-01 and 9999-12-31. */
const dayMin = -719_162
const dayMax = 2_932_896
const noAttributes = {}

/** The binary answer: a header, then the items as the shard wrote them. */
export function binaryAnswer(items: Buffer): Buffer {
  const count = items.length / batchItemBytes
  const answer = Buffer.alloc(headerBytes + items.length)
  answer.write('DAYR', 0, 'latin1')
  answer[4] = 1
  answer.writeUInt32LE(count, 8)
  items.copy(answer, headerBytes)
  let taken = 0
  for (let index = 0; index < count; index++) if (items[index * batchItemBytes] < 2) taken += 1
  answer.writeUInt32LE(taken, 12)
  return answer
}
