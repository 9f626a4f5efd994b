import { Readable } from 'node:stream'
import fc from 'fast-check'
import t from 'tap'
import { Batch, chunkBytesMax } from '../../src/journal/batch.js'
import { readCopyRows } from '../../src/journal/copy-rows.js'
import { digestChain, emptyDigest } from '../../src/journal/digest.js'
import { paddedLength } from '../../src/journal/record.js'
import { Replay, type StoredChunk } from '../../src/journal/replay.js'
import { JournalFault } from '../../src/journal/session.js'
import { addTo, record, recordBytes, recordLength } from './records.js'

const key = Buffer.from('a key of the digest chain')

interface Journal {
  chunks: StoredChunk[]
  head: number
  digest: Buffer
  records: Uint8Array[]
}

/** Writes records through batches, as they would go to Postgres, and takes the rows apart again. */
async function write(batches: number[][], firstSeq = 1, withKey = false): Promise<Journal> {
  const chain = digestChain(withKey ? key : undefined)
  const journal: Journal = { chunks: [], head: firstSeq - 1, digest: emptyDigest, records: [] }
  const batch = new Batch(1)
  for (const [epoch, lengths] of batches.entries()) {
    batch.restart(journal.head + 1)
    for (const length of lengths) {
      const bytes = record(length, journal.records.length)
      addTo(batch, bytes)
      journal.records.push(bytes)
    }
    // A batch that has to be sent again is sealed again.
    batch.seal(epoch + 7, Buffer.alloc(32, 3), chain)
    const { copy, digest } = batch.seal(epoch, journal.digest, chain)
    journal.chunks.push(...(await rowsOf(copy)))
    journal.head = batch.nextSeq - 1
    journal.digest = digest
  }
  return journal
}

/** The rows of a COPY, which arrives in pieces of any size. */
async function rowsOf(copy: Buffer): Promise<StoredChunk[]> {
  const pieces: Buffer[] = []
  for (let at = 0; at < copy.length; at += 5003)
    pieces.push(Buffer.from(copy.subarray(at, at + 5003)))
  const chunks: StoredChunk[] = []
  for await (const fields of readCopyRows(Readable.from(pieces))) {
    const [stream, firstSeq, part, n, epoch, prev, payload] = fields
    chunks.push({
      stream: stream.readInt32BE(),
      firstSeq: Number(firstSeq.readBigInt64BE()),
      part: part.readInt16BE(),
      n: n.readInt32BE(),
      epoch: epoch.readInt32BE(),
      prev: Buffer.from(prev),
      payload: Buffer.from(payload),
    })
  }
  return chunks
}

/** Reads chunks up to the end that the stream's row names. Throws on what is not as it was written. */
function read(
  chunks: StoredChunk[],
  end: { head: number; digest: Buffer },
  options: { firstSeq?: number; withKey?: boolean } = {},
): { seq: number; bytes: Buffer }[] {
  const chain = digestChain(options.withKey === true ? key : undefined)
  const start = { seq: (options.firstSeq ?? 1) - 1, digest: emptyDigest }
  const replay = new Replay(1, start, chain)
  const found: { seq: number; bytes: Buffer }[] = []
  for (const chunk of chunks) {
    replay.read(chunk, (words, at, seq) => found.push({ seq, bytes: recordBytes(words, at) }))
  }
  replay.assertEnd(end.head, end.digest)
  return found
}

const batches = fc.array(fc.array(recordLength, { minLength: 1, maxLength: 40 }), {
  minLength: 1,
  maxLength: 5,
})

t.test('records come back as they were written, whatever their length', async (t) => {
  await fc.assert(
    fc.asyncProperty(
      batches,
      fc.constantFrom(1, 2 ** 31, 9_999_990),
      fc.boolean(),
      async (batches, firstSeq, withKey) => {
        const journal = await write(batches, firstSeq, withKey)
        const found = read(journal.chunks, journal, { firstSeq, withKey })
        const same = found.every(
          ({ seq, bytes }, index) =>
            seq === firstSeq + index && bytes.equals(Buffer.from(journal.records[index])),
        )
        return same && found.length === journal.records.length
      },
    ),
    { numRuns: 150, seed: 5 },
  )
  t.pass()
})

t.test('chunks are full, at most 7,800 bytes, and say what is in them', async (t) => {
  await fc.assert(
    fc.asyncProperty(batches, async (batches) => {
      const { chunks, head } = await write(batches)
      for (const [index, { firstSeq, part, n, payload }] of chunks.entries()) {
        if (payload.length > chunkBytesMax || payload.length % 8 !== 0) return false
        if (part > 0 && (n !== 0 || chunks[index - 1].firstSeq !== firstSeq)) return false
        const next = chunks.slice(index + 1).find((chunk) => chunk.part === 0)
        if (part === 0 && firstSeq + n !== (next?.firstSeq ?? head + 1)) return false
      }
      return true
    }),
    { numRuns: 60, seed: 6 },
  )
  t.pass()
})

t.test('a record of exactly the size of a chunk stays whole; one byte more is cut', async (t) => {
  t.equal((await write([[chunkBytesMax]])).chunks.length, 1)
  const cut = await write([[chunkBytesMax + 1]])
  t.match(cut.chunks, [
    { part: 0, n: 1, firstSeq: 1 },
    { part: 1, n: 0, firstSeq: 1 },
  ])
  t.equal(cut.chunks[1].payload.length, 8)
  const between = await write([[120, chunkBytesMax * 3 + 1, 120]])
  t.strictSame(
    between.chunks.map((chunk) => [chunk.firstSeq, chunk.part, chunk.n]),
    [
      [1, 0, 1],
      [2, 0, 1],
      [2, 1, 0],
      [2, 2, 0],
      [2, 3, 0],
      [3, 0, 1],
    ],
  )
})

t.test('padding is zero, also where an earlier batch has left something', async (t) => {
  const batch = new Batch(1)
  for (const length of [700, 69, 131, 7799, 64]) {
    batch.restart(1)
    addTo(batch, record(7800, 255))
    addTo(batch, record(20_000, 255))
    batch.restart(1)
    addTo(batch, record(length, 255))
    const [chunk] = await rowsOf(batch.seal(1, emptyDigest, digestChain()).copy)
    const padding = chunk.payload.subarray(length)
    t.equal(padding.length, paddedLength(length) - length)
    t.ok(padding.equals(Buffer.alloc(padding.length)))
  }
})

t.test('the slab grows as it must, and forgets its size after a large batch', async (t) => {
  const lengths = Array.from({ length: 3000 }, (_, index) => (index % 7 === 0 ? 8200 : 120))
  const journal = await write([lengths, [120], lengths])
  t.equal(read(journal.chunks, journal).length, 6001)
  const batch = new Batch(1)
  batch.restart(1)
  for (let index = 0; index < 1200; index++) batch.addBytes(record(7800, index))
  t.ok(batch.bytes.length > 9 << 20)
  batch.restart(1201)
  t.ok(batch.bytes.length <= 1 << 20)
})

t.test('a changed bit anywhere is found, and so near that the place is known', async (t) => {
  const journal = await write([
    [120, 300, 120],
    [9000, 120],
    [120, 7800],
  ])
  let flips = 0
  for (const [index, chunk] of journal.chunks.entries()) {
    for (let at = 0; at < chunk.payload.length; at += at < 300 ? 1 : 97) {
      for (const bit of [0, 3, 7]) {
        const payload = Buffer.from(chunk.payload)
        payload[at] ^= 1 << bit
        expectBroken(replaced(journal, index, { payload }), index)
        flips += 1
      }
    }
    for (let at = 0; at < 32; at++) {
      const prev = Buffer.from(chunk.prev)
      prev[at] ^= 1
      expectBroken(replaced(journal, index, { prev }), index)
    }
    for (const change of [{ n: 1 }, { part: 1 }, { firstSeq: 1 }, { epoch: 1 }] as const) {
      const [field, by] = Object.entries(change)[0] as ['n', number]
      expectBroken(replaced(journal, index, { [field]: chunk[field] + by }), index)
      expectBroken(replaced(journal, index, { [field]: chunk[field] - by }), index)
    }
  }
  t.ok(flips > 1000)

  /** The fault names the chunk, or the one after it, whose `prev` gives it away. */
  function expectBroken(chunks: StoredChunk[], index: number): void {
    const fault = faultOf(chunks, journal)
    if (!(fault instanceof JournalFault)) {
      t.fail(`chunk ${index}: ${fault}`)
      return
    }
    const { message } = fault
    const named = /expected seq (\d+)/.exec(message) ?? /at seq (\d+)/.exec(message)
    const seq = Number(named?.[1] ?? journal.head + 1)
    const latest = journal.chunks[index + 1]?.firstSeq ?? journal.head + 1
    if (fault.code !== 'broken_chain' || seq > latest) t.fail(`chunk ${index}: ${fault}`)
  }
})

t.test('a missing, doubled, swapped, foreign or cut-off chunk is found', async (t) => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.array(recordLength, { minLength: 1, maxLength: 12 }), {
        minLength: 2,
        maxLength: 4,
      }),
      fc.nat(1000),
      fc.nat(1000),
      async (batches, first, second) => {
        const journal = await write(batches)
        const { chunks } = journal
        const a = first % chunks.length
        const b = second % chunks.length
        const damaged: StoredChunk[][] = [
          chunks.filter((_, index) => index !== a),
          [...chunks.slice(0, a), chunks[a], ...chunks.slice(a)],
          chunks.slice(0, a),
          replaced(journal, a, { payload: chunks[a].payload.subarray(0, -8) }),
          replaced(journal, a, { payload: Buffer.concat([chunks[a].payload, Buffer.alloc(8)]) }),
          replaced(journal, a, { stream: 2 }),
        ]
        if (a !== b) {
          const swapped = [...chunks]
          swapped[a] = chunks[b]
          swapped[b] = chunks[a]
          damaged.push(swapped)
          damaged.push(replaced(journal, a, { payload: chunks[b].payload }))
        }
        return damaged.every(
          (each) => same(each, chunks) || faultOf(each, journal) instanceof JournalFault,
        )
      },
    ),
    { numRuns: 100, seed: 7 },
  )
  t.pass()
})

t.test('a journal cut off at a commit is found by the head of its stream', async (t) => {
  const journal = await write([[120], [120], [120]])
  const shorter = journal.chunks.slice(0, 2)
  t.match(faultOf(shorter, journal), { code: 'broken_chain' })
  t.equal(faultOf(shorter, { head: 2, digest: journal.chunks[2].prev }), undefined)
})

t.test('a chain made without the key, or with another, is found', async (t) => {
  const forged = await write([[120, 120], [300]])
  t.equal(faultOf(forged.chunks, forged), undefined)
  const chain = new Replay(1, { seq: 0, digest: emptyDigest }, digestChain(key))
  chain.read(forged.chunks[0], () => undefined)
  t.throws(() => chain.read(forged.chunks[1], () => undefined), { code: 'broken_chain' })
})

function replaced(journal: Journal, index: number, change: Partial<StoredChunk>): StoredChunk[] {
  return journal.chunks.map((chunk, at) => (at === index ? { ...chunk, ...change } : chunk))
}

function faultOf(chunks: StoredChunk[], end: { head: number; digest: Buffer }): unknown {
  try {
    read(chunks, end)
    return undefined
  } catch (error) {
    return error
  }
}

function same(a: StoredChunk[], b: StoredChunk[]): boolean {
  return (
    a.length === b.length &&
    a.every((chunk, index) => {
      const { payload, ...rest } = chunk
      const { payload: otherPayload, ...other } = b[index]
      return payload.equals(otherPayload) && JSON.stringify(rest) === JSON.stringify(other)
    })
  )
}
