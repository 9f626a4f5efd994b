import type { Clock } from '../clock.js'
import type { Layout } from '../layout.js'
import { appliedRecord, destinationsOf } from './applied-record.js'
import { Batch, type DigestChain } from './batch.js'
import type { StreamCounts } from './message-counts.js'
import { readInteger, Word } from './record.js'
import { Replay } from './replay.js'
import type { JournalStore } from './session.js'
import { readInWindows } from './windows.js'
import { JournalWriter } from './writer.js'

/** What settling needs besides the counts; the streams must have been taken over by `owner`. */
export interface SettlementParts {
  store: JournalStore
  clock: Clock
  chain: DigestChain
  random: () => number
  owner: string
  leaseMs: number
  commitTimeoutMs: number
  onTrouble(error: Error): void
}

/** Records and bytes of one batch of settled messages. */
const batchRecordsMax = 8192

/**
 * Appends to every stream of the newest generation the applied records that it lacks: messages of
 * other streams whose cause is durable, and which the crash cut off. `counts` has each stream up
 * to its head. Nobody serves meanwhile, so that afterwards no stream waits for another. Returns
 * the number of records appended.
 */
export async function settleMessages(
  layout: Layout,
  counts: readonly StreamCounts[],
  parts: SettlementParts,
): Promise<number> {
  const missing = new Map<number, Uint8Array[]>()
  const lastTimeMs = Math.max(parts.clock.now(), ...counts.map((stream) => stream.lastTimeMs))
  for (const sender of counts)
    await collectMissing(layout, counts, sender, lastTimeMs, missing, parts)
  let settled = 0
  for (const [stream, records] of missing) {
    await appendAll(stream, records, parts)
    settled += records.length
  }
  return settled
}

/** Reads the sender's records again, from where the first message that somebody lacks may be. */
async function collectMissing(
  layout: Layout,
  counts: readonly StreamCounts[],
  sender: StreamCounts,
  timeMs: number,
  missing: Map<number, Uint8Array[]>,
  { store, chain }: SettlementParts,
): Promise<void> {
  const appliedBy = layout.streams.map((stream) => appliedOf(counts, stream, sender.stream))
  if (sender.sent.every((sent, shard) => sent <= appliedBy[shard])) return
  const start = sender.checkpoints.findLast(({ sent }) =>
    sent.every((count, shard) => count <= appliedBy[shard]),
  )
  if (start === undefined) throw new Error(`stream ${sender.stream} has messages and no records`)
  const sent = [...start.sent]
  const own = layout.shardOfStream(sender.stream)
  const session = await store.open()
  try {
    const range = { afterSeq: start.afterSeq, toSeq: sender.seq }
    let replay: Replay | undefined
    for await (const chunk of readInWindows(session, sender.stream, range)) {
      replay ??= new Replay(sender.stream, { seq: start.afterSeq, digest: chunk.prev }, chain)
      replay.read(chunk, (words, at, seq) => {
        for (const shard of destinationsOf(words, at, layout, own)) {
          sent[shard] += 1
          if (sent[shard] <= appliedBy[shard]) continue
          const record = appliedRecord(
            { words, at, stream: sender.stream, seq },
            {
              shard,
              layout,
              message: sent[shard],
              timeMs: Math.max(timeMs, readInteger(words, at + Word.time)),
            },
          )
          const stream = layout.streams[shard]
          const records = missing.get(stream)
          if (records === undefined) missing.set(stream, [record])
          else records.push(record)
        }
      })
    }
  } finally {
    session.close()
  }
}

function appliedOf(counts: readonly StreamCounts[], stream: number, sender: number): number {
  const own = counts.find((candidate) => candidate.stream === stream)
  if (own === undefined) throw new Error(`nobody has read stream ${stream}`)
  return own.applied.find(([from]) => from === sender)?.[1] ?? 0
}

async function appendAll(
  stream: number,
  records: readonly Uint8Array[],
  parts: SettlementParts,
): Promise<void> {
  let committed: () => void = () => undefined
  let failed: (fault: Error) => void = () => undefined
  const writer = new JournalWriter(
    {
      stream,
      owner: parts.owner,
      leaseMs: parts.leaseMs,
      commitTimeoutMs: parts.commitTimeoutMs,
    },
    {
      ...parts,
      listener: {
        onCommitted: () => committed(),
        onIdle: () => undefined,
        onConfirmed: () => undefined,
        onTrouble: parts.onTrouble,
        onStopped: (fault) => failed(fault),
      },
    },
  )
  const { head } = await writer.open()
  writer.ready()
  try {
    const batch = new Batch(stream)
    let nextSeq = head + 1
    for (let from = 0; from < records.length; from += batchRecordsMax) {
      batch.restart(nextSeq)
      for (const record of records.slice(from, from + batchRecordsMax)) batch.addBytes(record)
      nextSeq = batch.nextSeq
      await new Promise<void>((resolve, reject) => {
        committed = resolve
        failed = reject
        writer.send(batch)
      })
    }
  } finally {
    writer.close()
  }
}
