import type { JournalRow } from './tables.js'

const copyHeaderBytes = 19

/** The rows of a binary COPY into the journal. `bytes` must not change any more. */
export function journalRows(bytes: Buffer): JournalRow[] {
  const rows: JournalRow[] = []
  let at = copyHeaderBytes
  for (;;) {
    const count = bytes.readInt16BE(at)
    at += 2
    if (count === -1) return rows
    if (count !== 7) throw new Error(`a row of the journal has ${count} columns`)
    const fields: Buffer[] = []
    for (let field = 0; field < count; field++) {
      const length = bytes.readInt32BE(at)
      fields.push(bytes.subarray(at + 4, at + 4 + length))
      at += 4 + length
    }
    const [stream, ...columns] = fields
    const [firstSeq, part, n, epoch, prev, payload] = columns
    rows.push({
      stream: stream.readInt32BE(),
      firstSeq: Number(firstSeq.readBigInt64BE()),
      part: part.readInt16BE(),
      n: n.readInt32BE(),
      epoch: epoch.readInt32BE(),
      prev,
      payload,
      fields: columns,
    })
  }
}
