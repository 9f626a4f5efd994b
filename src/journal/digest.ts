import { createHash, createHmac } from 'node:crypto'
import type { Chunk, DigestChain } from './batch.js'

const digestBytes = 32

/** The digest before the first chunk of a stream. */
export const emptyDigest = Buffer.alloc(digestBytes)

/**
 * The chain over a stream's chunks: SHA-256 (or HMAC-SHA-256 with `key`) over the digest before,
 * then stream i32, first_seq i64, part i16, n i32, epoch i32, all big-endian, then the payload.
 */
export function digestChain(key?: Buffer): DigestChain {
  const head = Buffer.alloc(digestBytes + 22)
  return {
    next(previous: Buffer, chunk: Chunk): Buffer {
      previous.copy(head, 0)
      head.writeInt32BE(chunk.stream, digestBytes)
      head.writeBigInt64BE(BigInt(chunk.firstSeq), digestBytes + 4)
      head.writeInt16BE(chunk.part, digestBytes + 12)
      head.writeInt32BE(chunk.n, digestBytes + 14)
      head.writeInt32BE(chunk.epoch, digestBytes + 18)
      const hash = key === undefined ? createHash('sha256') : createHmac('sha256', key)
      return hash.update(head).update(chunk.payload).digest()
    },
  }
}
