import type { Readable } from 'node:stream'

const signatureBytes = 19

/**
 * The rows of a binary COPY TO, each as its fields' bytes. The buffers stay valid: they are slices
 * of what was received. Rejects on NULL fields, which the journal does not have.
 */
export async function* readCopyRows(source: Readable): AsyncIterable<Buffer[]> {
  let rest: Buffer = Buffer.alloc(0)
  let headerSeen = false
  for await (const piece of source as AsyncIterable<Buffer>) {
    let bytes = rest.length === 0 ? piece : Buffer.concat([rest, piece])
    if (!headerSeen) {
      if (bytes.length < signatureBytes) {
        rest = bytes
        continue
      }
      bytes = bytes.subarray(signatureBytes + bytes.readInt32BE(15))
      headerSeen = true
    }
    let at = 0
    for (;;) {
      const row = readRow(bytes, at)
      if (row === undefined) break
      if (row === 'end') return
      yield row.fields
      at = row.next
    }
    rest = bytes.subarray(at)
  }
}

function readRow(
  bytes: Buffer,
  start: number,
): { fields: Buffer[]; next: number } | 'end' | undefined {
  if (bytes.length < start + 2) return undefined
  const count = bytes.readInt16BE(start)
  if (count === -1) return 'end'
  const fields: Buffer[] = []
  let at = start + 2
  for (let field = 0; field < count; field++) {
    if (bytes.length < at + 4) return undefined
    const length = bytes.readInt32BE(at)
    if (length < 0) throw new Error('a journal row has a NULL')
    if (bytes.length < at + 4 + length) return undefined
    fields.push(bytes.subarray(at + 4, at + 4 + length))
    at += 4 + length
  }
  return { fields, next: at }
}
