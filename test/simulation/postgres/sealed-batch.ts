import { Batch } from '../../../src/journal/batch.js'
import { digestChain } from '../../../src/journal/digest.js'
import { headWord, plainPostingBytes, RecordKind } from '../../../src/journal/record.js'
import type { SealedBatch, StreamState } from '../../../src/journal/session.js'

/** A batch of `records` plain postings that follows `state` in `stream`. */
export function sealedBatch(stream: number, state: StreamState, records = 1): SealedBatch {
  const { head, digest, epoch } = state
  const batch = new Batch(stream)
  refill(batch, head, records)
  const { copy, digest: newDigest } = batch.seal(epoch, digest, digestChain())
  return { stream, epoch, head, digest, newHead: head + records, newDigest, copy }
}

/** Makes `batch` one of `records` plain postings after seq `head`. */
export function refill(batch: Batch, head: number, records: number): void {
  batch.restart(head + 1)
  for (let record = 0; record < records; record++) {
    const word = batch.add(plainPostingBytes)
    batch.words.fill(0, word, word + plainPostingBytes / 4)
    batch.words[word] = headWord(RecordKind.posting, 0)
    batch.words[word + 1] = plainPostingBytes
  }
}

/** The state after a batch. */
export function after({ epoch, newHead, newDigest }: SealedBatch): StreamState {
  return { epoch, head: newHead, digest: newDigest }
}
