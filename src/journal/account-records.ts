import { equalKeys, type Key, keyFromBytes, keyToBytes, slotOf } from '../key.js'
import type { DigestChain } from './batch.js'
import { type BookRows, layoutOf, type StreamRow, streamsOf } from './book-rows.js'
import { emptyDigest } from './digest.js'
import { creditSide, debitSide, RecordKind, Side, viewRecord, Word } from './record.js'
import { bodyOf, type RecordJson, recordJson } from './record-json.js'
import { Replay } from './replay.js'
import type { JournalSession } from './session.js'
import { readInWindows } from './windows.js'

/** The account, and how many of its newest records are wanted. */
export interface AccountQuery {
  tenant: number
  key: Key
  limit: number
}

/**
 * The newest records that touched an account, in order of generation, stream and seq: its creation,
 * its changes, and postings with a side that takes effect on it. Reads the streams that own its
 * slot, all of them if it is striped, and proves their chains on the way.
 */
export async function accountRecords(
  session: Pick<JournalSession, 'readChunks'>,
  book: BookRows,
  query: AccountQuery,
  parts: { chain: DigestChain; onProgress(done: number, total: number): void },
): Promise<RecordJson[]> {
  const found: RecordJson[] = []
  let done = 0
  let total = book.streams.reduce((sum, { head }) => sum + head, 0)
  let isStriped = false
  for (let generation = 1; generation <= book.generation; generation++) {
    const own = layoutOf(book, generation).streamOf(slotOf(query.key))
    // The owner comes first: it says whether the account is striped.
    const streams = streamsOf(book, generation).sort(
      (one, other) => Number(other.id === own) - Number(one.id === own) || one.id - other.id,
    )
    for (const stream of streams) {
      if (stream.id !== own && !isStriped) {
        total -= stream.head
        continue
      }
      for await (const record of touching(session, stream, query, parts.chain)) {
        isStriped ||= record.body.striped === true
        found.push(record)
        if (found.length > query.limit) found.shift()
      }
      done += stream.head
      parts.onProgress(done, total)
    }
  }
  return found
}

async function* touching(
  session: Pick<JournalSession, 'readChunks'>,
  { id, head }: StreamRow,
  query: AccountQuery,
  chain: DigestChain,
): AsyncIterable<RecordJson> {
  const replay = new Replay(id, { seq: 0, digest: emptyDigest }, chain)
  const bytes = keyToBytes(query.key)
  for await (const chunk of readInWindows(session, id, { afterSeq: 0, toSeq: head })) {
    const records: RecordJson[] = []
    replay.read(chunk, (words, at, seq) => {
      if (seq > head || words[at + Word.tenant] !== query.tenant) return
      const record = Buffer.from(words.buffer, words.byteOffset + at * 4, words[at + Word.length])
      // Most records do not name the account at all, and need not be decoded.
      if (!record.includes(bytes) || !isTouching(words, at, query.key)) return
      records.push(recordJson(words, at, { stream: id, seq }))
    })
    yield* records
  }
}

/** Whether the record is about the account, or a side of it takes effect on it here. */
function isTouching(words: Uint32Array, at: number, key: Key): boolean {
  const { kind, id } = viewRecord(words, at)
  const body = bodyOf(words, at, kind)
  const of = kind === RecordKind.applied ? body.of : kind
  if (of === RecordKind.accountCreated || of === RecordKind.accountChanged) {
    return equalKeys(id, key)
  }
  return (body.postings ?? []).some(([debit, credit], index) => {
    const sides = body.sides?.[index] ?? 0
    return (
      (debitSide(sides) !== Side.elsewhere && equalKeys(keyFromBytes(debit, 0), key)) ||
      (creditSide(sides) !== Side.elsewhere && equalKeys(keyFromBytes(credit, 0), key))
    )
  })
}
