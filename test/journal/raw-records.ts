import { Packr } from 'msgpackr'
import type { Client } from 'pg'

/** Records written byte by byte, apart from the code that writes them, as an auditor knows them. */

export const packr = new Packr({ useRecords: false, int64AsType: 'bigint', variableMapSize: true })

export async function writeChunk(
  db: Client,
  chunk: { stream: number; firstSeq: number; part: number; n: number; payload: Buffer },
): Promise<void> {
  const { stream, firstSeq, part, n, payload } = chunk
  await db.query('insert into daybook.journal values ($1, $2, $3, $4, 1, $5, $6)', [
    ...[stream, firstSeq, part, n],
    ...[Buffer.alloc(32), payload],
  ])
}

export function padded(records: Buffer[]): Buffer {
  return Buffer.concat([...records, Buffer.alloc(24)])
}

export function header(
  kind: number,
  record: { seq: number; id?: number; flags?: number; length: number },
): Buffer {
  const bytes = Buffer.alloc((record.length + 7) & ~7)
  bytes.writeUInt8(kind, 0)
  bytes.writeUInt8(1, 1)
  bytes.writeUInt16LE(record.flags ?? 0, 2)
  bytes.writeUInt32LE(record.length, 4)
  const { seq } = record
  bytes.writeBigInt64LE(BigInt(Date.UTC(2024, 2, 1, 10, 0, seq, seq)), 8)
  bytes.writeUInt32LE(4_000_000_000, 16)
  bytes.writeUInt32LE(9, 20)
  key(0xc0).copy(bytes, 24)
  key(record.id ?? seq).copy(bytes, 40)
  Buffer.from('0102030405060708', 'hex').copy(bytes, 56)
  return bytes
}

export function packed(
  kind: number,
  record: { seq: number; id?: number; flags?: number },
  body: object,
): Buffer {
  const packedBody = packr.pack(body)
  const bytes = header(kind, { ...record, length: 64 + packedBody.length })
  packedBody.copy(bytes, 64)
  return bytes
}

export function key(last: number): Buffer {
  return Buffer.from(uuid(last).replaceAll('-', ''), 'hex')
}

export function uuid(last: number): string {
  return `018e0000-0000-7000-8000-0000000000${last.toString(16).padStart(2, '0')}`
}
