import { formatKey, keyToBytes } from '../../src/key.js'
import { accountKey, keyAt } from '../generated-journal.js'

/** Of the keys of numbered transfers: no account, and no posting of a generated journal, has it. */
const kind = 3
const headerBytes = 16
const itemBytes = 64
const noDate = -2147483648

/** Transfer of a number, always the same, with a v4 id: whoever knows the number can repeat it. */
function numberedTransfer(number: number, accounts: number) {
  return {
    id: keyAt(number, kind),
    debit: accountKey(number % accounts),
    credit: accountKey((number + 1) % accounts),
    minorUnits: 1 + (number % 999),
  }
}

/** The transfer as a request of its own. */
export function numberedJson(number: number, accounts: number): string {
  const { id, debit, credit, minorUnits } = numberedTransfer(number, accounts)
  const cents = String(minorUnits).padStart(3, '0')
  return JSON.stringify({
    ...{ id: formatKey(id), debit: formatKey(debit), credit: formatKey(credit) },
    amount: `${cents.slice(0, -2)}.${cents.slice(-2)}`,
  })
}

export interface NumberedBatch {
  buffer: Buffer
  /** Minor units of each transfer. */
  amounts: bigint[]
}

/** Transfers from a number on as a binary batch. */
export function numberedBatch(from: number, count: number, accounts: number): NumberedBatch {
  const buffer = Buffer.alloc(headerBytes + itemBytes * count)
  buffer.write('DAYB', 0, 'latin1')
  buffer.writeUInt8(1, 4)
  buffer.writeUInt8(2, 6)
  buffer.writeUInt32LE(count, 8)
  const amounts: bigint[] = []
  for (let index = 0; index < count; index++) {
    const { id, debit, credit, minorUnits } = numberedTransfer(from + index, accounts)
    const at = headerBytes + itemBytes * index
    keyToBytes(id).copy(buffer, at)
    keyToBytes(debit).copy(buffer, at + 16)
    keyToBytes(credit).copy(buffer, at + 32)
    amounts.push(BigInt(minorUnits))
    buffer.writeBigInt64LE(amounts[index], at + 48)
    buffer.writeInt32LE(noDate, at + 56)
  }
  return { buffer, amounts }
}
